//! The commands that rules can name: ours, and those that Redis 7.0.15 has
//! besides, so that a Redis' users can be taken over word for word.
//!
//! A command of ours has the number that it has in the table (`Command::id`);
//! the others follow.

use std::sync::LazyLock;

use ahash::AHashMap;

use crate::command::reference;
use crate::command::spec::{Acl, command_by_id, command_count};

/// Every category, in the order in which ACL CAT lists them and rules are found.
pub(crate) const CATEGORIES: [(&str, Acl); 21] = [
    ("keyspace", Acl::KEYSPACE),
    ("read", Acl::READ),
    ("write", Acl::WRITE),
    ("set", Acl::SET),
    ("sortedset", Acl::SORTEDSET),
    ("list", Acl::LIST),
    ("hash", Acl::HASH),
    ("string", Acl::STRING),
    ("bitmap", Acl::BITMAP),
    ("hyperloglog", Acl::HYPERLOGLOG),
    ("geo", Acl::GEO),
    ("stream", Acl::STREAM),
    ("pubsub", Acl::PUBSUB),
    ("admin", Acl::ADMIN),
    ("fast", Acl::FAST),
    ("slow", Acl::SLOW),
    ("blocking", Acl::BLOCKING),
    ("dangerous", Acl::DANGEROUS),
    ("connection", Acl::CONNECTION),
    ("transaction", Acl::TRANSACTION),
    ("scripting", Acl::SCRIPTING),
];

/// The category of this name, in any case.
pub(crate) fn category(name: &[u8]) -> Option<Acl> {
    let (_, category) = CATEGORIES
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))?;
    Some(*category)
}

/// A command that rules can name.
#[derive(Debug)]
pub(crate) struct Item {
    /// Lower-case; `config|get` for a subcommand.
    pub(crate) name: String,
    pub(crate) categories: Acl,
    /// Its subcommands.
    pub(crate) subcommands: Vec<usize>,
    pub(crate) is_subcommand: bool,
    /// Whether Redis 7.0.15 has it: the categories of a rule's text are chosen
    /// by these alone, and so are the same as Redis'.
    pub(crate) is_redis: bool,
}

/// All of them, by number and by name.
#[derive(Debug)]
pub(crate) struct Catalog {
    items: Vec<Item>,
    numbers: AHashMap<String, usize>,
    /// Numbers in the order of names, subcommands behind their container.
    by_name: Vec<usize>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::new);

/// The catalog of this process.
pub(crate) fn catalog() -> &'static Catalog {
    &CATALOG
}

impl Catalog {
    fn new() -> Self {
        let mut catalog = Catalog {
            items: Vec::new(),
            numbers: AHashMap::new(),
            by_name: Vec::new(),
        };
        for command in (0..command_count()).filter_map(command_by_id) {
            catalog.add(&command.full_name, command.spec.categories(), false);
        }
        for line in reference::lines() {
            match catalog.numbers.get(line.name).copied() {
                Some(number) => {
                    if let Some(item) = catalog.items.get_mut(number) {
                        item.is_redis = true;
                    }
                }
                None => catalog.add(line.name, line.categories, true),
            }
        }
        let mut by_name: Vec<usize> = (0..catalog.items.len()).collect();
        by_name.sort_by_key(|number| {
            let name = catalog.items.get(*number).map(|item| item.name.as_str());
            name.map(|name| name.split('|').collect::<Vec<_>>())
        });
        catalog.by_name = by_name;
        for number in 0..catalog.items.len() {
            let container = catalog.items.get(number).and_then(|item| {
                let (container, _) = item.name.split_once('|')?;
                catalog.numbers.get(container).copied()
            });
            if let Some(container) = container.and_then(|at| catalog.items.get_mut(at)) {
                container.subcommands.push(number);
            }
        }
        catalog
    }

    fn add(&mut self, name: &str, categories: Acl, is_redis: bool) {
        self.numbers.insert(name.to_owned(), self.items.len());
        self.items.push(Item {
            name: name.to_owned(),
            categories,
            subcommands: Vec::new(),
            is_subcommand: name.contains('|'),
            is_redis,
        });
    }

    /// How many there are; numbers are below.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Item> {
        self.items.get(number)
    }

    /// All with their numbers, in the order of names.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (usize, &Item)> {
        let numbers = self.by_name.iter().copied();
        numbers.filter_map(|number| Some((number, self.items.get(number)?)))
    }

    /// The number of a command, or of a subcommand as `config|get`, in any case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.numbers.get(&name).copied()
    }
}
