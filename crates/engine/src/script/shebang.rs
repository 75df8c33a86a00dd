//! The first line of a script, `#!lua flags=…`, and the flags that it or a
//! function declares.

use crate::reply::Reply;

/// The flags of a function, or of a script that has a shebang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u8);

impl Flags {
    /// It calls no command that writes.
    pub(crate) const NO_WRITES: Flags = Flags(1);
    /// It may run when memory is full.
    pub(crate) const ALLOW_OOM: Flags = Flags(2);
    /// It may run on stale data.
    pub(crate) const ALLOW_STALE: Flags = Flags(4);
    /// It may not run in a cluster.
    pub(crate) const NO_CLUSTER: Flags = Flags(8);
    /// Its keys may be of several slots.
    pub(crate) const ALLOW_CROSS_SLOT_KEYS: Flags = Flags(16);
    /// It touches declared keys only (Upstash).
    pub(crate) const ALLOW_KEY_LOCKING: Flags = Flags(32);

    /// These and those of `other`.
    pub(crate) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The flag of a function with this name, in any case.
    pub(crate) fn of_function(name: &[u8]) -> Option<Flags> {
        NAMES
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, flag)| flag)
    }

    /// The names of those that a function may have and that are set.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .into_iter()
            .filter(move |(_, flag)| self.contains(*flag))
            .filter_map(|(name, _)| std::str::from_utf8(name).ok())
    }

    /// Whether all of `flags` are set.
    pub(crate) const fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

const NAMES: [(&[u8], Flags); 6] = [
    (b"no-writes", Flags::NO_WRITES),
    (b"allow-oom", Flags::ALLOW_OOM),
    (b"allow-stale", Flags::ALLOW_STALE),
    (b"no-cluster", Flags::NO_CLUSTER),
    (b"allow-cross-slot-keys", Flags::ALLOW_CROSS_SLOT_KEYS),
    (b"allow-key-locking", Flags::ALLOW_KEY_LOCKING),
];

/// The flags, if there is a shebang, and the code, which then begins with the
/// line's end so that lines keep their numbers.
pub(crate) fn parse(body: &[u8]) -> Result<(Option<Flags>, &[u8]), Reply> {
    if !body.starts_with(b"#!") {
        return Ok((None, body));
    }
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() == body.len() {
        return Err(Reply::error("ERR Invalid script shebang"));
    }
    let refuse = |what: &str, part: &[u8]| {
        let mut text = format!("ERR {what}: ").into_bytes();
        text.extend_from_slice(part);
        Err(Reply::error(text))
    };
    let mut parts = line
        .split(u8::is_ascii_whitespace)
        .filter(|part| !part.is_empty());
    let engine = parts.next().unwrap_or_default();
    if engine != b"#!lua" {
        return refuse("Unexpected engine in script shebang", engine);
    }
    let mut flags = Flags::default();
    for part in parts {
        let Some(names) = part.strip_prefix(b"flags=") else {
            return refuse("Unknown lua shebang option", part);
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            match NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, flag)) => flags = flags.and(*flag),
                None => return refuse("Unexpected flag in script shebang", name),
            }
        }
    }
    Ok((Some(flags), body.get(line.len()..).unwrap_or_default()))
}
