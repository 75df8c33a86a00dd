//! Rules whose keys lie in different slots of a cluster, all or nothing: reserve in
//! each slot, then commit or refund.
//!
//! A reservation takes the hit at once, so that every other check sees it, and
//! leaves a note beside the counter (`note`): a token, a deadline a second away,
//! what was added and where. When all slots have admitted, the notes go and the
//! hits stay; where one refuses or fails, the hits go with their notes. An instance
//! that dies in between leaves notes whose deadline passes: the next reservation on
//! that counter gives the hit back, and so does a refused check. Whoever then comes
//! to commit finds the note gone and does not admit: it tries once more, then
//! refuses.
//!
//! What follows from it:
//!
//! - Never more than a limit passes: a hit counts from the reservation on, and is
//!   given back only where nobody was admitted for it.
//! - A request may be refused for the sake of another that is refused elsewhere, for
//!   as long as both are on their way, and for at most a second where an instance
//!   died. Refusals beside a reservation are remembered no longer than until its
//!   deadline.
//! - An instance that dies while it commits, or does not learn whether it did, has
//!   used what it reserved, though nobody was let in.
//! - Of buckets a reservation that stood for a while gives back less than it took,
//!   by what has been refilled meanwhile.
//! - [`NOTES_MAX`](note::NOTES_MAX) reservations of one counter may be on their way;
//!   more are refused.
//!
//! Cost over k slots: 2k calls in two round trips, which bill 3 commands a rule
//! beyond those of its checks (see `step`); a refused request k calls and one for
//! each slot that had admitted. A refused check in one slot makes a second call, on
//! a cluster only. Peeks ask each slot.
//!
//! A store says whether it has slots. A gateway in front of a cluster does not, and
//! refuses the first check across slots as `CROSSSLOT`: from then on it is taken for
//! a cluster, by this process. Until then its refusals do not look for notes.

mod hold;
mod note;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use sangam_store::{Error, Store, Why, slot_of};
use smallvec::SmallVec;

use super::algorithm::{Now, Room};
use super::check::{Check, Checked, Hit, Part};
use hold::Hold;
use note::{Mark, weight};
use step::{Reserve, Reserved, Taken, noted_permit};

/// How long a reservation stands: microseconds.
const STANDS_US: i64 = 1_000_000;
/// How often a request is reserved whose reservation was over when it came to be
/// committed.
const TRIES: u32 = 2;

/// Checks wherever their keys lie.
#[derive(Debug)]
pub(super) struct Across {
    /// Bytes before `limit:` in every key.
    prefix: usize,
    /// A gateway refused keys of several slots.
    crossed: AtomicBool,
    /// Tells this process' reservations from others.
    id: u64,
    next: AtomicU64,
}

/// Hits of one slot.
struct Group<'a> {
    /// Their places in the check.
    places: SmallVec<[usize; 4]>,
    hits: SmallVec<[Hit<'a>; 4]>,
    notes: Vec<Vec<u8>>,
}

impl Across {
    pub(super) fn new(prefix: &str) -> Self {
        Across {
            prefix: prefix.len(),
            crossed: AtomicBool::new(false),
            id: RandomState::new().hash_one(0),
            next: AtomicU64::new(0),
        }
    }

    /// Runs a check: in one step where one slot holds its keys.
    pub(super) async fn check(&self, store: &Store, check: &Check<'_>) -> Result<Checked, Error> {
        if !self.has_slots(store) {
            match store.atomic(check).await {
                Err(error) if error.code() == Some("CROSSSLOT") => {
                    self.crossed.store(true, Ordering::Relaxed);
                }
                outcome => return outcome,
            }
        }
        Box::pin(self.check_slots(store, check)).await
    }

    /// What has to go where everything about a key goes.
    pub(super) fn keys_of(&self, store: &Store, key: &[u8]) -> SmallVec<[Vec<u8>; 2]> {
        let mut keys = SmallVec::new();
        keys.push(key.to_vec());
        if self.has_slots(store) {
            keys.push(self.note_key(key));
        }
        keys
    }

    /// Whether what a check sees may be reserved by others, and given back.
    pub(super) fn reserves(&self, store: &Store) -> bool {
        self.has_slots(store)
    }

