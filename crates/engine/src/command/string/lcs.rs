//! LCS: the longest common subsequence of two strings.
//!
//! Bit-parallel (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004):
//! a row of the table is kept as the places where it grows, 64 to a word, so
//! that a million cells are 16,000 words. Only the walk back needs all rows,
//! which take no more than the table that Redis allocates; whose size both
//! refuse by the same limit.

use super::super::Ctx;
use super::super::args::{int, is};
use super::super::spec::Outcome;
use super::super::zset::announce;
use crate::error::CommandError;
use crate::keyspace::StrRef;
use crate::reply::Reply;

/// Cells that take about as long as a step over an element of a collection.
const CELLS_AN_ELEMENT: u64 = 2048;

/// Rows of the table; bit `j` of row `i` is clear where the common subsequence of
/// `a[..=i]` and `b[..=j]` is longer than that of `a[..=i]` and `b[..j]`.
struct Rows {
    words: usize,
    bits: Vec<u64>,
    /// Length of the common subsequence of both strings.
    length: usize,
}

impl Rows {
    /// Computes the table; `keep` all rows or only the last.
    fn new(a: &[u8], b: &[u8], keep: bool) -> Self {
        let words = b.len().div_ceil(64);
        // For each byte of `a`, where it stands in `b`.
        let mut places: Vec<Option<Box<[u64]>>> = vec![None; 256];
        let mut bits = Vec::with_capacity(if keep { words * a.len() } else { 0 });
        let mut row = vec![u64::MAX; words];
        for byte in a {
            let Some(slot) = places.get_mut(usize::from(*byte)) else {
                continue;
            };
            let places = slot.get_or_insert_with(|| {
                let mut places = vec![0_u64; words].into_boxed_slice();
                for (word, chunk) in places.iter_mut().zip(b.chunks(64)) {
                    for (bit, other) in chunk.iter().enumerate() {
                        *word |= u64::from(other == byte) << bit;
                    }
                }
                places
            });
            let mut carry = false;
            for (word, places) in row.iter_mut().zip(places.iter()) {
                let both = *word & places;
                let (sum, over) = word.overflowing_add(both);
                let (sum, over_again) = sum.overflowing_add(u64::from(carry));
                carry = over || over_again;
                *word = sum | (*word & !places);
            }
            if keep {
                bits.extend_from_slice(&row);
            }
        }
        let grows = |(at, word): (usize, &u64)| {
            let used = (b.len() - at * 64).min(64);
            let unused = u64::MAX.checked_shl(used as u32).unwrap_or(0);
            (!(word | unused)).count_ones() as usize
        };
        let length = row.iter().enumerate().map(grows).sum();
        Rows {
            words,
            bits,
            length,
        }
    }

    /// Whether the row `i` grows at `j`.
    fn grows(&self, i: usize, j: usize) -> bool {
        let word = self.bits.get(i * self.words + j / 64);
        word.is_some_and(|word| word >> (j % 64) & 1 == 0)
    }
}

/// A run of equal bytes: where it begins in both strings, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

/// The common subsequence and its runs, the last first, as Redis walks back.
fn walk(a: &[u8], b: &[u8], rows: &Rows) -> (Vec<u8>, Vec<Run>) {
    let mut common = Vec::with_capacity(rows.length);
    let mut runs: Vec<Run> = Vec::new();
    let mut open = false;
    let (mut i, mut j) = (a.len(), b.len());
    while let (Some(before_i), Some(before_j)) = (i.checked_sub(1), j.checked_sub(1)) {
        let byte = a.get(before_i);
        if byte == b.get(before_j) {
            common.extend(byte);
            match runs.last_mut() {
                Some(run) if open => {
                    run.a = before_i;
                    run.b = before_j;
                    run.len += 1;
                }
                _ => runs.push(Run {
                    a: before_i,
                    b: before_j,
                    len: 1,
                }),
            }
            open = true;
            (i, j) = (before_i, before_j);
        } else {
            open = false;
            if rows.grows(before_i, before_j) {
                i = before_i;
            } else {
                j = before_j;
            }
        }
    }
    common.reverse();
    (common, runs)
}

