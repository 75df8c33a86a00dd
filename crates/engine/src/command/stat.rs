//! What INFO commandstats and errorstats show, kept by command id and by the
//! errors' code words.

use std::collections::BTreeMap;

use super::spec::command_count;
use crate::reply::Reply;

/// Code words that are told apart; scripts may invent any number of them.
const ERROR_CODES: usize = 128;
/// Bytes of one that are looked at; scripts may invent long ones too.
const ERROR_CODE_BYTES: usize = 64;

/// Counts of one command.
#[derive(Debug, Default, Clone, Copy)]
pub struct CommandStat {
    /// Times executed.
    pub calls: u64,
    /// Microseconds spent.
    pub usec: u64,
    /// Times refused before execution.
    pub rejected: u64,
    /// Times that execution failed.
    pub failed: u64,
}

/// Counts of all commands and errors.
#[derive(Debug, Default, Clone)]
pub struct CommandStats {
    commands: Vec<CommandStat>,
    errors: BTreeMap<Box<[u8]>, u64>,
}

impl CommandStats {
    pub(crate) fn of(&mut self, id: usize) -> &mut CommandStat {
        if id >= self.commands.len() {
            self.commands
                .resize(command_count().max(id + 1), CommandStat::default());
        }
        &mut self.commands[id]
    }

    /// Counts the code word of `reply` if it is an error.
    pub(crate) fn count_error(&mut self, reply: &Reply) {
        let Reply::Error(text) = reply else { return };
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let code = code.get(..ERROR_CODE_BYTES).unwrap_or(code);
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES {
            self.errors.insert(code.into(), 1);
        }
    }

    /// Adds the counts of `other`.
    pub(crate) fn add(&mut self, other: &CommandStats) {
        for (id, stat) in other.iter() {
            let sum = self.of(id);
            sum.calls += stat.calls;
            sum.usec += stat.usec;
            sum.rejected += stat.rejected;
            sum.failed += stat.failed;
        }
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }

    /// Each error's code word with its count.
    pub fn errors(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.errors.iter().map(|(code, count)| (&**code, *count))
    }

    /// Each command id with its counts.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &CommandStat)> {
        self.commands.iter().enumerate()
    }

    pub(crate) fn reset(&mut self) {
        self.commands.clear();
        self.errors.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_scripts_invent_are_bounded() {
        let mut stats = CommandStats::default();
        for number in 0..1000 {
            stats.count_error(&Reply::error(format!("{number}{}", "x".repeat(10_000))));
        }
        stats.count_error(&Reply::error("7".to_owned() + &"x".repeat(9_999)));
        assert_eq!(stats.errors().count(), ERROR_CODES);
        assert!(
            stats
                .errors()
                .all(|(code, _)| code.len() == ERROR_CODE_BYTES)
        );
        let sevens = stats.errors().find(|(code, _)| code.starts_with(b"7x"));
        assert_eq!(sevens.map(|(_, count)| count), Some(2));
    }
}
