//! Which commands a selector allows.
//!
//! A bit for each command of the [catalog](super::catalog), and one for those
//! to come, which only `+@all` sets. What is kept is the result, as in Redis
//! 7.0; the text of the rules is found again from it: the categories that come
//! closest, then the single commands that they miss.

use super::catalog::{CATEGORIES, Catalog, catalog};
use crate::command::spec::Acl;

/// The commands that a selector allows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commands {
    bits: Vec<u64>,
    /// Whether commands of later versions are allowed too.
    future: bool,
    /// Whether it was `+@all` and nothing was taken back since.
    all: bool,
    /// First arguments with which a command is allowed that is not otherwise.
    first_args: Vec<(usize, Vec<Vec<u8>>)>,
}

/// Equal where they allow the same, now and in later versions.
impl PartialEq for Commands {
    fn eq(&self, other: &Self) -> bool {
        self.future == other.future
            && catalog().by_name().all(|(number, _)| {
                self.has(number) == other.has(number)
                    && (self.has(number) || self.args_of(number) == other.args_of(number))
            })
    }
}

impl Eq for Commands {}

impl Commands {
    /// Whether command number `number` is allowed with `first`, the argument
    /// behind its name.
    pub(crate) fn allow(&self, number: usize, first: Option<&[u8]>) -> bool {
        if self.all || self.has(number) {
            return true;
        }
        let known = |arg: &Vec<u8>| first.is_some_and(|first| arg.eq_ignore_ascii_case(first));
        self.args_of(number).iter().any(known)
    }

    /// The first arguments with which a command is allowed.
    fn args_of(&self, number: usize) -> &[Vec<u8>] {
        let args = self.first_args.iter();
        let mut args = args.filter(|(command, _)| *command == number);
        args.next().map_or(&[], |(_, args)| args)
    }

    /// Bytes and count of first arguments.
    pub(crate) fn first_args(&self) -> (usize, usize) {
        let args = self.first_args.iter().flat_map(|(_, args)| args);
        args.fold((0, 0), |(bytes, count), arg| (bytes + arg.len(), count + 1))
    }

    /// `+@all`.
    pub(crate) fn set_all(&mut self) {
        self.bits = vec![u64::MAX; catalog().len().div_ceil(64)];
        self.future = true;
        self.all = true;
        self.first_args.clear();
    }

    /// `-@all`.
    pub(crate) fn clear(&mut self) {
        *self = Commands::default();
    }

    /// Allows or refuses a command and its subcommands.
    pub(crate) fn change(&mut self, number: usize, allow: bool) {
        self.set(number, allow);
        self.first_args.retain(|(command, _)| *command != number);
        let subcommands = catalog().get(number).map(|item| &item.subcommands);
        for subcommand in subcommands.into_iter().flatten() {
            self.set(*subcommand, allow);
        }
    }

    /// Allows or refuses all commands of a category.
    pub(crate) fn change_category(&mut self, category: Acl, allow: bool) {
        for (number, item) in catalog().by_name() {
            if item.categories.has(category) {
                self.change(number, allow);
            }
        }
    }

    /// Allows a command with this first argument.
    pub(crate) fn allow_first_arg(&mut self, number: usize, first: &[u8]) {
        let known = self
            .first_args
            .iter_mut()
            .find(|(command, _)| *command == number);
        match known {
            Some((_, args)) if args.iter().any(|arg| arg.eq_ignore_ascii_case(first)) => {}
            Some((_, args)) => args.push(first.to_vec()),
            None => self.first_args.push((number, vec![first.to_vec()])),
        }
    }

    fn has(&self, number: usize) -> bool {
        let word = self.bits.get(number / 64).copied().unwrap_or(0);
        word >> (number % 64) & 1 == 1
    }

    fn set(&mut self, number: usize, allow: bool) {
        if self.bits.len() <= number / 64 {
            self.bits.resize(catalog().len().div_ceil(64), 0);
        }
        if let Some(word) = self.bits.get_mut(number / 64) {
            if allow {
                *word |= 1 << (number % 64);
            } else {
                *word &= !(1 << (number % 64));
            }
        }
        self.all &= allow;
    }

    /// The rules that make these commands of none: `+@all` or `-@all` first,
    /// then categories, then single commands by their names.
    pub(crate) fn rules(&self) -> Vec<Vec<u8>> {
        let catalog = catalog();
        let (grants, takes) = if self.future {
            ("+@all", "-@")
        } else {
            ("-@all", "+@")
        };
        let mut rules = vec![grants.as_bytes().to_vec()];
        let mut said = Commands::default();
        if self.future {
            said.set_all();
        }
        let additive = !self.future;
        let mut open = self.clone();
        let mut left: Vec<(&str, Acl)> = CATEGORIES.to_vec();
        while let Some(at) = open.closest(catalog, &left, additive) {
            let (name, category) = left.remove(at);
            rules.push([takes, name].concat().into_bytes());
            said.change_category(category, additive);
            open.change_category(category, !additive);
        }
        for (number, item) in catalog.by_name() {
            let allowed = self.has(number);
            if allowed != said.has(number) {
                let sign = if allowed { "+" } else { "-" };
                rules.push([sign, &item.name].concat().into_bytes());
                said.change(number, allowed);
            }
            if !allowed {
                let rule = |arg: &Vec<u8>| [b"+", item.name.as_bytes(), b"|", arg].concat();
                rules.extend(self.args_of(number).iter().map(rule));
            }
        }
        rules
    }

    /// The same as one text.
    pub(crate) fn describe(&self) -> Vec<u8> {
        self.rules().join(&b' ')
    }

    /// The category whose commands are most alike: fewest that differ, then most
    /// that agree, of those where more agree than differ.
    fn closest(
        &self,
        catalog: &Catalog,
        categories: &[(&str, Acl)],
        additive: bool,
    ) -> Option<usize> {
        let mut best = None;
        for (at, (_, category)) in categories.iter().enumerate() {
            let (mut on, mut off) = (0, 0);
            for (number, item) in catalog.by_name() {
                if item.is_redis && item.categories.has(*category) {
                    if self.has(number) {
                        on += 1;
                    } else {
                        off += 1;
                    }
                }
            }
            let (same, differ) = if additive { (on, off) } else { (off, on) };
            let better = best
                .is_none_or(|(_, least, most)| differ < least || (differ == least && same > most));
            if same > differ && better {
                best = Some((at, differ, same));
            }
        }
        best.map(|(at, _, _)| at)
    }
}