fn span(start: usize, len: usize) -> Reply {
    Reply::Array(vec![start.into(), (start + len - 1).into()])
}

/// The length of the string at `key`; `None` of another type.
fn length(ctx: &mut Ctx<'_>, key: &[u8]) -> Option<u64> {
    ctx.db
        .get_str(key)
        .ok()
        .map(|text| text.map_or(0, |text| text.len() as u64))
}

fn string(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    let text = ctx.db.peek_str(key)?;
    Ok(text.map_or(Vec::new(), StrRef::to_vec))
}

pub(super) fn lcs(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let lengths = (length(ctx, argv[1]), length(ctx, argv[2]));
    let (Some(a), Some(b)) = lengths else {
        return Err(CommandError::text(
            "ERR The specified keys must contain string values",
        ));
    };
    // What the table takes in Redis.
    let cells = (a + 1).saturating_mul(b + 1);
    let (mut wants_length, mut wants_runs, mut with_lengths) = (false, false, false);
    let mut shortest = 0;
    let mut options = &argv[3..];
    while let [option, rest @ ..] = options {
        options = rest;
        match rest {
            _ if is(option, "IDX") => wants_runs = true,
            _ if is(option, "LEN") => wants_length = true,
            _ if is(option, "WITHMATCHLEN") => with_lengths = true,
            [length, rest @ ..] if is(option, "MINMATCHLEN") => {
                shortest = int(length)?;
                options = rest;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    if wants_runs && wants_length {
        return Err(CommandError::text(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    if cells.saturating_mul(4) > ctx.db.settings.proto_max_bulk_len as u64 {
        return Err(CommandError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    announce(ctx.engine, (cells / CELLS_AN_ELEMENT) as usize);
    let (a, b) = (string(ctx, argv[1])?, string(ctx, argv[2])?);
    let rows = Rows::new(&a, &b, !wants_length);
    if wants_length {
        return Ok(rows.length.into());
    }
    let (common, runs) = walk(&a, &b, &rows);
    if !wants_runs {
        return Ok(Reply::Bulk(common));
    }
    let shortest = usize::try_from(shortest).unwrap_or(0);
    let runs = runs.into_iter().filter(|run| run.len >= shortest);
    let matches = runs.map(|run| {
        let mut entry = vec![span(run.a, run.len), span(run.b, run.len)];
        if with_lengths {
            entry.push(run.len.into());
        }
        Reply::Array(entry)
    });
    Ok(Reply::Map(vec![
        (Reply::bulk("matches"), Reply::Array(matches.collect())),
        (Reply::bulk("len"), rows.length.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The whole table, a cell at a time, walked back by its definition.
    fn by_table(a: &[u8], b: &[u8]) -> (usize, Vec<u8>) {
        let mut table = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = if a[i - 1] == b[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut common) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                common.push(a[i - 1]);
                (i, j) = (i - 1, j - 1);
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common.reverse();
        (table[a.len()][b.len()], common)
    }

    #[test]
    fn words_of_bits_agree_with_single_cells() {
        let mut random = Random::new(4);
        for round in 0..600 {
            let letters = 1 + random.below(6);
            let mut text = |most: usize| -> Vec<u8> {
                let length = random.below(most + 1);
                (0..length).map(|_| random.below(letters) as u8).collect()
            };
            let longest = if round % 10 == 0 { 260 } else { 70 };
            let (a, b) = (text(longest), text(longest));
            let rows = Rows::new(&a, &b, true);
            let (length, common) = by_table(&a, &b);
            assert_eq!(rows.length, length);
            assert_eq!(Rows::new(&a, &b, false).length, length);
            let (walked, runs) = walk(&a, &b, &rows);
            assert_eq!(walked, common);
            for run in runs {
                assert_eq!(a[run.a..run.a + run.len], b[run.b..run.b + run.len]);
            }
        }
    }
}
