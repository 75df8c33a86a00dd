//! The step behind every check: a hit against several rules, taken from all of them
//! or from none.
//!
//! In Rust it reads each value, rolls it to now, asks whether the hit fits and, if
//! it fits everywhere, writes. `check.lua` does the same with as few commands as it
//! can: a counter is read and increased in one, and what was increased in vain is
//! taken back. Billed commands of the script, besides its own call: one a rule; a
//! second one where a window begins or the hit is refused; for lists one to read and
//! one to write.

use sangam_engine::command::{Ttl, Tx};
use sangam_engine::{CommandError, Reply};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Error, Script};
use smallvec::SmallVec;

use super::algorithm::{
    Bucket, Counter, FixedWindow, List, Moved, Now, Numbers, Room, SlidingWindow, letter,
    parameters,
};
use super::rule::{Algorithm, Rule};

static CHECK: Script = Script::new(
    "limit-check",
    concat!(
        include_str!("single.lua"),
        include_str!("state.lua"),
        include_str!("check.lua")
    ),
);

/// One rule's part of a check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit<'a> {
    /// Where the rule counts.
    pub(crate) key: &'a [u8],
    pub(crate) rule: Rule,
    /// At most the rule's burst.
    pub(crate) cost: u64,
    /// A permit's id; empty for none.
    pub(crate) permit: &'a [u8],
    /// Whether the bucket is likely to be full: it saves the script a command.
    pub(crate) idle: bool,
}

/// A check of several rules at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check<'a> {
    pub(crate) hits: &'a [Hit<'a>],
    /// Microseconds by the store's clock.
    pub(crate) now: Now,
    /// Only looks.
    pub(crate) peek: bool,
}

/// What became of one rule's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Whether this rule would have admitted the hit.
    pub(crate) fits: bool,
    /// Milliseconds since the epoch; 0 for not blocked.
    pub(crate) blocked_until: i64,
    /// What there is room for after the check.
    pub(crate) room: Room,
    /// Where it does not fit: microseconds until a hit of cost 1 does, as far as
    /// the rule alone decides.
    pub(crate) next_us: i64,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) admitted: bool,
    pub(crate) parts: SmallVec<[Part; 1]>,
}

/// A rule's state as of now.
enum Looked {
    Counter(Counted),
    List(List),
}

/// A counter's state as of now.
struct Counted {
    numbers: Numbers,
    /// There was none of this form.
    fresh: bool,
    moved: Moved,
    /// The value, where its length is another than that of the form: an increase
    /// leaves what follows the numbers where it is.
    odd: Option<Box<[u8]>>,
    /// There was a value.
    exists: bool,
}

/// Runs `$body` with `$counter` as the counter of an algorithm, `$list` for those
/// that keep lists.
macro_rules! by_algorithm {
    ($rule:expr, $counter:ident => $body:expr, $list:expr) => {
        match $rule.algorithm() {
            Algorithm::FixedWindow => {
                type $counter = FixedWindow;
                $body
            }
            Algorithm::SlidingWindow => {
                type $counter = SlidingWindow;
                $body
            }
            Algorithm::TokenBucket | Algorithm::Gcra => {
                type $counter = Bucket;
                $body
            }
            Algorithm::SlidingLog | Algorithm::Concurrency => $list,
        }
    };
}
pub(crate) use by_algorithm;

/// Whether entries have ids.
pub(crate) fn permits(rule: &Rule) -> bool {
    rule.algorithm() == Algorithm::Concurrency
}

