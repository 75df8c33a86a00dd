//! Reading: the windows of a range, all instances added up.

use std::collections::HashMap;

use ahash::RandomState;
use sangam_store::{Commands, Error, Reply};

use super::options::WINDOWS_MAX;
use super::sketch::List;
use super::window::Counts;
use super::{AnalyticsError, Inner, is_name};

/// Windows in the first pipeline, and in any.
const WINDOWS_A_CALL: (u64, u64) = (8, 128);
/// Bytes that the answers of a pipeline should stay below: a tenth of what Upstash
/// answers at once.
const BYTES_A_CALL: u64 = 1 << 20;
/// Identifiers that are added up at one time.
const MERGED_MAX: usize = 50_000;

/// What became of a class' requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Each window of the range, those in which nobody came included.
    pub points: Vec<Point>,
    /// Their sum.
    pub totals: Counts,
    /// Who came most.
    pub top: Ranking,
    /// Who was refused most, or would have been but for shadow mode.
    pub top_refused: Ranking,
    /// Most instances that have counted in one window.
    pub instances: usize,
    /// Values that another version, or somebody else, has written: they are left out.
    pub unreadable: u64,
}

/// A window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// When it begins, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What came in it.
    pub counts: Counts,
}

/// Who comes first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranking {
    /// The first places, by what is certain.
    pub entries: Vec<Frequent>,
    /// Nobody else has more than this.
    pub others_at_most: u64,
}

/// How often an identifier came. Every instance keeps the first places of each
/// window, exact to 1/129 of that window's requests; the true count lies between the
/// two, which are the same where no instance saw more than the list has places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequent {
    /// The identifier as [`Ids`](super::Ids) shows it.
    pub id: Vec<u8>,
    /// At least so often.
    pub at_least: u64,
    /// At most so often.
    pub at_most: u64,
}

/// Lists, added up.
#[derive(Default)]
struct Merged {
    /// By identifier: what its lists count, and by how much they raise `unlisted`.
    counts: HashMap<Vec<u8>, (u64, u64), RandomState>,
    /// What somebody can have who is in none of the lists.
    unlisted: u64,
}

impl Merged {
    fn add(&mut self, list: List) {
        self.unlisted = (self.unlisted.saturating_add(list.cut)).saturating_add(list.missed);
        for (id, count) in list.entries {
            let (least, raise) = self.counts.entry(id).or_default();
            *least = least.saturating_add(count);
            *raise = raise.saturating_add(count.saturating_sub(list.cut));
        }
        if self.counts.len() > MERGED_MAX {
            self.forget_half();
        }
    }

    /// Leaves out those that come last; they count as somebody who is in no list.
    fn forget_half(&mut self) {
        let mut all: Vec<u64> = self.counts.values().map(|(least, _)| *least).collect();
        let (_, middle, _) = all.select_nth_unstable(MERGED_MAX / 2);
        let middle = *middle;
        let mut raised = 0;
        self.counts.retain(|_, (least, raise)| {
            let stays = *least > middle;
            if !stays {
                raised = raised.max(*raise);
            }
            stays
        });
        self.unlisted = self.unlisted.saturating_add(raised);
    }

    fn ranking(self, most: usize) -> Ranking {
        let mut entries: Vec<Frequent> = self
            .counts
            .into_iter()
            .map(|(id, (at_least, raise))| Frequent {
                id,
                at_least,
                at_most: self.unlisted.saturating_add(raise),
            })
            .collect();
        entries.sort_unstable_by(|one, other| {
            let order = other.at_least.cmp(&one.at_least);
            order.then_with(|| one.id.cmp(&other.id))
        });
        let left_out = entries.split_off(most.min(entries.len()));
        let others = left_out.iter().map(|it| it.at_most).max();
        Ranking {
            entries,
            others_at_most: others.unwrap_or_default().max(self.unlisted),
        }
    }
}

type Fields = HashMap<Vec<u8>, Vec<u8>>;