    fn has_slots(&self, store: &Store) -> bool {
        store.is_cluster() || self.crossed.load(Ordering::Relaxed)
    }

    /// `<prefix>limit-held:` and the rest of the counter's key, its hash tag too.
    fn note_key(&self, key: &[u8]) -> Vec<u8> {
        let (prefix, rest) = key.split_at_checked(self.prefix).unwrap_or((key, b""));
        let rest = rest.strip_prefix(b"limit:").unwrap_or(rest);
        [prefix, b"limit-held:", rest].concat()
    }

    async fn check_slots(&self, store: &Store, check: &Check<'_>) -> Result<Checked, Error> {
        let groups = self.groups(check);
        let takes = !check.peek && check.hits.iter().any(|hit| hit.cost > 0);
        match groups.as_slice() {
            [one] => {
                let checked = store.atomic(check).await?;
                if checked.admitted || !takes {
                    return Ok(checked);
                }
                let second = self.reserve(store, one, check.now, b"").await;
                // A refusal holds, whatever became of looking for notes.
                Ok(second.map_or(checked, |it| capped(it, check.now).checked))
            }
            _ if takes => {
                let mut now = check.now;
                for _ in 0..TRIES {
                    if let Some(checked) = self.attempt(store, &groups, now).await? {
                        return Ok(checked);
                    }
                    now = Now(store.now() as i64);
                }
                Ok(too_late(check))
            }
            _ => {
                let checks: Vec<Check<'_>> = groups
                    .iter()
                    .map(|group| Check {
                        hits: &group.hits,
                        ..*check
                    })
                    .collect();
                let outcomes = join_all(checks.iter().map(|check| store.atomic(check))).await;
                let mut whole = Whole::new();
                for (group, outcome) in groups.iter().zip(outcomes) {
                    let checked = outcome?;
                    whole.add(group, checked.admitted, checked.parts);
                }
                Ok(whole.checked())
            }
        }
    }

    fn groups<'a>(&self, check: &Check<'a>) -> Vec<Group<'a>> {
        let mut slots: BTreeMap<u16, Group<'a>> = BTreeMap::new();
        for (place, hit) in check.hits.iter().enumerate() {
            let group = slots.entry(slot_of(hit.key)).or_insert_with(|| Group {
                places: SmallVec::new(),
                hits: SmallVec::new(),
                notes: Vec::new(),
            });
            group.places.push(place);
            group.hits.push(*hit);
            group.notes.push(self.note_key(hit.key));
        }
        slots.into_values().collect()
    }

    async fn reserve(
        &self,
        store: &Store,
        group: &Group<'_>,
        now: Now,
        token: &[u8],
    ) -> Result<Reserved, Error> {
        let reserve = Reserve {
            check: Check {
                hits: &group.hits,
                now,
                peek: false,
            },
            notes: &group.notes,
            token,
            deadline: now.0 + STANDS_US,
        };
        store.atomic(&reserve).await
    }

    fn token(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{number:x}", self.id).into_bytes()
    }

    /// Reserves and commits; `None` where a reservation was over before that.
    async fn attempt(
        &self,
        store: &Store,
        groups: &[Group<'_>],
        now: Now,
    ) -> Result<Option<Checked>, Error> {
        let token = self.token();
        let taken = groups.iter().map(Group::taken).collect();
        // From here on whatever ends this gives back.
        let mut hold = Hold::new(store.clone(), token.clone(), taken);
        let calls = groups
            .iter()
            .map(|group| self.reserve(store, group, now, &token));
        let outcomes = join_all(calls).await;
        let refused = |outcome: &Result<Reserved, Error>| matches!(outcome, Ok(reserved) if !reserved.checked.admitted);
        let refuses = outcomes.iter().any(refused);
        let failure = worst(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()));
        if !refuses && failure.is_none() {
            let reserved: Vec<Reserved> = outcomes.into_iter().flatten().collect();
            hold.mark(&reserved);
            return commit(hold, groups, reserved).await;
        }
        hold.refund(&outcomes).await;
        match failure {
            // Some rule refuses, whatever the others would say.
            Some(error) if !refuses => Err(error.clone()),
            _ => {
                let mut whole = Whole::new();
                for (group, outcome) in groups.iter().zip(outcomes) {
                    if let Ok(reserved) = outcome {
                        let reserved = capped(reserved, now);
                        whole.add(group, reserved.checked.admitted, reserved.untaken);
                    } else {
                        whole.add(group, false, group.unknown());
                    }
                }
                Ok(Some(whole.checked()))
            }
        }
    }
}