impl Hit<'_> {
    fn look(&self, tx: &mut Tx<'_>, now: Now) -> Result<(Looked, bool), CommandError> {
        let value = tx.get(self.key)?;
        Ok(by_algorithm!(
            self.rule,
            C => {
                let counted = match value {
                    Some(value) => value.with(|value| self.look_counter::<C>(Some(value), now)),
                    None => self.look_counter::<C>(None, now),
                };
                let numbers = &counted.numbers;
                let fits = C::fits(numbers, &self.rule, now, self.cost as i64)
                    && !numbers.is_blocked(now);
                (Looked::Counter(counted), fits)
            },
            {
                let list = |value: &[u8]| List::decode(value, permits(&self.rule), &self.rule, now);
                let list = value.map_or_else(List::default, |value| value.with(list));
                let fits = list.fits(&self.rule, self.cost as i64, self.permit)
                    && !list.is_blocked(now);
                (Looked::List(list), fits)
            }
        ))
    }

    fn look_counter<C: Counter>(&self, value: Option<&[u8]>, now: Now) -> Counted {
        // What a guess has overwritten could not be put back as it was.
        let least = if self.is_guess() {
            Numbers::length(C::FIELDS)
        } else {
            0
        };
        let read = value
            .filter(|value| value.len() >= least)
            .and_then(|value| Numbers::decode(value, C::FORM, C::FIELDS))
            .filter(|numbers| numbers.is_sane() && C::holds(numbers, &self.rule));
        let fresh = read.is_none();
        let mut numbers = read.unwrap_or_default();
        let moved = C::roll(&mut numbers, &self.rule, now, fresh);
        if moved == Moved::Rolled && self.is_guess() {
            // The script wrote a key of its own over it.
            numbers.fields = [0, now.0, 0];
        }
        Counted {
            numbers,
            fresh,
            moved,
            odd: value
                .filter(|value| value.len() != Numbers::length(C::FIELDS))
                .map(Box::from),
            exists: value.is_some(),
        }
    }

    /// Adds the hit to what was looked at.
    fn add(&self, now: Now, looked: &mut Looked) {
        let cost = self.cost as i64;
        if cost == 0 {
            return;
        }
        match looked {
            Looked::List(list) => list.add(&self.rule, now, cost, self.permit),
            Looked::Counter(Counted { numbers, .. }) => by_algorithm!(
                self.rule,
                C => {
                    if let Some(last) = numbers.fields.get_mut(C::FIELDS - 1) {
                        *last += C::weight(&self.rule, cost);
                    }
                },
                ()
            ),
        }
    }

    /// Writes what the hit was added to.
    fn write(&self, tx: &mut Tx<'_>, now: Now, looked: &mut Looked) -> Result<(), CommandError> {
        if self.cost == 0 {
            return Ok(());
        }
        match looked {
            Looked::List(list) => {
                let value = list.encode(permits(&self.rule), &self.rule);
                tx.put(self.key, &value, Ttl::Millis(list.ttl_ms(now) as u64))
            }
            Looked::Counter(counted) => by_algorithm!(
                self.rule,
                C => self.write_counter::<C>(tx, now, counted),
                Ok(())
            ),
        }
    }

    fn write_counter<C: Counter>(
        &self,
        tx: &mut Tx<'_>,
        now: Now,
        counted: &mut Counted,
    ) -> Result<(), CommandError> {
        let numbers = &mut counted.numbers;
        let outlives = C::outlives(numbers, &self.rule, now);
        let mut bytes = numbers.encode(C::FORM, C::FIELDS);
        let renews = counted.moved != Moved::No && (C::ROLL_RENEWS || counted.fresh);
        let ttl = if renews || outlives || self.is_guess() {
            let blocked = numbers.blocked_until - now.millis() + super::algorithm::SLACK_MS;
            Ttl::Millis(C::ttl_ms(numbers, &self.rule, now).max(blocked) as u64)
        } else {
            Ttl::Keep
        };
        if ttl == Ttl::Keep && counted.moved == Moved::No {
            let odd = counted.odd.as_deref();
            let tail = odd.and_then(|value| value.get(bytes.len()..));
            bytes.extend_from_slice(tail.unwrap_or_default());
        }
        tx.put(self.key, &bytes, ttl)
    }

    /// Leaves a key as the script does that takes its increase back: without a value
    /// that is none, and with one that was too short filled up. What a clock that was
    /// ahead had written is written as of now.
    fn refuse(&self, tx: &mut Tx<'_>, now: Now, looked: &Looked) -> Result<(), CommandError> {
        let counted = match looked {
            Looked::List(list) if list.clamped && self.cost > 0 => {
                let value = list.encode(permits(&self.rule), &self.rule);
                return tx.put(self.key, &value, Ttl::Millis(list.ttl_ms(now) as u64));
            }
            Looked::List(_) => return Ok(()),
            Looked::Counter(counted) => counted,
        };
        if counted.moved == Moved::Clamped && self.cost > 0 {
            return by_algorithm!(
                self.rule,
                C => { let mut numbers = counted.numbers; numbers.put::<C>(tx, self.key, &self.rule, now) },
                Ok(())
            );
        }
        let length = by_algorithm!(self.rule, C => Numbers::length(C::FIELDS), 0);
        if self.cost == 0 || !counted.exists {
            return Ok(());
        }
        if counted.fresh {
            tx.remove(self.key)?;
        } else if let Some(value) = &counted.odd
            && value.len() < length
            && !self.is_guess()
        {
            let mut filled = value.to_vec();
            filled.resize(length, 0);
            tx.put(self.key, &filled, Ttl::Keep)?;
        }
        Ok(())
    }

    /// Whether the script writes before it looks.
    fn is_guess(&self) -> bool {
        self.idle && letter(self.rule.algorithm()) == "b"
    }

    /// What there is room for.
    fn part(&self, now: Now, looked: &Looked, fits: bool) -> Part {
        let cost = (self.cost as i64).max(1);
        let (blocked_until, room, next) = match looked {
            Looked::List(list) => {
                let room = |cost| list.room(&self.rule, now, cost);
                (
                    list.blocked_until,
                    room(cost),
                    (cost > 1 && !fits).then(|| room(1)),
                )
            }
            Looked::Counter(Counted { numbers, .. }) => by_algorithm!(
                self.rule,
                C => {
                    let room = |cost| C::room(numbers, &self.rule, now, cost);
                    (numbers.blocked_until, room(cost), (cost > 1 && !fits).then(|| room(1)))
                },
                no_room()
            ),
        };
        Part {
            fits,
            blocked_until,
            next_us: next.unwrap_or(room).retry_us.unwrap_or_default(),
            room,
        }
    }
}

