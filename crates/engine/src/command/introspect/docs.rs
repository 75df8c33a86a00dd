//! What COMMAND DOCS says of each command: one line and its cost.

use super::super::spec::{Acl, Command};

/// Summary and complexity of a command by its full name.
pub(super) fn of(full_name: &str) -> Option<(&'static str, &'static str)> {
    let at = DOCS
        .binary_search_by(|(name, _, _)| (*name).cmp(full_name))
        .ok()?;
    DOCS.get(at)
        .map(|(_, complexity, summary)| (*summary, *complexity))
}

/// The group that Redis' documentation files a command under.
pub(super) fn group(command: &Command) -> &'static str {
    let container = command.full_name.split('|').next().unwrap_or_default();
    match container {
        "acl" | "command" | "config" | "dbsize" | "flushall" | "flushdb" | "info" | "memory"
        | "role" | "slowlog" | "time" | "debug" | "monitor" | "bgsave" | "bgrewriteaof"
        | "lastsave" | "save" => return "server",
        "client" => return "connection",
        "object" => return "generic",
        "pubsub" => return "pubsub",
        "script" => return "scripting",
        "xgroup" | "xinfo" => return "stream",
        _ => {}
    }
    [
        (Acl::BITMAP, "bitmap"),
        (Acl::GEO, "geo"),
        (Acl::HYPERLOGLOG, "hyperloglog"),
        (Acl::STRING, "string"),
        (Acl::HASH, "hash"),
        (Acl::LIST, "list"),
        (Acl::SET, "set"),
        (Acl::SORTEDSET, "sorted-set"),
        (Acl::STREAM, "stream"),
        (Acl::PUBSUB, "pubsub"),
        (Acl::SCRIPTING, "scripting"),
        (Acl::TRANSACTION, "transactions"),
        (Acl::CONNECTION, "connection"),
    ]
    .into_iter()
    .find(|(category, _)| command.spec.acl.has(*category))
    .map_or("generic", |(_, name)| name)
}

const ONE: &str = "O(1)";
const RULES: &str = "O(N) where N is the number of rules";
const USERS: &str = "O(N) where N is the number of users";
const ENTRIES: &str = "O(N) where N is the number of entries shown";
const EACH: &str = "O(N) where N is the number of arguments";
const SIZE: &str = "O(N) where N is the size of the value";
const INDEX: &str = "O(N) where N is the number of nodes before the index";
const TAKEN: &str = "O(N) where N is the number of elements that go";
const PART: &str = "O(S+N) where S is the number of nodes before the range and N its length";
const TABLE: &str = "O(N*M) where N and M are the lengths of the strings";
const LOG: &str = "O(log(N)) where N is the size of the sorted set";
const RANGE: &str = "O(log(N)+M) where N is the size and M the number of elements in the range";
const ALL: &str = "O(N) where N is the number of elements of all sets";
const SORTED: &str = "O(N*log(N)) where N is the number of elements of all sorted sets";
const NEAR: &str = "O(N+log(M)) where N is the number of points in the cells around and M of all";
const COUNTED: &str = "O(log(N)+M) where N is the size and M the number of entries answered";
const PENDING: &str = "O(M*log(N)) where M is the number of entries, N of those pending";
const TRIMMED: &str = "O(1), and O(N) where N is the number of entries removed";
const SORTING: &str = "O(N+M*log(M)) where N is the number of elements and M of those returned";
const CURSOR: &str = "O(1) a call, O(N) for a whole walk";

