//! The one command table: what every part of Sangam knows about a command.
//!
//! Arity errors, COMMAND, key extraction, access control, what REST may call,
//! what is billed and where the dialects differ are all read from here. A
//! family's file lists its commands beside their handlers; [`FAMILIES`] lists
//! the families. To add a command, add one entry and one handler.

use std::sync::LazyLock;

use super::Ctx;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::session::{Dialect, Session};

/// What a handler answers.
pub type Outcome = Result<Reply, CommandError>;

/// How a command runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// Under the keyspace lock.
    Locked(fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome),
    /// Without it: it must answer even while a script holds the lock.
    Unlocked(fn(&Engine, &mut Session, &[&[u8]]) -> Outcome),
    /// A container: only its subcommands run.
    Container,
}

macro_rules! bits {
    ($(#[$doc:meta])* $type:ident { $($(#[$item:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $type(u32);

        #[allow(non_upper_case_globals, reason = "members are named as the table writes them")]
        impl $type {
            bits!(@each 0, $($(#[$item])* $name,)*);

            /// None.
            pub const fn empty() -> Self {
                $type(0)
            }

            /// Both sets.
            pub const fn and(self, other: Self) -> Self {
                $type(self.0 | other.0)
            }

            /// Whether all of `other` are in it.
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The member of this name, in lower or upper case as the table writes it.
            pub fn named(name: &str) -> Option<Self> {
                [$(($type::$name, $text),)*]
                    .into_iter()
                    .find_map(|(flag, text)| (text == name).then_some(flag))
            }

            /// The names of its members, in table order.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$(($type::$name, $text),)*]
                    .into_iter()
                    .filter(move |(flag, _)| self.has(*flag))
                    .map(|(_, name)| name)
            }
        }
    };
    (@each $at:expr, $(#[$item:meta])* $name:ident, $($rest:tt)*) => {
        $(#[$item])*
        pub const $name: Self = Self(1 << ($at));
        bits!(@each $at + 1, $($rest)*);
    };
    (@each $at:expr,) => {};
}

bits! {
    /// What COMMAND calls flags.
    Flags {
        /// May change data.
        WRITE = "write",
        /// Never changes data.
        READONLY = "readonly",
        /// Refused when memory is full.
        DENYOOM = "denyoom",
        /// For operators.
        ADMIN = "admin",
        /// Publishes or subscribes.
        PUBSUB = "pubsub",
        /// Not from scripts.
        NOSCRIPT = "noscript",
        /// Allowed while loading.
        LOADING = "loading",
        /// Not while data is loaded.
        NO_ASYNC_LOADING = "no_async_loading",
        /// May make its caller wait.
        BLOCKING = "blocking",
        /// Allowed on a stale replica.
        STALE = "stale",
        /// Constant or logarithmic time.
        FAST = "fast",
        /// Needs no authentication.
        NO_AUTH = "no_auth",
        /// May be called without keys.
        NO_MANDATORY_KEYS = "no_mandatory_keys",
        /// Keys found only by parsing.
        MOVABLEKEYS = "movablekeys",
        /// Not inside MULTI.
        NO_MULTI = "no_multi",
        /// Allowed while a script is busy.
        ALLOW_BUSY = "allow_busy",
        /// Not shown by MONITOR.
        SKIP_MONITOR = "skip_monitor",
        /// Not shown by SLOWLOG.
        SKIP_SLOWLOG = "skip_slowlog",
        /// Its time grows with the value: moved off the async workers when large.
        LONG = "long",
        /// Its reply may carry data that it takes away or changes, of any size.
        /// What writes without it answers with a number or a status.
        YIELDS = "yields",
        /// Writes nothing that counts as such, and yet has effects that others
        /// must hear of: not from scripts that may only read.
        MAY_REPLICATE = "may_replicate",
        /// Its reply names keys that its caller did not name.
        FINDS_KEYS = "finds_keys",
    }
}

bits! {
    /// Access control categories.
    Acl {
        /// Keys of any type.
        KEYSPACE = "keyspace",
        /// Reads.
        READ = "read",
        /// Writes.
        WRITE = "write",
        /// Sets.
        SET = "set",
        /// Sorted sets.
        SORTEDSET = "sortedset",
        /// Lists.
        LIST = "list",
        /// Hashes.
        HASH = "hash",
        /// Strings.
        STRING = "string",
        /// Bitmaps.
        BITMAP = "bitmap",
        /// HyperLogLog.
        HYPERLOGLOG = "hyperloglog",
        /// Geo.
        GEO = "geo",
        /// Streams.
        STREAM = "stream",
        /// Pub/sub.
        PUBSUB = "pubsub",
        /// Operators.
        ADMIN = "admin",
        /// Fast.
        FAST = "fast",
        /// Not fast.
        SLOW = "slow",
        /// Blocking.
        BLOCKING = "blocking",
        /// What a careless caller can ruin the database with.
        DANGEROUS = "dangerous",
        /// Connections.
        CONNECTION = "connection",
        /// Transactions.
        TRANSACTION = "transaction",
        /// Scripts.
        SCRIPTING = "scripting",
    }
}

bits! {
    /// How a command uses a key, in the words of COMMAND.
    Access {
        /// Reads the value.
        RO = "RO",
        /// Reads the value and changes it.
        RW = "RW",
        /// Writes a value whatever was there.
        OW = "OW",
        /// Takes the key away.
        RM = "RM",
        /// Tells of the value, or copies it.
        ACCESS = "access",
        /// Changes what is there.
        UPDATE = "update",
        /// Adds to it.
        INSERT = "insert",
        /// Removes from it.
        DELETE = "delete",
        /// Is no key though it is found as one.
        NOT_KEY = "not_key",
        /// There may be more keys.
        INCOMPLETE = "incomplete",
        /// It depends on the other arguments.
        VARIABLE = "variable_flags",
    }
}

impl Access {
    /// Only reads.
    pub const READS: Self = Access::RO.and(Access::ACCESS);
    /// Reads and changes.
    pub const READS_AND_WRITES: Self = Access::RW.and(Access::ACCESS).and(Access::UPDATE);
    /// Writes and never reads.
    pub const OVERWRITES: Self = Access::OW.and(Access::UPDATE);

    /// Whether it tells of the value.
    pub const fn is_read(self) -> bool {
        self.has(Access::ACCESS)
    }

    /// Whether it writes without regard to what was there.
    pub const fn replaces(self) -> bool {
        self.has(Access::OW)
    }

    /// Whether it changes the value.
    pub const fn is_write(self) -> bool {
        self.has(Access::UPDATE) || self.has(Access::INSERT) || self.has(Access::DELETE)
    }
}

/// Where a command's keys stand in its arguments (the name is argument 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// From `first` to `last` (negative: counted from the end) by `step`.
    Range {
        /// First key.
        first: usize,
        /// Last key; -1 is the last argument.
        last: i32,
        /// Distance between keys.
        step: usize,
    },
    /// The number of keys stands at `at`, the keys after it.
    Counted {
        /// Where the number stands.
        at: usize,
    },
    /// A destination at 1, then as `Counted { at: 2 }`.
    DestinationAndCounted,
    /// One at 1, and a destination after each of STORE and STOREDIST, looked for
    /// from `from` on.
    OneAndStored {
        /// Where the options begin.
        from: usize,
    },
    /// SORT: one at 1, and a destination after the last STORE.
    Sorted,
    /// The first half of what follows the word `STREAMS`, which is looked for
    /// from `from` on.
    Streams {
        /// Where the search begins.
        from: usize,
    },
}

/// One key, right after the name.
pub const ONE_KEY: Keys = Keys::Range {
    first: 1,
    last: 1,
    step: 1,
};
/// Two keys.
pub const TWO_KEYS: Keys = Keys::Range {
    first: 1,
    last: 2,
    step: 1,
};
/// Every argument is a key.
pub const ALL_KEYS: Keys = Keys::Range {
    first: 1,
    last: -1,
    step: 1,
};
/// Every argument but the last is a key.
pub const ALL_BUT_LAST: Keys = Keys::Range {
    first: 1,
    last: -2,
    step: 1,
};

impl Keys {
    /// Positions of the keys in `argv`; what does not parse gives none.
    pub fn positions(self, argv: &[&[u8]]) -> Vec<usize> {
        let counted = |at: usize| {
            let count = argv
                .get(at)
                .and_then(|text| std::str::from_utf8(text).ok())
                .and_then(|text| text.parse::<usize>().ok())
                .unwrap_or(0);
            at + 1..at.saturating_add(1).saturating_add(count).min(argv.len())
        };
        match self {
            Keys::None => Vec::new(),
            Keys::Range { first, last, step } => {
                let last = if last < 0 {
                    argv.len().saturating_sub(last.unsigned_abs() as usize)
                } else {
                    last as usize
                };
                (first..=last)
                    .step_by(step)
                    .filter(|at| *at < argv.len())
                    .collect()
            }
            Keys::Counted { at } => counted(at).collect(),
            Keys::DestinationAndCounted => std::iter::once(1).chain(counted(2)).collect(),
            Keys::OneAndStored { from } => {
                let after = |word: &str| {
                    let options = argv.get(from..argv.len().saturating_sub(1))?;
                    let at = options
                        .iter()
                        .position(|option| option.eq_ignore_ascii_case(word.as_bytes()))?;
                    Some(from + at + 1)
                };
                let stored = [after("STORE"), after("STOREDIST")];
                std::iter::once(1)
                    .chain(stored.into_iter().flatten())
                    .collect()
            }
            Keys::Sorted => {
                let mut stored = None;
                let mut at = 2;
                while let Some(option) = argv.get(at) {
                    let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
                    if is("STORE") && at + 1 < argv.len() {
                        stored = Some(at + 1);
                    }
                    at += if is("LIMIT") {
                        3
                    } else if is("GET") || is("BY") {
                        2
                    } else {
                        1
                    };
                }
                std::iter::once(1).chain(stored).collect()
            }
            Keys::Streams { from } => {
                let mut words = argv.iter().skip(from);
                let found = words.position(|word| word.eq_ignore_ascii_case(b"streams"));
                found.map_or_else(Vec::new, |at| {
                    let first = from + at + 1;
                    (first..first + (argv.len() - first) / 2).collect()
                })
            }
        }
    }

    /// Whether `argv` has as many keys as it says.
    pub fn are_stated(self, argv: &[&[u8]]) -> bool {
        let at = match self {
            Keys::None
            | Keys::Range { .. }
            | Keys::OneAndStored { .. }
            | Keys::Sorted
            | Keys::Streams { .. } => return true,
            Keys::Counted { at } => at,
            Keys::DestinationAndCounted => 2,
        };
        let count = argv.get(at).and_then(|text| super::args::parse_i64(text));
        count.is_some_and(|count| count >= 0 && count as usize <= argv.len().saturating_sub(at + 1))
    }

    /// First, last and step as COMMAND shows them.
    pub const fn legacy(self) -> (i64, i64, i64) {
        match self {
            Keys::None | Keys::Counted { .. } | Keys::Streams { .. } => (0, 0, 0),
            Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
            Keys::DestinationAndCounted | Keys::OneAndStored { .. } | Keys::Sorted => (1, 1, 1),
        }
    }
}

/// Parts of a value that a command adds by name, among its last arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// What they are called.
    pub name: &'static str,
    /// How many arguments stand behind the last.
    pub behind: usize,
    /// Distance between them.
    pub step: usize,
}

impl Parts {
    /// Those in `argv`, the last first; options before them may be among them.
    pub fn of<'a>(self, argv: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
        let behind_key = argv.get(2..).unwrap_or_default().iter().copied();
        behind_key.rev().skip(self.behind).step_by(self.step)
    }
}

/// One entry of the table.
#[derive(Clone, Copy)]
pub struct CommandSpec {
    /// Lower-case name.
    pub name: &'static str,
    /// Number of arguments, the name included; negative is "at least".
    pub arity: i32,
    /// The arity in Upstash's dialect.
    pub upstash_arity: i32,
    /// Flags.
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: Keys,
    /// Access control categories beyond those that the flags imply.
    pub acl: Acl,
    /// Redis version that brought it.
    pub since: &'static str,
    /// Whether the plan counts it.
    pub billed: bool,
    /// Whether REST may call it.
    pub rest: bool,
    /// Whether Upstash documents it; what it does not is refused in its strict
    /// dialect.
    pub upstash: bool,
    /// The fields or members that it adds.
    pub parts: Option<Parts>,
    /// Its handler.
    pub run: Run,
    /// Its subcommands.
    pub subcommands: &'static [CommandSpec],
}

impl CommandSpec {
    /// A command that runs under the keyspace lock.
    pub const fn new(
        name: &'static str,
        arity: i32,
        handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
    ) -> Self {
        CommandSpec {
            name,
            arity,
            upstash_arity: arity,
            flags: Flags::empty(),
            keys: Keys::None,
            acl: Acl::empty(),
            since: "1.0.0",
            billed: true,
            rest: true,
            upstash: true,
            parts: None,
            run: Run::Locked(handler),
            subcommands: &[],
        }
    }

    /// A command that needs no lock.
    pub const fn unlocked(
        name: &'static str,
        arity: i32,
        handler: fn(&Engine, &mut Session, &[&[u8]]) -> Outcome,
    ) -> Self {
        let mut spec = CommandSpec::new(name, arity, super::no_handler);
        spec.run = Run::Unlocked(handler);
        spec
    }

    /// A command that is only its subcommands.
    pub const fn container(name: &'static str, subcommands: &'static [CommandSpec]) -> Self {
        let mut spec = CommandSpec::new(name, -2, super::no_handler);
        spec.run = Run::Container;
        spec.subcommands = subcommands;
        spec
    }

    /// It reads: sets READONLY, the keys and the family.
    pub const fn reads(mut self, keys: Keys, family: Acl) -> Self {
        self.flags = self.flags.and(Flags::READONLY);
        self.keys = keys;
        self.acl = self.acl.and(family);
        self
    }

    /// It writes: sets WRITE, the keys and the family.
    pub const fn writes(mut self, keys: Keys, family: Acl) -> Self {
        self.flags = self.flags.and(Flags::WRITE);
        self.keys = keys;
        self.acl = self.acl.and(family);
        self
    }

    /// Adds flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.and(flags);
        self
    }

    /// Where its keys stand, for a command that neither reads nor writes them.
    pub const fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// Constant or logarithmic time.
    pub const fn fast(self) -> Self {
        self.flags(Flags::FAST)
    }

    /// Needs memory.
    pub const fn denyoom(self) -> Self {
        self.flags(Flags::DENYOOM)
    }

    /// Adds categories.
    pub const fn acl(mut self, acl: Acl) -> Self {
        self.acl = self.acl.and(acl);
        self
    }

    /// The Redis version that brought it.
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Never billed.
    pub const fn free(mut self) -> Self {
        self.billed = false;
        self
    }

    /// Not over REST.
    pub const fn not_rest(mut self) -> Self {
        self.rest = false;
        self
    }

    /// Upstash does not have it.
    pub const fn not_upstash(mut self) -> Self {
        self.upstash = false;
        self
    }

    /// It adds fields of a hash, each with a value behind it.
    pub const fn adds_fields(mut self) -> Self {
        self.parts = Some(Parts {
            name: "field",
            behind: 1,
            step: 2,
        });
        self
    }

    /// It adds members of a set, one in `step` arguments.
    pub const fn adds_members(mut self, step: usize) -> Self {
        self.parts = Some(Parts {
            name: "member",
            behind: 0,
            step,
        });
        self
    }

    /// Upstash takes another number of arguments.
    pub const fn upstash_arity(mut self, arity: i32) -> Self {
        self.upstash_arity = arity;
        self
    }

    /// All categories, those that the flags imply among them.
    pub const fn categories(&self) -> Acl {
        let mut acl = self.acl;
        if self.flags.has(Flags::WRITE) {
            acl = acl.and(Acl::WRITE);
        }
        // A script reads and writes through its commands; it is neither.
        if self.flags.has(Flags::READONLY) && !acl.has(Acl::SCRIPTING) {
            acl = acl.and(Acl::READ);
        }
        if self.flags.has(Flags::ADMIN) {
            acl = acl.and(Acl::ADMIN).and(Acl::DANGEROUS);
        }
        if self.flags.has(Flags::PUBSUB) {
            acl = acl.and(Acl::PUBSUB);
        }
        if self.flags.has(Flags::BLOCKING) {
            acl = acl.and(Acl::BLOCKING);
        }
        if self.flags.has(Flags::FAST) {
            acl.and(Acl::FAST)
        } else {
            acl.and(Acl::SLOW)
        }
    }

    /// Whether `count` arguments, the name included, satisfy the arity.
    pub const fn accepts(&self, count: usize) -> bool {
        satisfies(self.arity, count)
    }

    /// The same by the rules of `dialect`.
    pub fn accepts_in(&self, dialect: Dialect, count: usize) -> bool {
        match dialect {
            Dialect::Redis => satisfies(self.arity, count),
            Dialect::Upstash | Dialect::StrictUpstash => satisfies(self.upstash_arity, count),
        }
    }
}

const fn satisfies(arity: i32, count: usize) -> bool {
    if arity >= 0 {
        count == arity as usize
    } else {
        count >= arity.unsigned_abs() as usize
    }
}

/// The families, each from the file that implements it.
pub const FAMILIES: &[&[CommandSpec]] = super::FAMILIES;

/// A command ready to run: its entry with its place in the statistics.
pub struct Command {
    /// Its index in statistics.
    pub id: usize,
    /// Its entry.
    pub spec: CommandSpec,
    /// `config|get` for a subcommand.
    pub full_name: String,
    /// Its subcommands by name.
    pub subcommands: Vec<&'static Command>,
    /// How it uses its keys: the first as the first says, others as the last.
    pub(crate) access: Vec<Access>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.full_name)
    }
}

