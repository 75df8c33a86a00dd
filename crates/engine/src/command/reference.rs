//! What Redis 7.0.15 says of its own commands, as data: each one's categories
//! of access control, and how it uses its keys.
//!
//! `reference.txt` has a line for every command and subcommand that Redis 7.0.15
//! lists, in the order of their names: the name, its categories, and the flags
//! of each of its key specifications. Two things are read from it:
//!
//! - how a command of our table uses its keys ([`access_of`]). What Redis 7.0
//!   does not know is judged by its flags: a reader reads, a writer does both;
//! - rules of access control that name commands which Sangam lacks, so that the
//!   users of a Redis can be taken over as they are (`acl/catalog`).
//!
//! A command that we have must have the same categories here and in its entry;
//! a test compares them. Parsed once, when the table is built.

use std::sync::LazyLock;

use super::spec::{Access, Acl, CommandSpec, Flags, Keys};

/// A line of the reference.
#[derive(Debug)]
pub(crate) struct Line {
    /// Lower-case; `config|get` for a subcommand.
    pub(crate) name: &'static str,
    pub(crate) categories: Acl,
    /// One for each key specification.
    access: Vec<Access>,
}

static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let lines = include_str!("reference.txt").lines();
    lines.filter_map(parse).collect()
});

fn parse(line: &'static str) -> Option<Line> {
    let mut words = line.split(' ');
    Some(Line {
        name: words.next()?,
        categories: words
            .next()?
            .split(',')
            .filter_map(Acl::named)
            .fold(Acl::empty(), Acl::and),
        access: words.map(access).collect(),
    })
}

fn access(flags: &str) -> Access {
    let flags = flags.split(',').filter_map(Access::named);
    flags.fold(Access::empty(), Access::and)
}

/// Every line, in the order of names.
pub(crate) fn lines() -> &'static [Line] {
    &LINES
}

/// How the command of this name uses its keys: the first key as the first of
/// the answer says, all others as the last. Never empty.
pub(crate) fn access_of(full_name: &str, spec: &CommandSpec) -> Vec<Access> {
    let line = LINES.iter().find(|line| line.name == full_name);
    match line {
        Some(line) if !line.access.is_empty() => line.access.clone(),
        _ if spec.flags.has(Flags::READONLY) => vec![Access::READS],
        _ if spec.keys == Keys::DestinationAndCounted => vec![Access::OVERWRITES, Access::READS],
        _ => vec![Access::READS_AND_WRITES],
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{command_by_id, command_count};
    use super::*;

    #[test]
    fn every_word_of_the_reference_is_understood() {
        for (line, text) in lines().iter().zip(include_str!("reference.txt").lines()) {
            let categories: Vec<&str> = line.categories.names().collect();
            let mut words = vec![line.name.to_owned(), categories.join(",")];
            for access in &line.access {
                words.push(access.names().collect::<Vec<_>>().join(","));
            }
            assert_eq!(words.join(" "), text);
        }
        assert_eq!(lines().len(), 366);
    }

    #[test]
    fn our_commands_have_the_categories_of_redis() {
        for command in (0..command_count()).filter_map(command_by_id) {
            let line = lines().iter().find(|line| line.name == command.full_name);
            if let Some(line) = line {
                let ours: Vec<_> = command.spec.categories().names().collect();
                let theirs: Vec<_> = line.categories.names().collect();
                assert_eq!(ours, theirs, "{}", command.full_name);
            }
        }
    }
}