/// Name, complexity, summary; in the order of the names.
const DOCS: &[(&str, &str, &str)] = &[
    (
        "acl|cat",
        ONE,
        "Lists the categories, or the commands of one",
    ),
    (
        "acl|deluser",
        EACH,
        "Deletes users and ends their connections",
    ),
    ("acl|dryrun", ONE, "Tells whether a user may run a command"),
    ("acl|genpass", ONE, "Makes a random password"),
    (
        "acl|gentoken",
        ONE,
        "Makes a token that is a user's password",
    ),
    ("acl|getuser", RULES, "Describes a user"),
    ("acl|list", USERS, "Lists the users with their rules"),
    ("acl|load", ONE, "Refused: users are kept with the data"),
    ("acl|log", ENTRIES, "Lists what was refused lately"),
    (
        "acl|resttoken",
        ONE,
        "Answers a user's bearer token for REST",
    ),
    ("acl|save", ONE, "Refused: users are kept with the data"),
    ("acl|setuser", RULES, "Makes a user or changes its rules"),
    ("acl|users", USERS, "Lists the names of the users"),
    ("acl|whoami", ONE, "Answers the connection's user"),
    ("append", ONE, "Adds text at the end of a string"),
    ("auth", ONE, "Authenticates the connection"),
    (
        "bgrewriteaof",
        EACH,
        "Begins a snapshot, after which the log before it goes",
    ),
    ("bgsave", EACH, "Begins a snapshot"),
    ("bitcount", SIZE, "Counts the set bits of a string"),
    (
        "bitfield",
        EACH,
        "Reads and changes integers of any width in a string",
    ),
    (
        "bitfield_ro",
        EACH,
        "Reads integers of any width in a string",
    ),
    ("bitop", SIZE, "Combines strings bit by bit"),
    ("bitpos", SIZE, "Finds the first bit that is set or clear"),
    (
        "blmove",
        ONE,
        "Moves an element from one list to another, or waits for it",
    ),
    (
        "blmpop",
        TAKEN,
        "Removes and answers elements of the first list that has any, or waits for them",
    ),
    (
        "blpop",
        EACH,
        "Removes and answers the first element of a list, or waits for it",
    ),
    (
        "brpop",
        EACH,
        "Removes and answers the last element of a list, or waits for it",
    ),
    (
        "brpoplpush",
        ONE,
        "Moves the last element of a list to the head of another, or waits for it",
    ),
    (
        "bzmpop",
        LOG,
        "Removes and answers members of the first set that has any, or waits for one",
    ),
    (
        "bzpopmax",
        LOG,
        "Removes and answers the highest member, or waits for one",
    ),
    (
        "bzpopmin",
        LOG,
        "Removes and answers the lowest member, or waits for one",
    ),
    (
        "client|caching",
        ONE,
        "Says whether the next command's keys are tracked",
    ),
    ("client|getname", ONE, "Answers the connection's name"),
    (
        "client|getredir",
        ONE,
        "Answers who is told of changes in the connection's place",
    ),
    ("client|id", ONE, "Answers the connection's id"),
    ("client|info", ONE, "Describes the connection"),
    (
        "client|kill",
        "O(N) where N is the number of connections",
        "Ends connections",
    ),
    (
        "client|list",
        "O(N) where N is the number of connections",
        "Describes all connections",
    ),
    ("client|pause", ONE, "Lets commands wait for a time"),
    (
        "client|reply",
        ONE,
        "Says whether the connection wants replies",
    ),
    ("client|setinfo", ONE, "Says which library the client is"),
    ("client|setname", ONE, "Names the connection"),
    (
        "client|tracking",
        ONE,
        "Has the connection told when keys that it read change",
    ),
    (
        "client|trackinginfo",
        ONE,
        "Answers how the connection tracks keys",
    ),
    ("client|unblock", ONE, "Ends the wait of a connection"),
    ("client|unpause", ONE, "Ends a pause of commands"),
    (
        "command",
        "O(N) where N is the number of commands",
        "Describes all commands",
    ),
    ("command|count", ONE, "Counts the commands"),
    ("command|docs", EACH, "Says what commands are for"),
    ("command|getkeys", EACH, "Finds the keys in a command"),
    (
        "command|getkeysandflags",
        EACH,
        "Finds the keys in a command and how they are used",
    ),
    ("command|info", EACH, "Describes commands"),
    (
        "command|list",
        "O(N) where N is the number of commands",
        "Lists the names of commands",
    ),
    ("config|get", EACH, "Answers settings by name or pattern"),
    ("config|resetstat", ONE, "Sets statistics to zero"),
    ("config|set", EACH, "Changes settings"),
    (
        "copy",
        SIZE,
        "Copies a key's value and deadline to another key",
    ),
    ("dbsize", ONE, "Counts the keys"),
    ("debug", "depends on the subcommand", "Serves test suites"),
    ("decr", ONE, "Subtracts one from an integer"),
    ("decrby", ONE, "Subtracts from an integer"),
    ("del", EACH, "Removes keys"),
    ("delex", ONE, "Removes a key if a condition holds"),
    ("digest", SIZE, "Answers the digest of the string at a key"),
    ("discard", EACH, "Drops the open transaction"),
    ("dump", SIZE, "Answers the value in Redis' own format"),
    ("echo", ONE, "Answers its argument"),
    ("eval", "Depends on the script", "Runs a script"),
    (
        "eval_ro",
        "Depends on the script",
        "Runs a script that only reads",
    ),
    (
        "evalsha",
        "Depends on the script",
        "Runs a script by its digest",
    ),
    (
        "evalsha_ro",
        "Depends on the script",
        "Runs a script that only reads by its digest",
    ),
    (
        "exec",
        "Depends on the commands",
        "Runs the open transaction",
    ),
    ("exists", EACH, "Counts which of the keys exist"),
    ("expire", ONE, "Sets a key's time to live in seconds"),
    (
        "expireat",
        ONE,
        "Sets a key's deadline in seconds since the epoch",
    ),
    (
        "expiretime",
        ONE,
        "Answers a key's deadline in seconds since the epoch",
    ),
    (
        "fcall",
        "Depends on the function",
        "Calls a function of a library",
    ),
    (
        "fcall_ro",
        "Depends on the function",
        "Calls a function that only reads",
    ),
    (
        "flushall",
        "O(N) where N is the number of keys",
        "Removes all keys",
    ),
    (
        "flushdb",
        "O(N) where N is the number of keys",
        "Removes all keys",
    ),
    ("function|delete", ONE, "Removes a library"),
    (
        "function|dump",
        "O(N) where N is the number of functions",
        "Answers all libraries as a payload",
    ),
    (
        "function|flush",
        "O(N) where N is the number of functions",
        "Removes all libraries",
    ),
    ("function|kill", ONE, "Stops the running function"),
    (
        "function|list",
        "O(N) where N is the number of functions",
        "Lists libraries and their functions",
    ),
    (
        "function|load",
        "Depends on the library",
        "Makes a library of its code",
    ),
    (
        "function|restore",
        "O(N) where N is the number of functions",
        "Makes the libraries of a payload",
    ),
    (
        "function|stats",
        ONE,
        "Says which function runs and how many there are",
    ),
    ("geoadd", LOG, "Adds points, or moves them"),
    ("geodist", ONE, "Returns the distance between two points"),
    ("geohash", EACH, "Returns points as geohashes"),
    ("geopos", EACH, "Returns the coordinates of points"),
    (
        "georadius",
        NEAR,
        "Finds the points within a circle, and stores them if asked",
    ),
    ("georadius_ro", NEAR, "Finds the points within a circle"),
    (
        "georadiusbymember",
        NEAR,
        "Finds the points within a circle around a member, and stores them if asked",
    ),
    (
        "georadiusbymember_ro",
        NEAR,
        "Finds the points within a circle around a member",
    ),
    (
        "geosearch",
        NEAR,
        "Finds the points within a circle or a box",
    ),
    (
        "geosearchstore",
        NEAR,
        "Stores the points within a circle or a box",
    ),
    ("get", ONE, "Answers the string at a key"),
    ("getbit", ONE, "Answers one bit of a string"),
    ("getdel", ONE, "Answers a string and removes its key"),
    ("getex", ONE, "Answers a string and changes its deadline"),
    ("getrange", SIZE, "Answers a part of a string"),
    ("getset", ONE, "Sets a string and answers the old one"),
    ("hdel", EACH, "Removes fields of a hash"),
    (
        "hello",
        ONE,
        "Opens the connection: protocol, authentication, name",
    ),
    ("hexists", ONE, "Says whether a hash has a field"),
    (
        "hexpire",
        EACH,
        "Sets when fields of a hash expire, in seconds from now",
    ),
    (
        "hexpireat",
        EACH,
        "Sets when fields of a hash expire, in seconds of Unix time",
    ),
    (
        "hexpiretime",
        EACH,
        "Answers when fields of a hash expire, in seconds of Unix time",
    ),
    ("hget", ONE, "Answers a field of a hash"),
    (
        "hgetall",
        SIZE,
        "Answers all fields of a hash with their values",
    ),
    ("hgetdel", EACH, "Answers fields of a hash and removes them"),
    (
        "hgetex",
        EACH,
        "Answers fields of a hash and changes when they expire",
    ),
    ("hincrby", ONE, "Adds to an integer in a hash"),
    ("hincrbyfloat", ONE, "Adds to a number in a hash"),
    ("hkeys", SIZE, "Answers all fields of a hash"),
    ("hlen", ONE, "Counts the fields of a hash"),
    ("hmget", EACH, "Answers several fields of a hash"),
    ("hmset", EACH, "Sets several fields of a hash"),
    ("hpersist", EACH, "Keeps fields of a hash from expiring"),
    (
        "hpexpire",
        EACH,
        "Sets when fields of a hash expire, in milliseconds from now",
    ),
    (
        "hpexpireat",
        EACH,
        "Sets when fields of a hash expire, in milliseconds of Unix time",
    ),
    (
        "hpexpiretime",
        EACH,
        "Answers when fields of a hash expire, in milliseconds of Unix time",
    ),
    (
        "hpttl",
        EACH,
        "Answers how many milliseconds fields of a hash have left",
    ),
    ("hrandfield", EACH, "Answers random fields of a hash"),
    ("hscan", CURSOR, "Walks through the fields of a hash"),
    ("hset", EACH, "Sets fields of a hash"),
    ("hsetex", EACH, "Sets fields of a hash and when they expire"),
    ("hsetnx", ONE, "Sets a field of a hash if there is none"),
    ("hstrlen", ONE, "Answers the length of a field's value"),
    (
        "httl",
        EACH,
        "Answers how many seconds fields of a hash have left",
    ),
    ("hvals", SIZE, "Answers all values of a hash"),
    ("incr", ONE, "Adds one to an integer"),
    ("incrby", ONE, "Adds to an integer"),
    ("incrbyfloat", ONE, "Adds to a number"),
    ("info", ONE, "Answers facts and figures about the server"),
    (
        "keys",
        "O(N) where N is the number of keys",
        "Answers the keys that match a pattern",
    ),
    ("lastsave", ONE, "Answers when the last snapshot was made"),
    (
        "lcs",
        TABLE,
        "Finds the longest common subsequence of two strings",
    ),
    ("lindex", INDEX, "Answers an element by its index"),
    ("linsert", SIZE, "Puts an element before or after another"),
    ("llen", ONE, "Counts the elements of a list"),
    ("lmove", ONE, "Moves an element from one list to another"),
    (
        "lmpop",
        TAKEN,
        "Removes and answers elements of the first list that has any",
    ),
    (
        "lpop",
        TAKEN,
        "Removes and answers the first elements of a list",
    ),
    ("lpos", SIZE, "Finds elements in a list"),
    ("lpush", EACH, "Adds elements at the head of a list"),
    (
        "lpushx",
        EACH,
        "Adds elements at the head of a list that exists",
    ),
    ("lrange", PART, "Answers a range of elements"),
    ("lrem", SIZE, "Removes elements by their value"),
    ("lset", INDEX, "Sets an element by its index"),
    (
        "ltrim",
        TAKEN,
        "Keeps a range of elements and removes the others",
    ),
    ("memory|usage", ONE, "Answers the bytes that a key takes"),
    ("mget", EACH, "Answers several strings"),
    ("monitor", ONE, "Shows every command as it runs"),
    ("move", ONE, "Moves a key to another database"),
    ("mset", EACH, "Sets several strings"),
    (
        "msetnx",
        EACH,
        "Sets several strings if none of the keys exists",
    ),
    ("multi", ONE, "Opens a transaction"),
    ("object|encoding", ONE, "Answers how a value is kept"),
    ("object|freq", ONE, "Answers how often a key is used"),
    (
        "object|idletime",
        ONE,
        "Answers the seconds since a key was used",
    ),
    (
        "object|refcount",
        ONE,
        "Answers the number of references to a value",
    ),
    ("persist", ONE, "Removes a key's deadline"),
    ("pexpire", ONE, "Sets a key's time to live in milliseconds"),
    (
        "pexpireat",
        ONE,
        "Sets a key's deadline in milliseconds since the epoch",
    ),
    (
        "pexpiretime",
        ONE,
        "Answers a key's deadline in milliseconds since the epoch",
    ),
    ("pfadd", EACH, "Adds elements to a HyperLogLog"),
    (
        "pfcount",
        EACH,
        "Estimates how many different elements HyperLogLogs have seen",
    ),
    ("pfdebug", ONE, "Shows the insides of a HyperLogLog"),
    ("pfmerge", EACH, "Merges HyperLogLogs into one"),
    ("pfselftest", ONE, "Checks the estimates of HyperLogLogs"),
    ("ping", ONE, "Says that the server is there"),
    (
        "psetex",
        ONE,
        "Sets a string and its time to live in milliseconds",
    ),
    ("psubscribe", EACH, "Subscribes to channels by pattern"),
    ("pttl", ONE, "Answers a key's time to live in milliseconds"),
    (
        "publish",
        "O(N+M) for N subscribers of the channel and M patterns",
        "Publishes a message",
    ),
    (
        "pubsub|channels",
        "O(N) where N is the number of channels",
        "Lists channels",
    ),
    ("pubsub|numpat", ONE, "Counts the patterns subscribed to"),
    ("pubsub|numsub", EACH, "Counts the subscribers of channels"),
    ("punsubscribe", EACH, "Ends subscriptions by pattern"),
    ("quit", ONE, "Ends the connection"),
    ("randomkey", ONE, "Answers a random key"),
    ("rename", ONE, "Renames a key, over the new name"),
    ("renamenx", ONE, "Renames a key if the new name is free"),
    ("reset", ONE, "Puts the connection back to its beginning"),
    ("restore", SIZE, "Creates a key from what DUMP answered"),
    ("role", ONE, "Answers the server's role in replication"),
    (
        "rpop",
        TAKEN,
        "Removes and answers the last elements of a list",
    ),
    (
        "rpoplpush",
        ONE,
        "Moves the last element of a list to the head of another",
    ),
    ("rpush", EACH, "Adds elements at the tail of a list"),
    (
        "rpushx",
        EACH,
        "Adds elements at the tail of a list that exists",
    ),
    ("sadd", EACH, "Adds members to a set"),
    ("save", EACH, "Makes a snapshot and waits for it"),
    ("scan", CURSOR, "Walks through the keys"),
    ("scard", ONE, "Counts the members of a set"),
    ("script|exists", EACH, "Says which scripts are cached"),
    (
        "script|flush",
        "O(N) where N is the number of scripts",
        "Drops all cached scripts",
    ),
    ("script|kill", ONE, "Stops the running script"),
    (
        "script|load",
        SIZE,
        "Caches a script and answers its digest",
    ),
    ("sdiff", ALL, "Answers the difference of sets"),
    ("sdiffstore", ALL, "Stores the difference of sets"),
    ("select", ONE, "Selects the database; there is only 0"),
    (
        "set",
        ONE,
        "Sets a string, with conditions and a deadline if asked",
    ),
    ("setbit", ONE, "Sets or clears one bit of a string"),
    ("setex", ONE, "Sets a string and its time to live"),
    ("setnx", ONE, "Sets a string if the key does not exist"),
    ("setrange", SIZE, "Overwrites a part of a string"),
    ("sinter", ALL, "Answers the intersection of sets"),
    ("sintercard", ALL, "Counts the members of an intersection"),
    ("sinterstore", ALL, "Stores the intersection of sets"),
    ("sismember", ONE, "Says whether a set has a member"),
    ("slowlog|get", EACH, "Answers the slow commands of late"),
    ("slowlog|len", ONE, "Counts the entries of the slow log"),
    ("slowlog|reset", ONE, "Empties the slow log"),
    ("smembers", SIZE, "Answers all members of a set"),
    ("smismember", EACH, "Says which members a set has"),
    ("smove", ONE, "Moves a member from one set to another"),
    (
        "sort",
        SORTING,
        "Sorts a list, a set or a sorted set, and stores the result if asked",
    ),
    ("sort_ro", SORTING, "Sorts a list, a set or a sorted set"),
    ("spop", EACH, "Removes and answers random members"),
    ("srandmember", EACH, "Answers random members"),
    ("srem", EACH, "Removes members from a set"),
    ("sscan", CURSOR, "Walks through the members of a set"),
    ("strlen", ONE, "Answers the length of a string"),
    ("subscribe", EACH, "Subscribes to channels"),
    (
        "substr",
        SIZE,
        "Answers a part of a string; GETRANGE's old name",
    ),
    ("sunion", ALL, "Answers the union of sets"),
    ("sunionstore", ALL, "Stores the union of sets"),
    ("time", ONE, "Answers the server's time"),
    ("touch", EACH, "Marks keys as used"),
    ("ttl", ONE, "Answers a key's time to live in seconds"),
    ("type", ONE, "Answers the type of a key's value"),
    ("unlink", EACH, "Removes keys"),
    ("unsubscribe", EACH, "Ends subscriptions to channels"),
    ("unwatch", ONE, "Forgets the watched keys"),
    ("wait", ONE, "Waits for replicas, of which there are none"),
    ("waitaof", ONE, "Waits until what was written is durable"),
    ("watch", EACH, "Makes the next transaction depend on keys"),
    ("xack", EACH, "Ends what is pending for a group of a stream"),
    (
        "xackdel",
        EACH,
        "Ends what is pending for a group and deletes the entries",
    ),
    (
        "xadd",
        TRIMMED,
        "Adds an entry to a stream, and trims it if asked",
    ),
    (
        "xautoclaim",
        COUNTED,
        "Hands entries to another consumer that have been pending for long",
    ),
    (
        "xclaim",
        PENDING,
        "Hands pending entries to another consumer",
    ),
    ("xdel", EACH, "Deletes entries of a stream"),
    (
        "xdelex",
        EACH,
        "Deletes entries of a stream, with a say for its groups",
    ),
    ("xgroup|create", ONE, "Makes a group of a stream"),
    ("xgroup|createconsumer", ONE, "Makes a consumer of a group"),
    (
        "xgroup|delconsumer",
        PENDING,
        "Removes a consumer with what is pending for it",
    ),
    (
        "xgroup|destroy",
        PENDING,
        "Removes a group with what is pending for it",
    ),
    ("xgroup|setid", ONE, "Sets up to where a group has read"),
    (
        "xinfo|consumers",
        "O(N) where N is the number of consumers",
        "Describes the consumers of a group",
    ),
    (
        "xinfo|groups",
        "O(N) where N is the number of groups",
        "Describes the groups of a stream",
    ),
    ("xinfo|stream", ONE, "Describes a stream"),
    ("xlen", ONE, "Counts the entries of a stream"),
    ("xpending", COUNTED, "Answers what is pending for a group"),
    ("xrange", COUNTED, "Answers a range of entries by id"),
    (
        "xread",
        COUNTED,
        "Answers the entries behind an id, and waits for them if asked",
    ),
    (
        "xreadgroup",
        COUNTED,
        "Hands entries out to a consumer, and waits for them if asked",
    ),
    (
        "xrevrange",
        COUNTED,
        "Answers a range of entries by id, from the last",
    ),
    ("xsetid", ONE, "Sets a stream's last id"),
    ("xtrim", TRIMMED, "Removes the oldest entries of a stream"),
    (
        "zadd",
        LOG,
        "Adds members to a sorted set, or changes scores",
    ),
    ("zcard", ONE, "Counts the members of a sorted set"),
    ("zcount", LOG, "Counts the members in a range of scores"),
    ("zdiff", SORTED, "Answers the difference of sorted sets"),
    ("zdiffstore", SORTED, "Stores the difference of sorted sets"),
    ("zincrby", LOG, "Adds to a score"),
    ("zinter", SORTED, "Answers the intersection of sorted sets"),
    (
        "zintercard",
        SORTED,
        "Counts the members of an intersection",
    ),
    (
        "zinterstore",
        SORTED,
        "Stores the intersection of sorted sets",
    ),
    ("zlexcount", LOG, "Counts the members in a range of names"),
    (
        "zmpop",
        LOG,
        "Removes and answers members of the first sorted set that has any",
    ),
    ("zmscore", EACH, "Answers the scores of members"),
    ("zpopmax", LOG, "Removes and answers the highest members"),
    ("zpopmin", LOG, "Removes and answers the lowest members"),
    ("zrandmember", EACH, "Answers random members"),
    (
        "zrange",
        RANGE,
        "Answers a range of members by rank, score or name",
    ),
    ("zrangebylex", RANGE, "Answers a range of members by name"),
    (
        "zrangebyscore",
        RANGE,
        "Answers a range of members by score",
    ),
    ("zrangestore", RANGE, "Stores a range of members"),
    ("zrank", LOG, "Answers the rank of a member"),
    ("zrem", LOG, "Removes members from a sorted set"),
    (
        "zremrangebylex",
        RANGE,
        "Removes a range of members by name",
    ),
    (
        "zremrangebyrank",
        RANGE,
        "Removes a range of members by rank",
    ),
    (
        "zremrangebyscore",
        RANGE,
        "Removes a range of members by score",
    ),
    (
        "zrevrange",
        RANGE,
        "Answers a range of members by rank, from the highest",
    ),
    (
        "zrevrangebylex",
        RANGE,
        "Answers a range of members by name, from the last",
    ),
    (
        "zrevrangebyscore",
        RANGE,
        "Answers a range of members by score, from the highest",
    ),
    (
        "zrevrank",
        LOG,
        "Answers the rank of a member, from the highest",
    ),
    ("zscan", CURSOR, "Walks through the members of a sorted set"),
    ("zscore", ONE, "Answers the score of a member"),
    ("zunion", SORTED, "Answers the union of sorted sets"),
    ("zunionstore", SORTED, "Stores the union of sorted sets"),
];

#[cfg(test)]
mod tests {
    use super::super::super::spec::{Run, command_by_id, command_count};
    use super::*;

    #[test]
    fn names_are_in_order() {
        assert!(DOCS.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn every_command_is_documented() {
        for command in (0..command_count()).filter_map(command_by_id) {
            let obvious = matches!(command.spec.run, Run::Container)
                || command.spec.name == "help"
                || command.spec.name == "test.panic"
                || ["client|no-evict", "config|rewrite"].contains(&command.full_name.as_str());
            assert!(
                obvious || of(&command.full_name).is_some(),
                "{}",
                command.full_name
            );
        }
    }
}