struct Registry {
    commands: Vec<&'static Command>,
    /// By [`slot`] of their names: a handful of instructions, where a hash of
    /// the name would cost as much as all else around a short command.
    by_name: Vec<Vec<&'static Command>>,
    count: usize,
    all: Vec<&'static Command>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut all: Vec<&'static Command> = Vec::new();
    let mut commands = Vec::new();
    // Built once for the life of the process, so leaking is keeping.
    let mut add = |spec: &CommandSpec, full_name: String, subcommands: Vec<&'static Command>| {
        let command: &'static Command = Box::leak(Box::new(Command {
            id: all.len(),
            spec: *spec,
            access: super::reference::access_of(&full_name, spec),
            full_name,
            subcommands,
        }));
        all.push(command);
        command
    };
    for spec in FAMILIES.iter().copied().flatten() {
        let subcommands = spec
            .subcommands
            .iter()
            .map(|sub| add(sub, format!("{}|{}", spec.name, sub.name), Vec::new()))
            .collect();
        commands.push(add(spec, spec.name.to_owned(), subcommands));
    }
    let mut by_name = vec![Vec::new(); SLOTS];
    for command in &commands {
        by_name[slot(command.spec.name.as_bytes())].push(*command);
    }
    Registry {
        commands,
        by_name,
        count: all.len(),
        all,
    }
});

