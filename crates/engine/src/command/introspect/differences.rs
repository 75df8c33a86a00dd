//! Where a command differs from redis-server 7.0 or from Upstash, in a line each.
//!
//! What the table says anyway (arity, where it may be called) is not repeated.

/// What differs in the command or subcommand of this full name.
pub(super) fn of(full_name: &str) -> Option<&'static str> {
    let at = DIFFERENCES
        .binary_search_by(|(name, _)| (*name).cmp(full_name))
        .ok()?;
    DIFFERENCES.get(at).map(|(_, text)| *text)
}

const COMPACT: &str =
    "a sorted set in its compact encoding stays so; a reply above 1 GiB is refused";
const PICKS: &str = "at most ten million elements with repetition";
const ROOM: &str = "a reply above 1 GiB is refused";
const SAVED: &str = "makes a snapshot of ours (docs/journal.md), no RDB file";

/// In the order of the names.
pub(super) const DIFFERENCES: &[(&str, &str)] = &[
    (
        "acl|load",
        "users are kept in the journal; there is no file to load",
    ),
    (
        "acl|save",
        "users are kept in the journal; there is no file to save to",
    ),
    ("auth", "also takes the tokens of the server"),
    ("bgrewriteaof", SAVED),
    ("bgsave", SAVED),
    ("bitop", "DIFF, DIFF1, ANDOR and ONE are those of Redis 8.2"),
    (
        "client|kill",
        "sees and ends connections of its own keyspace only",
    ),
    ("client|list", "shows connections of its own keyspace only"),
    ("client|no-evict", "accepted: connections are never evicted"),
    (
        "client|pause",
        "pauses the caller's keyspace, not the process; scripts count as writes, but for _RO",
    ),
    (
        "client|tracking",
        "broadcasts are told once a unit; the table is the keyspace's own",
    ),
    ("command|docs", ROOM),
    ("command|info", ROOM),
    (
        "config|set",
        "what we have no use for is refused as unknown",
    ),
    (
        "copy",
        "of a key to itself answers 0 over REST, as Upstash does; there is one database",
    ),
    (
        "debug",
        "a subset, behind `--enable-debug-command`; JMAP answers OK and does nothing",
    ),
    (
        "eval",
        "a killed or refused script is undone whole, and over REST one that fails too",
    ),
    ("evalsha", "as EVAL"),
    ("exec", "a reply above 1 GiB undoes the transaction"),
    (
        "flushall",
        "SYNC and ASYNC free memory alike, without the lock",
    ),
    ("hgetdel", "as in Redis 8.0 (docs/hash-field-ttl.md)"),
    ("hgetex", "as in Redis 8.0 (docs/hash-field-ttl.md)"),
    ("hmget", ROOM),
    ("hrandfield", PICKS),
    ("hsetex", "as in Redis 8.0 (docs/hash-field-ttl.md)"),
    ("mget", ROOM),
    (
        "monitor",
        "shows commands of its own keyspace only; over REST it is the path `/monitor`",
    ),
    (
        "multi",
        "queued commands take 1 GiB at most; over REST it is the path `/multi-exec`",
    ),
    (
        "object|encoding",
        "hashes with deadlines are `listpack` or `hashtable` too",
    ),
    ("pfselftest", "a shorter test of the same"),
    ("psubscribe", "over REST it is the path `/psubscribe`"),
    (
        "restore",
        "takes payloads up to RDB version 12, and those of Valkey 9",
    ),
    ("save", SAVED),
    (
        "scan",
        "over REST it may answer with types (WITHTYPE), as Upstash does",
    ),
    (
        "script|kill",
        "ends a script that has written, too: its writes are undone",
    ),
    ("select", "there is one database, 0"),
    ("sort", COMPACT),
    ("sort_ro", COMPACT),
    ("srandmember", PICKS),
    ("subscribe", "over REST it is the path `/subscribe`"),
    ("wait", "there are no replicas to wait for"),
    (
        "waitaof",
        "as in Redis 7.2; there are no replicas to wait for",
    ),
    ("xackdel", "as in Redis 8.2"),
    ("xadd", "KEEPREF, DELREF and ACKED are those of Redis 8.2"),
    ("xdelex", "as in Redis 8.2"),
    ("xread", "BLOCK answers at once over REST"),
    ("xreadgroup", "BLOCK answers at once over REST"),
    ("xtrim", "KEEPREF, DELREF and ACKED are those of Redis 8.2"),
    ("zrandmember", PICKS),
];