impl Group<'_> {
    /// Its hits as what may have been taken.
    fn taken(&self) -> Vec<Taken> {
        let hits = self.hits.iter().zip(&self.notes);
        hits.map(|(hit, note)| Taken {
            key: hit.key.to_vec(),
            note: note.clone(),
            rule: hit.rule,
            mark: Mark::default(),
            weight: weight(&hit.rule, hit.cost),
            permit: noted_permit(&hit.rule, hit.permit).to_vec(),
        })
        .collect()
    }

    /// Parts of rules that could not be asked, while another refused.
    fn unknown(&self) -> SmallVec<[Part; 1]> {
        let unknown = Part {
            fits: true,
            blocked_until: 0,
            room: Room {
                remaining: 0,
                retry_us: Some(0),
                reset_us: 0,
            },
            next_us: 0,
        };
        SmallVec::from_elem(unknown, self.hits.len())
    }
}

/// Commits in a task of its own: who gives up waiting does not leave one half of it,
/// and gets what was committed taken back.
async fn commit(
    mut hold: Hold,
    groups: &[Group<'_>],
    reserved: Vec<Reserved>,
) -> Result<Option<Checked>, Error> {
    let task = tokio::spawn(async move {
        let outcome = hold.commit().await;
        (hold, outcome)
    });
    let Ok((mut hold, outcome)) = task.await else {
        let why = "the runtime ended while a check was committed".to_owned();
        return Err(Error::Indeterminate(Why::Refusing(why)));
    };
    if !outcome? {
        return Ok(None);
    }
    hold.keep();
    let mut whole = Whole::new();
    for (group, reserved) in groups.iter().zip(reserved) {
        whole.add(group, true, reserved.checked.parts);
    }
    Ok(Some(whole.checked()))
}

/// The failure that says the least: one whose outcome is unknown before others.
fn worst<'a>(failures: impl Iterator<Item = &'a Error>) -> Option<&'a Error> {
    failures.min_by_key(|error| error.had_no_effect())
}

/// Refusals beside reservations that may yet be given back hold until then.
fn capped(mut reserved: Reserved, now: Now) -> Reserved {
    let full = !reserved.checked.admitted && reserved.checked.parts.iter().all(|part| part.fits);
    let untaken = reserved.untaken.iter_mut();
    let parts = reserved.checked.parts.iter_mut().zip(untaken);
    for ((part, untaken), deadline) in parts.zip(&reserved.pending) {
        let left = (deadline - now.0).max(1);
        if *deadline > 0 {
            for part in [part, untaken] {
                part.next_us = part.next_us.min(left);
                if full {
                    part.fits = false;
                    part.room.retry_us = Some(left);
                }
            }
        }
    }
    reserved
}

/// The refusal of a request whose reservations were over each time before they
/// could be committed.
fn too_late(check: &Check<'_>) -> Checked {
    let part = Part {
        fits: false,
        blocked_until: 0,
        room: Room {
            remaining: 0,
            retry_us: Some(STANDS_US),
            reset_us: STANDS_US,
        },
        next_us: 0,
    };
    Checked {
        admitted: false,
        parts: SmallVec::from_elem(part, check.hits.len()),
    }
}

/// A check that is put together from its groups.
struct Whole {
    admitted: bool,
    parts: Vec<(usize, Part)>,
}

impl Whole {
    const fn new() -> Self {
        Whole {
            admitted: true,
            parts: Vec::new(),
        }
    }

    fn add(&mut self, group: &Group<'_>, admitted: bool, parts: SmallVec<[Part; 1]>) {
        self.admitted &= admitted;
        self.parts.extend(group.places.iter().copied().zip(parts));
    }

    fn checked(mut self) -> Checked {
        self.parts.sort_unstable_by_key(|(place, _)| *place);
        Checked {
            admitted: self.admitted,
            parts: self.parts.into_iter().map(|(_, part)| part).collect(),
        }
    }
}
