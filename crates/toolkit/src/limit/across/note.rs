//! Notes of reservations, and how a hit is taken out of a count again.
//!
//! A note stands beside its counter, in the same slot, and lives as long as the hit
//! counts. What it gives back is never more than the hit still holds back: nothing
//! where its window is over, from a log its own entry, from a bucket only what it
//! would not have refilled by itself. So a count is never lower than if the hit had
//! not been, and nobody is let in for it twice.

use sangam_engine::command::{Ttl, Tx};
use sangam_engine::keyspace::StrRef;
use sangam_engine::{CommandError, Reply};
use sangam_store::Error;

use crate::limit::algorithm::{
    Bucket, Counter, FixedWindow, List, Now, Numbers, SLACK_MS, SlidingWindow, number, parameters,
};
use crate::limit::check::{by_algorithm, permits};
use crate::limit::rule::{Algorithm, Rule};

/// Notes of one counter; where there are more, nothing more is reserved.
pub(super) const NOTES_MAX: usize = 256;

/// Where a hit is in its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// A window's beginning or number, the moment of a log's entry, a permit's end,
    /// or the bucket's arrival time with the hit.
    pub(super) at: i64,
    /// For a permit that was renewed: its end before.
    pub(super) former: i64,
}

/// A reservation of one hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) token: Vec<u8>,
    /// Microseconds since the epoch.
    pub(super) deadline: i64,
    pub(super) mark: Mark,
    /// What the hit added: its cost, of buckets in microseconds.
    pub(super) weight: i64,
    pub(super) permit: Vec<u8>,
}

/// Reads notes; a value of another form has none.
fn read_notes(value: &[u8]) -> Vec<Note> {
    parse_notes(value).unwrap_or_default()
}

fn parse_notes(value: &[u8]) -> Option<Vec<Note>> {
    let mut notes = Vec::new();
    let mut rest = value.strip_prefix(b"n")?;
    while !rest.is_empty() {
        let token = word(&mut rest, b':').filter(|it| !it.is_empty())?;
        let deadline = number(&mut rest, b':')?;
        let at = number(&mut rest, b':')?;
        let weight = number(&mut rest, b':')?;
        let former = number(&mut rest, b':')?;
        let permit = word(&mut rest, b',')?;
        notes.push(Note {
            token: token.to_vec(),
            deadline,
            mark: Mark { at, former },
            weight,
            permit: permit.to_vec(),
        });
    }
    Some(notes)
}

/// Takes letters and digits, and the byte that ends them.
fn word<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
    let (word, tail) = rest.split_at(at);
    *rest = tail.strip_prefix(&[end])?;
    Some(word)
}

fn encode(notes: &[Note]) -> Vec<u8> {
    let mut value = b"n".to_vec();
    for note in notes {
        let Mark { at, former } = note.mark;
        value.extend_from_slice(&note.token);
        let numbers = format!(":{}:{at}:{}:{former}:", note.deadline, note.weight);
        value.extend_from_slice(numbers.as_bytes());
        value.extend_from_slice(&note.permit);
        value.push(b',');
    }
    value
}

/// What a hit adds to a count.
pub(super) fn weight(rule: &Rule, cost: u64) -> i64 {
    match rule.algorithm() {
        Algorithm::TokenBucket | Algorithm::Gcra => (cost * rule.interval_us()) as i64,
        _ => cost as i64,
    }
}

/// Milliseconds for which a hit that is taken now counts.
fn held_ms(rule: &Rule) -> i64 {
    let (a, b) = parameters(rule);
    let counts = match rule.algorithm() {
        Algorithm::SlidingWindow => 2 * b,
        Algorithm::TokenBucket | Algorithm::Gcra => a * b / 1000 + 1,
        _ => b,
    };
    counts as i64 + SLACK_MS
}

/// A count as it was read.
enum State {
    Counter(Numbers),
    List(List),
    /// There is none of the rule's form.
    Lost,
}

/// A rule's notes and, where something is given back, its count.
pub(super) struct Held<'a> {
    key: &'a [u8],
    note_key: &'a [u8],
    rule: Rule,
    pub(super) notes: Vec<Note>,
    state: State,
    changed: bool,
    fewer: bool,
}

impl<'a> Held<'a> {
    /// Reads the notes of a counter.
    pub(super) fn read(
        tx: &mut Tx<'_>,
        key: &'a [u8],
        note_key: &'a [u8],
        rule: Rule,
    ) -> Result<Self, CommandError> {
        let value = tx.get(note_key)?.map(StrRef::to_vec);
        Ok(Held {
            key,
            note_key,
            rule,
            notes: read_notes(&value.unwrap_or_default()),
            state: State::Lost,
            changed: false,
            fewer: false,
        })
    }

    /// Reads the count.
    pub(super) fn load(&mut self, tx: &mut Tx<'_>, now: Now) -> Result<(), CommandError> {
        let value = tx.get(self.key)?.map(StrRef::to_vec).unwrap_or_default();
        self.state = by_algorithm!(
            self.rule,
            C => Numbers::decode(&value, C::FORM, C::FIELDS)
                .filter(|numbers| numbers.is_sane() && C::holds(numbers, &self.rule))
                .map_or(State::Lost, State::Counter),
            State::List(List::decode(&value, permits(&self.rule), &self.rule, now))
        );
        Ok(())
    }

