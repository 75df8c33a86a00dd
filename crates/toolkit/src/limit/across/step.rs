//! The two steps in one slot: to reserve, and to settle what was reserved.
//!
//! Billed commands of the scripts: of a reservation what its check costs, one a rule
//! to read its notes and one to write one; of settling two a rule, and two more
//! where it gives back.

use sangam_engine::command::Tx;
use sangam_engine::{CommandError, Reply};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Error, Script};
use smallvec::SmallVec;

use super::note::{Held, Mark, NOTES_MAX, Note, former_end, int, mark, weight};
use crate::limit::algorithm::{Now, letter, parameters};
use crate::limit::check::{Check, Checked, Part, permits};
use crate::limit::rule::Rule;

static ACROSS: Script = Script::new(
    "limit-across",
    concat!(
        "local ahead\n",
        include_str!("../state.lua"),
        "\nlocal function check(KEYS, ARGV)\n",
        include_str!("../check.lua"),
        "\nend\n",
        include_str!("across.lua")
    ),
);

/// Gives back what reservations left whose time is over, then checks and takes, with
/// a note beside each counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserve<'a> {
    /// Of keys in one slot, each hit of a cost.
    pub(super) check: Check<'a>,
    /// The keys of the notes.
    pub(super) notes: &'a [Vec<u8>],
    /// Letters and digits; empty to take without a note.
    pub(super) token: &'a [u8],
    /// Microseconds since the epoch.
    pub(super) deadline: i64,
}

/// What became of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reserved {
    pub(super) checked: Checked,
    /// Each rule's part without the hit.
    pub(super) untaken: SmallVec<[Part; 1]>,
    pub(super) marks: SmallVec<[Mark; 4]>,
    /// For each rule when the first of other reservations is over; 0 for none.
    pub(super) pending: SmallVec<[i64; 4]>,
}

impl AtomicOp for Reserve<'_> {
    type Output = Reserved;

    fn script(&self) -> &'static Script {
        &ACROSS
    }

    fn keys(&self) -> Keys<'_> {
        let mut keys = self.check.keys();
        keys.extend(self.notes.iter().map(Vec::as_slice));
        keys
    }

    fn args(&self) -> Args {
        let mut args = self.check.args();
        args.push(self.token.to_vec());
        args.push(self.deadline.to_string().into_bytes());
        args
    }

    fn read(&self, reply: Reply) -> Result<Reserved, Error> {
        let reply = reply.unpacked();
        let peek = Check {
            peek: true,
            ..self.check
        };
        let checked = self.check.read(reply.clone())?;
        let untaken = peek.read(reply.clone())?.parts;
        let Reply::Array(items) = reply else {
            return Err(Error::Reply("a reservation is an array".to_owned()));
        };
        let begin = items.len().saturating_sub(self.notes.len() * 3);
        let mut numbers = items.iter().skip(begin);
        let (mut marks, mut pending) = (SmallVec::new(), SmallVec::new());
        for _ in self.notes {
            let at = int(numbers.next())?;
            let former = int(numbers.next())?;
            marks.push(Mark { at, former });
            pending.push(int(numbers.next())?);
        }
        Ok(Reserved {
            checked,
            untaken,
            marks,
            pending,
        })
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Reserved, CommandError> {
        let now = self.check.now;
        let mut rules: SmallVec<[Held<'_>; 4]> = SmallVec::new();
        for (hit, note_key) in self.check.hits.iter().zip(self.notes) {
            rules.push(Held::read(tx, hit.key, note_key, hit.rule)?);
        }
        let is_over = |note: &Note| note.deadline <= now.0;
        if rules.iter().any(|rule| rule.notes.iter().any(is_over)) {
            for rule in &mut rules {
                rule.load(tx, now)?;
            }
            for rule in &mut rules {
                rule.take_out(now, is_over, true);
                rule.write(tx)?;
            }
        }
        let pending = rules
            .iter()
            .map(|rule| rule.notes.iter().map(|it| it.deadline).min().unwrap_or(0))
            .collect();
        let full = !self.token.is_empty() && rules.iter().any(|rule| rule.notes.len() >= NOTES_MAX);
        let mut formers: SmallVec<[i64; 4]> = SmallVec::new();
        for hit in self.check.hits {
            formers.push(former_end(tx, hit.key, &hit.rule, now, hit.permit)?);
        }
        let peek = Check {
            peek: true,
            ..self.check
        };
        let untaken = peek.run(tx)?.parts;
        let mut checked = if full { peek } else { self.check }.run(tx)?;
        checked.admitted &= !full;
        let mut marks = SmallVec::from_elem(Mark::default(), rules.len());
        if checked.admitted && !self.token.is_empty() {
            let hits = self.check.hits.iter().zip(formers);
            for (((hit, former), held), slot) in hits.zip(&mut rules).zip(&mut marks) {
                *slot = mark(tx, hit.key, &hit.rule, now, former)?;
                let note = Note {
                    token: self.token.to_vec(),
                    deadline: self.deadline,
                    mark: *slot,
                    weight: weight(&hit.rule, hit.cost),
                    permit: noted_permit(&hit.rule, hit.permit).to_vec(),
                };
                held.add(tx, note)?;
            }
        }
        Ok(Reserved {
            checked,
            untaken,
            marks,
            pending,
        })
    }
}

/// What a note names of a hit's permit.
pub(super) fn noted_permit<'a>(rule: &Rule, permit: &'a [u8]) -> &'a [u8] {
    if permits(rule) { permit } else { b"" }
}