/// Every command, without subcommands.
pub fn commands() -> &'static [&'static Command] {
    &REGISTRY.commands
}

/// The number of commands and subcommands.
pub fn command_count() -> usize {
    REGISTRY.count
}

/// A command or subcommand by its place in statistics.
pub fn command_by_id(id: usize) -> Option<&'static Command> {
    REGISTRY.all.get(id).copied()
}

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let alike = REGISTRY.by_name.get(slot(name))?;
    alike
        .iter()
        .copied()
        .find(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(name))
}

const SLOTS: usize = 512;

/// Where commands of this name are looked up: by its length and three of its
/// letters, in either case.
fn slot(name: &[u8]) -> usize {
    let letter = |at: usize| name.get(at).map_or(0, |byte| usize::from(byte & 0x1f));
    let length = name.len();
    let mixed =
        length * 5 + letter(0) * 31 + letter(length / 2) * 7 + letter(length.wrapping_sub(1)) * 97;
    mixed % SLOTS
}

impl Command {
    /// The keys in `argv` and how they are used; none where `argv` does not have
    /// the keys that it says.
    pub(crate) fn keys_used(&self, argv: &[&[u8]]) -> Vec<(usize, Access)> {
        if self.spec.keys == Keys::None || !self.spec.keys.are_stated(argv) {
            return Vec::new();
        }
        let first = super::access::of(self, argv);
        let rest = self.access.last().copied().unwrap_or(first);
        let rest = if self.access.len() > 1 { rest } else { first };
        let positions = self.spec.keys.positions(argv).into_iter().enumerate();
        positions
            .map(|(index, at)| (at, if index == 0 { first } else { rest }))
            .collect()
    }