    /// Takes a hit out of the count where it still counts. Notes behind `noted` were
    /// made later, and know of its weight.
    pub(super) fn undo(&mut self, now: Now, noted: usize, mark: Mark, weight: i64, permit: &[u8]) {
        let undone = match &mut self.state {
            State::Lost => false,
            State::List(list) => {
                let span = self.rule.window_ms() as i64 * 1000;
                let shift = if permits(&self.rule) { 0 } else { span };
                undo_entry(list, now, mark, weight, permit, shift)
            }
            State::Counter(numbers) => match self.rule.algorithm() {
                Algorithm::TokenBucket | Algorithm::Gcra => {
                    let [_, arrival, _] = &mut numbers.fields;
                    let give = (mark.at - now.0).min(weight);
                    let gives = give > 0 && *arrival > now.0;
                    if gives {
                        *arrival = (*arrival - give).max(now.0);
                        for other in self.notes.iter_mut().skip(noted + 1) {
                            other.mark.at = (other.mark.at - give).max(0);
                        }
                    }
                    gives
                }
                algorithm => undo_window(&mut numbers.fields, algorithm, mark.at, weight),
            },
        };
        self.changed |= undone;
    }

    /// Takes out the notes that `which` names, and what they hold back if `gives`.
    pub(super) fn take_out(&mut self, now: Now, which: impl Fn(&Note) -> bool, gives: bool) {
        for at in 0..self.notes.len() {
            if let Some(note) = self.notes.get(at).filter(|note| gives && which(note)) {
                let note = note.clone();
                self.undo(now, at, note.mark, note.weight, &note.permit);
            }
        }
        let before = self.notes.len();
        self.notes.retain(|note| !which(note));
        self.fewer = self.notes.len() < before;
    }

    /// Writes what has changed.
    pub(super) fn write(&self, tx: &mut Tx<'_>) -> Result<(), CommandError> {
        if self.changed {
            match &self.state {
                State::Lost => {}
                State::List(list) => {
                    let value = list.encode(permits(&self.rule), &self.rule);
                    tx.put(self.key, &value, Ttl::Keep)?;
                }
                State::Counter(numbers) => {
                    let value = by_algorithm!(
                        self.rule,
                        C => numbers.encode(C::FORM, C::FIELDS),
                        return Ok(())
                    );
                    tx.put(self.key, &value, Ttl::Keep)?;
                }
            }
        }
        match (self.fewer, self.notes.is_empty()) {
            (false, _) => Ok(()),
            (true, true) => tx.remove(self.note_key).map(drop),
            (true, false) => tx.put(self.note_key, &encode(&self.notes), Ttl::Keep),
        }
    }

    /// Adds a note of the hit that was just taken.
    pub(super) fn add(&mut self, tx: &mut Tx<'_>, note: Note) -> Result<(), CommandError> {
        self.notes.push(note);
        let ttl = Ttl::Millis(held_ms(&self.rule) as u64);
        tx.put(self.note_key, &encode(&self.notes), ttl)
    }
}

fn undo_window(fields: &mut [i64; 3], algorithm: Algorithm, begun: i64, weight: i64) -> bool {
    let [window, one, two] = fields;
    let count = match algorithm {
        Algorithm::FixedWindow if *window == begun => one,
        // It is the former window by now.
        Algorithm::SlidingWindow if *window == begun + 1 => one,
        Algorithm::SlidingWindow if *window == begun => two,
        _ => return false,
    };
    *count = (*count - weight).max(0);
    true
}

fn undo_entry(
    list: &mut List,
    now: Now,
    mark: Mark,
    weight: i64,
    permit: &[u8],
    shift: i64,
) -> bool {
    let found = list
        .entries
        .iter()
        .rposition(|it| it.end == mark.at + shift && it.id == permit && it.cost == weight);
    let Some(at) = found else {
        return false;
    };
    match list.entries.get_mut(at) {
        Some(entry) if mark.former > now.0 => entry.end = mark.former,
        _ => drop(list.entries.remove(at)),
    }
    true
}

/// The mark of the hit that was just taken.
pub(super) fn mark(
    tx: &mut Tx<'_>,
    key: &[u8],
    rule: &Rule,
    now: Now,
    former: i64,
) -> Result<Mark, CommandError> {
    let span = rule.window_ms() as i64 * 1000;
    let at = match rule.algorithm() {
        Algorithm::SlidingLog => now.0,
        Algorithm::Concurrency => now.0 + span,
        _ => {
            let value = tx.get(key)?.map(StrRef::to_vec).unwrap_or_default();
            let [first, second, _] = by_algorithm!(
                rule,
                C => Numbers::decode(&value, C::FORM, C::FIELDS).unwrap_or_default().fields,
                [0; 3]
            );
            match rule.algorithm() {
                Algorithm::TokenBucket | Algorithm::Gcra => second,
                _ => first,
            }
        }
    };
    Ok(Mark { at, former })
}

/// When a permit ends that is held already; 0 for none.
pub(super) fn former_end(
    tx: &mut Tx<'_>,
    key: &[u8],
    rule: &Rule,
    now: Now,
    permit: &[u8],
) -> Result<i64, CommandError> {
    if !permits(rule) {
        return Ok(0);
    }
    let value = tx.get(key)?.map(StrRef::to_vec).unwrap_or_default();
    let list = List::decode(&value, true, rule, now);
    let held = list.entries.iter().find(|entry| entry.id == permit);
    Ok(held.map_or(0, |entry| entry.end))
}

/// A number of a script's answer.
pub(super) fn int(reply: Option<&Reply>) -> Result<i64, Error> {
    match reply {
        Some(Reply::Int(number)) => Ok(*number),
        other => Err(Error::Reply(format!(
            "a number was expected, {other:?} came"
        ))),
    }
}
