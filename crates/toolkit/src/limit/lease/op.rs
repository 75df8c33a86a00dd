//! The step that takes a lease. Billed commands of the script: three, two where
//! nothing is granted.

use sangam_engine::keyspace::StrRef;
use sangam_engine::{CommandError, Reply, Tx};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Error, Script};
use smallvec::smallvec;

use crate::limit::algorithm::{
    Bucket, Counter, FixedWindow, Moved, Now, Numbers, SlidingWindow, letter, parameters,
};
use crate::limit::check::by_algorithm;
use crate::limit::rule::{Algorithm, Rule};

static LEASE: Script = Script::new(
    "limit-lease",
    concat!(include_str!("../state.lua"), include_str!("lease.lua")),
);

/// Takes as many tokens of one counter as there are until its window, or twice a
/// bucket's burst, is used up: at least and at most so many, or none. Not all of
/// them can be used at once: [`Grant`](super::grant::Grant) says when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease<'a> {
    pub(crate) key: &'a [u8],
    /// Of an algorithm that keeps a counter.
    pub(crate) rule: Rule,
    pub(crate) now: Now,
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leased {
    /// 0 where there was not enough, or the identifier is blocked.
    pub(crate) granted: u64,
    /// The counter as of now, before the grant.
    pub(crate) before: Numbers,
}

/// Tokens that are left until the window, or twice a bucket's burst, is used up.
pub(super) fn left(numbers: &Numbers, rule: &Rule, now: Now) -> i64 {
    let [_, second, third] = numbers.fields;
    let (a, b) = parameters(rule);
    let (a, b) = (a as i64, b as i64);
    match rule.algorithm() {
        Algorithm::FixedWindow => a - second,
        // As of the window's last millisecond.
        Algorithm::SlidingWindow => (a * b - second).div_euclid(b) - third,
        _ => (now.0 + 2 * a * b - second).div_euclid(a),
    }
}

impl Lease<'_> {
    fn take<C: Counter>(&self, tx: &mut Tx<'_>, value: &[u8]) -> Result<Leased, CommandError> {
        let read = Numbers::decode(value, C::FORM, C::FIELDS)
            .filter(|numbers| numbers.is_sane() && C::holds(numbers, &self.rule));
        let fresh = read.is_none();
        let mut numbers = read.unwrap_or_default();
        let moved = C::roll(&mut numbers, &self.rule, self.now, fresh);
        let before = numbers;
        let left = left(&numbers, &self.rule, self.now).max(0) as u64;
        let granted = left.min(self.most);
        if granted < self.least || granted == 0 || numbers.is_blocked(self.now) {
            if moved == Moved::Clamped {
                numbers.put::<C>(tx, self.key, &self.rule, self.now)?;
            }
            return Ok(Leased { granted: 0, before });
        }
        numbers.add::<C>(&self.rule, granted);
        numbers.put::<C>(tx, self.key, &self.rule, self.now)?;
        Ok(Leased { granted, before })
    }
}

impl Numbers {
    /// Counts so many hits.
    pub(super) fn add<C: Counter>(&mut self, rule: &Rule, hits: u64) {
        if let Some(last) = self.fields.get_mut(C::FIELDS - 1) {
            *last += C::weight(rule, hits as i64);
        }
    }
}

impl AtomicOp for Lease<'_> {
    type Output = Leased;

    fn script(&self) -> &'static Script {
        &LEASE
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let (a, b) = parameters(&self.rule);
        [
            letter(self.rule.algorithm()).to_owned(),
            self.now.0.to_string(),
            a.to_string(),
            b.to_string(),
            self.least.to_string(),
            self.most.to_string(),
        ]
        .into_iter()
        .map(String::into_bytes)
        .collect()
    }

    fn read(&self, reply: Reply) -> Result<Leased, Error> {
        let numbers: Option<Vec<i64>> = match reply.unpacked() {
            Reply::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Reply::Int(number) => Some(number),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        match numbers.as_deref() {
            Some(&[granted, blocked_until, first, second, third]) => Ok(Leased {
                granted: granted.max(0) as u64,
                before: Numbers {
                    blocked_until,
                    fields: [first, second, third],
                },
            }),
            _ => Err(Error::Reply(
                "a lease's answer has another shape".to_owned(),
            )),
        }
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Leased, CommandError> {
        let value = tx.get(self.key)?.map(StrRef::to_vec).unwrap_or_default();
        by_algorithm!(
            self.rule,
            C => self.take::<C>(tx, &value),
            Ok(Leased { granted: 0, before: Numbers::default() })
        )
    }
}