/// What is done with a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Its notes go, the hits stay; where a note is gone already, the hits of the
    /// others go with theirs.
    Commit,
    /// Its notes go, and the hits with them.
    Refund,
    /// The hits go, after they were committed; those of buckets stay, which refill.
    Revoke,
}

/// A reserved hit.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) key: Vec<u8>,
    pub(super) note: Vec<u8>,
    pub(super) rule: Rule,
    pub(super) mark: Mark,
    pub(super) weight: i64,
    pub(super) permit: Vec<u8>,
}

impl Taken {
    /// The mark that a revocation goes by: that of a bucket may have changed.
    fn last_mark(&self) -> Mark {
        match letter(self.rule.algorithm()) {
            "b" => Mark::default(),
            _ => self.mark,
        }
    }
}

/// Settles a reservation in one slot; whether all notes were there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settle<'a> {
    pub(super) hits: &'a [Taken],
    pub(super) token: &'a [u8],
    pub(super) now: Now,
    pub(super) how: Settlement,
}

impl AtomicOp for Settle<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &ACROSS
    }

    fn keys(&self) -> Keys<'_> {
        let counters = self.hits.iter().map(|hit| hit.key.as_slice());
        let notes = self.hits.iter().map(|hit| hit.note.as_slice());
        counters.chain(notes).collect()
    }

    fn args(&self) -> Args {
        let how = match self.how {
            Settlement::Commit => "commit",
            Settlement::Refund => "refund",
            Settlement::Revoke => "revoke",
        };
        let mut args = Args::new();
        args.push(how.into());
        args.push(self.now.0.to_string().into_bytes());
        args.push(self.token.to_vec());
        for hit in self.hits {
            let (a, b) = parameters(&hit.rule);
            let mark = hit.last_mark();
            args.push(letter(hit.rule.algorithm()).into());
            for number in [a as i64, b as i64, mark.at, hit.weight, mark.former] {
                args.push(number.to_string().into_bytes());
            }
            args.push(hit.permit.clone());
        }
        args
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        Ok(int(Some(&reply))? == 1)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let mut rules: SmallVec<[Held<'_>; 4]> = SmallVec::new();
        for hit in self.hits {
            rules.push(Held::read(tx, &hit.key, &hit.note, hit.rule)?);
        }
        let is_ours = |note: &Note| note.token == self.token;
        let all = rules.iter().all(|rule| rule.notes.iter().any(is_ours));
        let gives = self.how != Settlement::Commit || !all;
        if gives {
            for rule in &mut rules {
                rule.load(tx, self.now)?;
            }
        }
        for (rule, hit) in rules.iter_mut().zip(self.hits) {
            if self.how == Settlement::Revoke {
                let noted = rule.notes.len();
                rule.undo(self.now, noted, hit.last_mark(), hit.weight, &hit.permit);
            } else {
                rule.take_out(self.now, is_ours, gives);
            }
            rule.write(tx)?;
        }
        Ok(all)
    }
}
