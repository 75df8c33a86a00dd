//! Changes to what a rule has counted: a hit given back, a penalty, a block, a
//! permit or a lease returned. Billed commands of the script: three.

use sangam_engine::keyspace::StrRef;
use sangam_engine::{CommandError, Reply, Ttl, Tx};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Error, Script};
use smallvec::smallvec;

use super::algorithm::{
    Bucket, Counter, FixedWindow, List, Now, Numbers, SlidingWindow, letter, parameters,
};
use super::check::{by_algorithm, permits};
use super::rule::{Algorithm, Rule};

static ADJUST: Script = Script::new(
    "limit-adjust",
    concat!(include_str!("state.lua"), include_str!("adjust.lua")),
);

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// Gives back so many hits.
    Give(u64),
    /// Counts so many hits without asking; at most until the limit is used up twice.
    Charge(u64),
    /// Refuses everything until this moment, in milliseconds since the epoch.
    Block(i64),
    /// Ends a block.
    Unblock,
    /// Gives back tokens of a lease, which end there: with their window, in
    /// milliseconds, or at that place of a bucket, in microseconds; `former` are the
    /// hits of the window before, where a rule counts these. Nothing is given back
    /// where that is over, where others took from the bucket since, and where the
    /// count is seen to be another one since a reset: it has other hits of the window
    /// before, or fewer of this one than come back.
    Return { hits: u64, end: i64, former: i64 },
    /// Returns a permit.
    Release(&'a [u8]),
}

/// A change to one rule's count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adjust<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) rule: Rule,
    pub(crate) now: Now,
    pub(crate) change: Change<'a>,
}

impl Adjust<'_> {
    fn adjust_counter<C: Counter>(
        &self,
        tx: &mut Tx<'_>,
        value: &[u8],
    ) -> Result<bool, CommandError> {
        let read = Numbers::decode(value, C::FORM, C::FIELDS)
            .filter(|numbers| numbers.is_sane() && C::holds(numbers, &self.rule));
        let fresh = read.is_none();
        let mut numbers = read.unwrap_or_default();
        C::roll(&mut numbers, &self.rule, self.now, fresh);
        match self.change {
            Change::Give(hits) => C::give(&mut numbers, &self.rule, self.now, hits as i64),
            Change::Charge(hits) => C::charge(&mut numbers, &self.rule, self.now, hits as i64),
            Change::Block(until) => numbers.blocked_until = until,
            Change::Unblock => numbers.blocked_until = 0,
            Change::Return { hits, end, former } => {
                if edge(&numbers, &self.rule) != end
                    || !holds_returned(&numbers, &self.rule, hits as i64, former)
                {
                    return Ok(false);
                }
                C::give(&mut numbers, &self.rule, self.now, hits as i64);
            }
            Change::Release(_) => return Ok(false),
        }
        numbers.put::<C>(tx, self.key, &self.rule, self.now)?;
        Ok(true)
    }

    fn adjust_list(&self, tx: &mut Tx<'_>, value: &[u8]) -> Result<bool, CommandError> {
        let permits = permits(&self.rule);
        let mut list = List::decode(value, permits, &self.rule, self.now);
        match self.change {
            Change::Give(hits) => list.give(hits as i64),
            Change::Charge(hits) if !permits => list.charge(&self.rule, self.now, hits as i64),
            Change::Block(until) => list.blocked_until = until,
            Change::Unblock => list.blocked_until = 0,
            Change::Release(id) if permits => {
                if !list.release(id) {
                    return Ok(false);
                }
            }
            Change::Charge(_) | Change::Return { .. } | Change::Release(_) => return Ok(false),
        }
        let value = list.encode(permits, &self.rule);
        tx.put(self.key, &value, Ttl::Millis(list.ttl_ms(self.now) as u64))?;
        Ok(true)
    }
}

/// Where a counter's window ends, or the place after a bucket's last token.
fn edge(numbers: &Numbers, rule: &Rule) -> i64 {
    let [first, second, _] = numbers.fields;
    let span = rule.window_ms() as i64;
    match rule.algorithm() {
        Algorithm::FixedWindow => first + span,
        Algorithm::SlidingWindow => (first + 1) * span,
        _ => second,
    }
}

/// Whether a window's count can be the one that so many hits were taken from.
fn holds_returned(numbers: &Numbers, rule: &Rule, hits: i64, former: i64) -> bool {
    let [_, second, third] = numbers.fields;
    match rule.algorithm() {
        Algorithm::FixedWindow => second >= hits,
        Algorithm::SlidingWindow => second == former && third >= hits,
        _ => true,
    }
}

impl AtomicOp for Adjust<'_> {
    /// Whether anything changed.
    type Output = bool;

    fn script(&self) -> &'static Script {
        &ADJUST
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let (change, amount, last) = match self.change {
            Change::Give(hits) => ("give", hits.to_string(), Vec::new()),
            Change::Charge(hits) => ("charge", hits.to_string(), Vec::new()),
            Change::Return { hits, end, former } => {
                let place = format!("{end} {former}");
                ("return", hits.to_string(), place.into_bytes())
            }
            Change::Block(until) => ("block", until.to_string(), Vec::new()),
            Change::Unblock => ("unblock", "0".to_owned(), Vec::new()),
            Change::Release(permit) => ("release", "0".to_owned(), permit.to_vec()),
        };
        let (a, b) = parameters(&self.rule);
        [
            change.to_owned(),
            self.now.0.to_string(),
            letter(self.rule.algorithm()).to_owned(),
            a.to_string(),
            b.to_string(),
            amount,
        ]
        .into_iter()
        .map(String::into_bytes)
        .chain([last])
        .collect()
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        match reply {
            Reply::Int(changed) => Ok(changed == 1),
            other => Err(Error::Reply(format!("0 or 1 was expected, {other:?} came"))),
        }
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let value = tx.get(self.key)?.map(StrRef::to_vec);
        let adds = matches!(self.change, Change::Charge(_) | Change::Block(_));
        if value.is_none() && !adds {
            return Ok(false);
        }
        let value = value.unwrap_or_default();
        by_algorithm!(
            self.rule,
            C => self.adjust_counter::<C>(tx, &value),
            self.adjust_list(tx, &value)
        )
    }
}