pub(super) async fn read(
    inner: &Inner,
    class: &str,
    from_ms: u64,
    to_ms: u64,
) -> Result<Report, AnalyticsError> {
    if !is_name(class) {
        return Err(AnalyticsError::Class(class.chars().take(64).collect()));
    }
    let window_ms = inner.window * 1000;
    let first = from_ms / window_ms;
    let end = to_ms.div_ceil(window_ms);
    let windows = if from_ms < to_ms { end - first } else { 0 };
    if windows > WINDOWS_MAX {
        return Err(AnalyticsError::Range { windows });
    }
    let mut report = Report::default();
    let mut top = Merged::default();
    let mut refused = Merged::default();
    let mut next = first;
    let mut size = WINDOWS_A_CALL.0;
    while next < first + windows {
        let last = (next + size).min(first + windows);
        let starts: Vec<u64> = (next..last).map(|at| at * inner.window).collect();
        // Before the store is asked: what is written meanwhile is there then.
        let own: Vec<_> = starts.iter().map(|it| inner.own(class, *it)).collect();
        let mut commands = Commands::new();
        for start in &starts {
            commands.push(&[b"HGETALL", &inner.key(class, *start)]);
        }
        let replies = inner.store.pipeline(&commands).await;
        let mut largest = 1;
        for ((start, own), reply) in starts.into_iter().zip(own).zip(replies) {
            let mut fields = fields(reply?)?;
            let bytes = fields.iter().map(|(name, value)| name.len() + value.len());
            largest = largest.max(bytes.sum::<usize>() as u64);
            fields.extend(own);
            let counts = report.add(fields, &mut top, &mut refused);
            report.points.push(Point {
                at_ms: start * 1000,
                counts,
            });
        }
        next = last;
        size = (BYTES_A_CALL / largest).clamp(1, WINDOWS_A_CALL.1);
    }
    report.top = top.ranking(inner.options.top);
    report.top_refused = refused.ranking(inner.options.top);
    Ok(report)
}

impl Report {
    /// Adds a window's fields; its counts.
    fn add(&mut self, fields: Fields, top: &mut Merged, refused: &mut Merged) -> Counts {
        let mut sum = Counts::default();
        let mut instances = 0;
        for (name, value) in fields {
            let what = name.iter().position(|byte| *byte == b'#');
            let read = match what.and_then(|at| name.get(at..)).unwrap_or_default() {
                b"#counts" => Counts::decode(&value).map(|counts| {
                    instances += 1;
                    sum.merge(&counts);
                }),
                b"#top" => List::decode(&value).map(|list| top.add(list)),
                b"#refused" => List::decode(&value).map(|list| refused.add(list)),
                _ => None,
            };
            self.unreadable += u64::from(read.is_none());
        }
        self.totals.merge(&sum);
        self.instances = self.instances.max(instances);
        sum
    }
}

impl Inner {
    /// This instance's fields of a window as they are here, written or not.
    fn own(&self, class: &str, start: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields = Vec::new();
        let known = self.classes.read().get(class).cloned();
        if let Some(known) = known {
            // First what counts: a window that ends now is found among those that wait.
            let slot = known.slot.lock();
            if let Some((open, _)) = slot.open.as_ref().filter(|(open, _)| open.start == start) {
                let options = &self.options;
                fields.extend(open.totals(self.instance, options.top, &options.ids).fields);
            }
        }
        let waiting = self.waiting.lock();
        for it in waiting.values() {
            if &*it.class == class && it.totals.start == start {
                fields.extend(it.totals.fields.iter().cloned());
            }
        }
        fields
    }
}

/// A hash's fields.
fn fields(reply: Reply) -> Result<Fields, Error> {
    let bytes = |reply: Reply| match reply {
        Reply::Bulk(bytes) => Ok(bytes),
        Reply::Status(text) => Ok(text.into_owned().into_bytes()),
        _ => Err(Error::Reply("a hash's fields are strings".to_owned())),
    };
    match reply.unpacked() {
        Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
            .into_iter()
            .map(|(name, value)| Ok((bytes(name)?, bytes(value)?)))
            .collect(),
        Reply::Array(items) => {
            let mut items = items.into_iter();
            let mut fields = Fields::new();
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                fields.insert(bytes(name)?, bytes(value)?);
            }
            Ok(fields)
        }
        Reply::Null | Reply::NullArray => Ok(Fields::new()),
        _ => Err(Error::Reply("HGETALL answered no hash".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Identifiers that are left out while lists are added up are within the bounds.
    #[test]
    fn more_identifiers_than_are_kept_stay_within_their_bounds() {
        let mut merged = Merged::default();
        let lists = MERGED_MAX as u64 / 10;
        for turn in 0..lists {
            let mut list = List {
                missed: 1,
                cut: 2,
                entries: vec![(b"always".to_vec(), 9)],
            };
            for at in 0..19 {
                list.entries.push((format!("{turn}-{at}").into_bytes(), 3));
            }
            merged.add(list);
            assert!(merged.counts.len() <= MERGED_MAX);
        }
        let ranking = merged.ranking(3);
        assert_eq!(ranking.entries.len(), 3);
        let first = &ranking.entries[0];
        assert_eq!((&first.id[..], first.at_least), (&b"always"[..], 9 * lists));
        // Truly at most 9 + 1 a list; each time that half was forgotten adds 1.
        assert!(first.at_most >= 10 * lists && first.at_most < 10 * lists + 10);
        assert!(ranking.others_at_most >= 3 * lists);
    }
}