/// For lists, which [`Looked`] keeps apart from counters.
fn no_room() -> (i64, Room, Option<Room>) {
    let room = Room {
        remaining: 0,
        retry_us: None,
        reset_us: 0,
    };
    (0, room, None)
}

impl AtomicOp for Check<'_> {
    type Output = Checked;

    fn script(&self) -> &'static Script {
        &CHECK
    }

    fn keys(&self) -> Keys<'_> {
        let mut keys = Keys::new();
        for hit in self.hits {
            keys.push(hit.key);
        }
        keys
    }

    fn args(&self) -> Args {
        let mut args = Args::new();
        args.push(if self.peek { b"peek" } else { b"take" }.to_vec());
        args.push(self.now.0.to_string().into_bytes());
        for hit in self.hits {
            let (a, b) = parameters(&hit.rule);
            args.push(letter(hit.rule.algorithm()).into());
            args.push(a.to_string().into_bytes());
            args.push(b.to_string().into_bytes());
            args.push(hit.cost.to_string().into_bytes());
            args.push(if hit.is_guess() && hit.cost > 0 {
                b"idle".to_vec()
            } else {
                hit.permit.to_vec()
            });
        }
        args
    }

    fn read(&self, reply: Reply) -> Result<Checked, Error> {
        let wrong = || Error::Reply("a check's answer has another shape".to_owned());
        let Reply::Array(items) = reply.unpacked() else {
            return Err(wrong());
        };
        let mut items = items.into_iter();
        let mut int = || match items.next() {
            Some(Reply::Int(number)) => Ok(Reply::Int(number)),
            Some(Reply::Bulk(bytes)) => Ok(Reply::Bulk(bytes)),
            _ => Err(wrong()),
        };
        let number = |reply: Reply| match reply {
            Reply::Int(number) => Ok(number),
            _ => Err(wrong()),
        };
        let admitted = number(int()?)? == 1;
        let mut parts = SmallVec::new();
        for hit in self.hits {
            let fits = number(int()?)? == 1;
            let blocked_until = number(int()?)?;
            let mut looked = match int()? {
                Reply::Bulk(value) => {
                    let permits = permits(&hit.rule);
                    Looked::List(List::decode(&value, permits, &hit.rule, self.now))
                }
                first => {
                    let fields = [number(first)?, number(int()?)?, number(int()?)?];
                    let numbers = Numbers {
                        blocked_until,
                        fields,
                    };
                    Looked::Counter(Counted {
                        numbers,
                        fresh: false,
                        moved: Moved::No,
                        odd: None,
                        exists: true,
                    })
                }
            };
            if admitted && !self.peek {
                hit.add(self.now, &mut looked);
            }
            parts.push(hit.part(self.now, &looked, fits));
        }
        Ok(Checked { admitted, parts })
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Checked, CommandError> {
        let mut looks: SmallVec<[(Looked, bool); 4]> = SmallVec::new();
        for hit in self.hits {
            looks.push(hit.look(tx, self.now)?);
        }
        let admitted = looks.iter().all(|(_, fits)| *fits);
        let taken = admitted && !self.peek;
        let mut parts = SmallVec::new();
        for (hit, (looked, fits)) in self.hits.iter().zip(&mut looks) {
            if taken {
                hit.add(self.now, looked);
                hit.write(tx, self.now, looked)?;
            } else if !self.peek {
                hit.refuse(tx, self.now, looked)?;
            }
            parts.push(hit.part(self.now, looked, *fits));
        }
        Ok(Checked { admitted, parts })
    }
}