    /// The subcommand of this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands
            .iter()
            .copied()
            .find(|sub| sub.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_among_few_others() {
        for command in commands() {
            let name = command.spec.name;
            let mixed: String = name
                .char_indices()
                .map(|(at, letter)| {
                    if at % 2 == 0 {
                        letter.to_ascii_uppercase()
                    } else {
                        letter
                    }
                })
                .collect();
            for spelled in [name.to_owned(), name.to_ascii_uppercase(), mixed] {
                let found = find(spelled.as_bytes());
                assert_eq!(found.map(|found| found.id), Some(command.id), "{spelled}");
            }
        }
        for none in [
            &b""[..],
            b"gett",
            b"ge",
            &[b'g'; 1000],
            b"\xc7\xc5\xd4",
            b"7%4",
        ] {
            assert!(find(none).is_none());
        }
        let longest = REGISTRY.by_name.iter().map(Vec::len).max();
        assert!(longest <= Some(4), "{longest:?}");
    }

    #[test]
    fn names_are_lower_case_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for command in commands() {
            assert_eq!(command.spec.name, command.spec.name.to_ascii_lowercase());
            assert!(
                seen.insert(command.spec.name),
                "{} is listed twice",
                command.spec.name
            );
            let both = Flags::WRITE.and(Flags::READONLY);
            assert!(
                !command.spec.flags.has(both),
                "{} reads and writes",
                command.spec.name
            );
        }
    }
}
