"""The command families: templates, weights, and what the keyspace holds first."""

import acl
import geo
import hash_ttl
import hyperloglog
import list as lists
import sort
import stream
from grammar import Random, compile_template, seeded

PREAMBLE = [
    [b"SET", b"a:str", b"value"],
    [b"HSET", b"a:hash", b"f", b"v", b"n", b"5"],
    [b"SADD", b"a:set", b"1", b"2", b"3"],
    [b"ZADD", b"a:zset", b"1", b"a", b"2", b"b"],
    [b"RPUSH", b"a:list", b"a", b"b", b"1"],
]

STRING = """
SET <k> <v> [NX | XX] [GET] [EX <ttl> | PX <ttl> | EXAT <unix> | PXAT <unixms> | KEEPTTL]
SET <k> <v>
SET <k> <i>
GET <k>
GETSET <k> <v>
GETDEL <k>
GETEX <k> [EX <ttl> | PX <ttl> | EXAT <unix> | PXAT <unixms> | PERSIST]
GETRANGE <k> <i> <i>
SUBSTR <k> <i> <i>
SETRANGE <k> <n> <v>
SETRANGE <k> <offset> <v>
APPEND <k> <v>
STRLEN <k>
INCR <k>
DECR <k>
INCRBY <k> <i>
DECRBY <k> <i>
INCRBYFLOAT <k> <f>
MSET (<k> <v>)+
MSETNX (<k> <v>)+
MGET (<k>)+
SETNX <k> <v>
SETEX <k> <ttl> <v>
PSETEX <k> <ttl> <v>
OBJECT ENCODING <k>
PTTL <k>
TYPE <k>
DEL (<k>)+
"""

BITMAP = """
SETBIT <k> <offset> <bit>
SETBIT <k> <offset> <bit>
GETBIT <k> <offset>
BITCOUNT <k> [<i> <i> | <i> <i> (BYTE | BIT)]
BITPOS <k> <bit> [<i> | <i> <i> | <i> <i> (BYTE | BIT)]
BITOP (AND | OR | XOR) <k> (<k>)+
BITOP NOT <k> <k>
BITFIELD <k> ([OVERFLOW (WRAP | SAT | FAIL)] (GET <width> <bfoffset> | SET <width> <bfoffset> <bfvalue> | INCRBY <width> <bfoffset> <bfvalue>))+
BITFIELD <k> (GET <width> <bfoffset>)+
BITFIELD_RO <k> (GET <width> <bfoffset>)+
BITFIELD_RO <k> SET <width> <bfoffset> <bfvalue>
SET <k> <v>
GET <k>
STRLEN <k>
APPEND <k> <v>
DEL <k>
"""

GENERIC = """
DEL (<k>)+
UNLINK (<k>)+
EXISTS (<k>)+
TOUCH (<k>)+
TYPE <k>
RENAME <k> <k>
RENAMENX <k> <k>
COPY <k> <k> [REPLACE]
COPY <k> <k> [REPLACE] DB 0
EXPIRE <k> <ttl> [NX | XX | GT | LT | NX XX | GT LT | NX GT]
PEXPIRE <k> <ttl> [NX | XX | GT | LT]
EXPIREAT <k> <unix> [NX | XX | GT | LT]
PEXPIREAT <k> <unixms> [NX | XX | GT | LT]
PERSIST <k>
TTL <k>
PTTL <k>
EXPIRETIME <k>
PEXPIRETIME <k>
OBJECT ENCODING <k>
OBJECT REFCOUNT missing
OBJECT FREQ <k>
OBJECT HELP
KEYS <glob>
DBSIZE
RANDOMKEY
SET <k> <v>
SET <k> <v> EX <ttl>
HSET <k> <m> <v>
SADD <k> <m>
ZADD <k> <score> <m>
GET <k>
!SCANLOOP SCAN [MATCH <glob>] [COUNT <n>] [TYPE (string | hash | set | zset | list | stream | nothing)]
SCAN <junk>
SCAN 0 <junk> <junk>
!EXPIRED ( SET <k> <v> PX 8 | PSETEX <k> 5 <v> | PEXPIRE <k> 5 )
"""

HASH = """
HSET <k> (<m> <v>)+
HSET <k> (<m> <v>)+
HMSET <k> (<m> <v>)+
HSETNX <k> <m> <v>
HGET <k> <m>
HMGET <k> (<m>)+
HGETALL <k>
HKEYS <k>
HVALS <k>
HLEN <k>
HSTRLEN <k> <m>
HEXISTS <k> <m>
HDEL <k> (<m>)+
HINCRBY <k> <m> <i>
HINCRBYFLOAT <k> <m> <f>
HSET <k> <m> <i>
!PICK HRANDFIELD <k> [<count>]
HRANDFIELD <k> <count> WITHVALUES
OBJECT ENCODING <k>
!GROW HSET <k> <many> <v>
!SCANLOOP HSCAN <k> [MATCH <glob>] [COUNT <n>]
HSCAN <k> <junk>
COPY <k> <k> REPLACE
DEL <k>
TYPE <k>
"""

SET = """
SADD <k> (<m>)+
SADD <k> (<digit>)+
SADD <k> (<digit>)+
SREM <k> (<m>)+
SISMEMBER <k> <m>
SMISMEMBER <k> (<m>)+
SMEMBERS <k>
SCARD <k>
SMOVE <k> <k> <m>
SINTER (<k>)+
SUNION (<k>)+
SDIFF (<k>)+
SINTERSTORE <k> (<k>)+
SUNIONSTORE <k> (<k>)+
SDIFFSTORE <k> (<k>)+
SINTERCARD <numkeys> (<k>)+ [LIMIT <i>]
SINTERCARD 2 <k> <k> [LIMIT <n>]
!PICK SRANDMEMBER <k> [<count>]
!POP SPOP <k>
!POP SPOP <k> <n>
!POP SPOP <k> <junk>
OBJECT ENCODING <k>
!GROW SADD <k> <many>
!GROW SADD <k> <digit>
!SCANLOOP SSCAN <k> [MATCH <glob>] [COUNT <n>]
SSCAN <k> <junk>
DEL <k>
"""

ZSET = """
ZADD <k> (<score> <m>)+
ZADD <k> (<score> <m>)+
ZADD <k> [NX | XX] [GT | LT] [CH] [INCR] (<score> <m>)+
ZADD <k> (INCR | CH | XX GT CH | NX INCR) <score> <m>
ZINCRBY <k> <score> <m>
ZADD <lk> ( 0 <m> )+
ZADD <lk> ( 0 <m> )+
!GROW ZADD <lk> 0 <many>
ZSCORE <k> <m>
ZMSCORE <k> (<m>)+
ZCARD <k>
ZCOUNT <k> <ss> <ss>
ZLEXCOUNT <lk> <ls> <ls>
ZRANK <k> <m>
ZREVRANK <k> <m>
ZREM <k> (<m>)+
ZREMRANGEBYRANK <k> <i> <i>
ZREMRANGEBYSCORE <k> <ss> <ss>
ZREMRANGEBYLEX <lk> <ls> <ls>
ZRANGE <k> <i> <i> [REV] [WITHSCORES]
ZRANGE <k> <ss> <ss> BYSCORE [REV] [LIMIT <n> <i>] [WITHSCORES]
ZRANGE <lk> <ls> <ls> BYLEX [REV] [LIMIT <n> <i>]
ZRANGE <k> <i> <i> LIMIT <n> <n>
ZRANGE <lk> <ls> <ls> BYLEX WITHSCORES
ZRANGESTORE <k> <k> <i> <i> [REV]
ZRANGESTORE <k> <k> <ss> <ss> BYSCORE [REV] [LIMIT <n> <i>]
ZRANGESTORE <k> <lk> <ls> <ls> BYLEX [LIMIT <n> <i>]
ZREVRANGE <k> <i> <i> [WITHSCORES]
ZRANGEBYSCORE <k> <ss> <ss> [WITHSCORES] [LIMIT <i> <i>]
ZREVRANGEBYSCORE <k> <ss> <ss> [WITHSCORES] [LIMIT <i> <i>]
ZRANGEBYLEX <lk> <ls> <ls> [LIMIT <i> <i>]
ZREVRANGEBYLEX <lk> <ls> <ls> [LIMIT <i> <i>]
ZPOPMIN <k> [<i>]
ZPOPMAX <k> [<i>]
ZMPOP <numkeys> (<k>)+ (MIN | MAX) [COUNT <i>]
ZMPOP 2 <k> <k> (MIN | MAX) [COUNT <n>]
ZUNION 2 <k> <k> [WEIGHTS <score> <score>] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]
ZINTER 2 <k> <k> [WEIGHTS <score> <score>] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]
ZDIFF 2 <k> <k> [WITHSCORES]
ZUNIONSTORE <k> 2 <k> <k> [WEIGHTS <score> <score>] [AGGREGATE (SUM | MIN | MAX)]
ZINTERSTORE <k> 2 <k> <k> [WEIGHTS <score> <score>] [AGGREGATE (SUM | MIN | MAX)]
ZDIFFSTORE <k> 2 <k> <k>
ZUNION <numkeys> (<k>)+ [WITHSCORES]
ZINTERCARD <numkeys> (<k>)+ [LIMIT <i>]
ZINTERCARD 2 <k> <k> [LIMIT <n>]
!PICK ZRANDMEMBER <k> [<count>]
ZRANDMEMBER <k> <count> WITHSCORES
OBJECT ENCODING <k>
!GROW ZADD <k> <score> <many>
!SCANLOOP ZSCAN <k> [MATCH <glob>] [COUNT <n>]
SADD set:<n> <m>
DEL <k>
"""

# What the other families' commands do inside MULTI; replies in Redis' order only.
TRANSACTION = """
@a MULTI
@a MULTI
@a EXEC
@a EXEC
@a EXEC
@a DISCARD
@a WATCH (<k>)+
@a UNWATCH
@a SET <k> <v>
@a GET <k>
@a INCR <k>
@a HSET <k> <m> <v>
@a ZADD <k> <score> <m>
@a ZRANGE <k> 0 -1 WITHSCORES
@a NOSUCHCOMMAND <v>
@a GET
@a HSET <k>
@a SUBSCRIBE
@a EVAL <lua_incr> 1 <k>
@a EVAL <lua_get> 1 <k>
@a EXPIRE <k> <ttl>
@a DEL <k>
@a PING
@a FLUSHALL
@b SET <k> <v>
@b INCR <k>
@b DEL <k>
@b EXPIRE <k> <ttl>
@b PERSIST <k>
@b GET <k>
@b HSET <k> <m> <v>
@b FLUSHDB
@b RENAME <k> <k>
@b COPY <k> <k>
@b ZADD <k> <score> <m>
"""

CONNECTION = """
PING
PING <v>
PING <v> <v>
ECHO <v>
SELECT 0
SELECT <junk>
CLIENT GETNAME
CLIENT SETNAME <m>
CLIENT SETNAME with\x01space
CLIENT ID
CLIENT <junk>
CLIENT NOSUCH <v>
HELLO 2
HELLO 3
HELLO <junk>
HELLO 4
HELLO 3 SETNAME <m>
HELLO 3 <junk>
HELLO 2 AUTH default wrong
AUTH wrong
AUTH default wrong
AUTH a b c
AUTH
RESET x
TIME
COMMAND COUNT x x
COMMAND GETKEYS <junk>
COMMAND GETKEYS SET <k> <v>
COMMAND GETKEYS MSET <k> <v> <k> <v>
COMMAND GETKEYS EVAL x 2 <k> <k> <v>
COMMAND GETKEYS ZUNIONSTORE <k> 2 <k> <k>
COMMAND GETKEYS PING
COMMAND GETKEYS GET
COMMAND NOSUCH
CONFIG GET
CONFIG NOSUCH
CONFIG SET
CONFIG SET nosuch 1
CONFIG SET maxmemory (x | -1 | 1.5 | 1kk)
CONFIG GET maxmemory-policy
CONFIG SET maxmemory-policy (x | lru)
CONFIG SET lfu-log-factor (x | -1 | 10 | 2147483648)
CONFIG SET lfu-decay-time (x | -1 | 1 | 2147483648)
OBJECT
OBJECT NOSUCH
MEMORY NOSUCH
MEMORY USAGE missing
MEMORY USAGE <k> SAMPLES x
SLOWLOG NOSUCH
SLOWLOG GET x
SLOWLOG GET -2
PUBSUB NOSUCH
PUBSUB CHANNELS
PUBSUB CHANNELS <glob>
PUBSUB NUMSUB <k> <k>
PUBSUB NUMPAT
PUBLISH <k> <v>
SCRIPT NOSUCH
SCRIPT EXISTS <v>
DBSIZE x
FLUSHALL x
FLUSHALL ASYNC
FLUSHDB SYNC
NOSUCHCOMMAND
NOSUCHCOMMAND <i> <f> <glob>
<v>
SET <k> <v>
"""

# What was published to a subscriber comes before the reply to its next command,
# on both. One pattern at most: among several, Redis has no order.
PUBSUB = """
@a SUBSCRIBE <channel>
@a SUBSCRIBE ( <channel> )+
@a SUBSCRIBE <channel>
@a PSUBSCRIBE m*
@a UNSUBSCRIBE <channel>
@a PUNSUBSCRIBE m*
@a PUNSUBSCRIBE never*
@a PING
@a PING <m>
@a GET <k>
@a NOSUCHCOMMAND
@a PUBSUB NUMPAT
@b PUBLISH <channel> <v>
@b PUBLISH <channel> <v>
@b PUBLISH <channel> <v>
@b PUBSUB NUMSUB <channel> <channel>
@b PUBSUB CHANNELS
@b PUBSUB NUMPAT
@b SUBSCRIBE
@b EVAL <lua_publish> 0 <channel>
"""

FAMILIES = {
    "string": STRING,
    "bitmap": BITMAP,
    "generic": GENERIC,
    "hash": HASH,
    "list": lists.TEMPLATES,
    "list_waiting": lists.WAITING,
    "set": SET,
    "zset": ZSET,
    "stream": stream.TEMPLATES,
    "transaction": TRANSACTION,
    "connection": CONNECTION,
    "pubsub": PUBSUB,
    "geo": geo.TEMPLATES,
    "hyperloglog": hyperloglog.TEMPLATES,
    "sort": sort.TEMPLATES,
}

# Values of a family's own.
VALUES = {"geo": geo.Values, "hyperloglog": hyperloglog.Values, "sort": sort.Values}

LENGTH = 60


def steps_of(line, values, node):
    """One template's steps: dicts of `argv`, `who` sends it, what to do after it,
    how to compare, and the `unit` that must stay together."""
    who = "a"
    mode = None
    first = line.split(" ", 1)[0]
    if first in ("@a", "@b"):
        who = first[1]
    elif first.startswith("!"):
        mode = first[1:]
    if mode == "GROW":
        argv = values.expand(node, [])
        extra = []
        pair = line.split()[3:]
        for _ in range(values.rng.choice((20, 140, 520))):
            extra += [values.literal(part) for part in pair]
        return [{"argv": argv + extra, "who": who}]
    if mode == "PLAIN":
        return [{"argv": values.expand(node, []), "who": who}]
    if mode == "LOG":
        return stream.log(values, values.expand(node, []), who)
    argv = values.command(node)
    if mode == "SCANLOOP":
        return [{"argv": argv, "who": who, "loop": True}]
    if mode == "EXPIRED":
        # Touched afterwards, so that both have removed it and count the same keys.
        unit = values.rng.random()
        touch = {"argv": [b"EXISTS", argv[1] if len(argv) > 1 else b"x"], "who": who, "unit": unit}
        return [{"argv": argv, "who": who, "unit": unit, "pause": 0.03}, touch]
    if mode == "PICK":
        unit = values.rng.random()
        listing = {b"S": [b"SMEMBERS"], b"H": [b"HKEYS"], b"Z": [b"ZRANGE"]}[argv[0][:1].upper()]
        listing += [argv[1] if len(argv) > 1 else b""] + ([b"0", b"-1"] if listing == [b"ZRANGE"] else [])
        return [{"argv": listing, "who": who, "unit": unit}, {"argv": argv, "who": who, "unit": unit, "subset": True}]
    if mode == "POP":
        # What was popped is chance; that it was there, and how many, is not.
        key = argv[1] if len(argv) > 1 else b""
        unit = values.rng.random()
        return [
            {"argv": [b"SMEMBERS", key], "who": who, "unit": unit},
            {"argv": argv, "who": who, "unit": unit, "subset": True},
            {"argv": [b"SCARD", key], "who": who, "unit": unit},
            {"argv": [b"DEL", key], "who": who, "unit": unit},
        ]
    return [{"argv": argv, "who": who}]


COMPILED = {}


def compiled(family):
    if family not in COMPILED:
        lines = [line for line in FAMILIES[family].strip().splitlines()]
        COMPILED[family] = [
            (line, compile_template(line.split(" ", 1)[1] if line[0] in "@!" else line)) for line in lines
        ]
    return COMPILED[family]


def sequence(family, seed, index):
    """A family's random steps, the same for the same names."""
    if family == "script":
        import scripts

        return scripts.sequence(seeded(seed, family, index))
    if family == "lua":
        import lua_libraries

        return lua_libraries.sequence(seeded(seed, family, index))
    if family == "function":
        import function

        return function.sequence(seeded(seed, family, index))
    if family == "dump":
        import dump

        return dump.sequence(seeded(seed, family, index))
    if family == "hash_ttl":
        return hash_ttl.sequence(seeded(seed, family, index), steps_of)
    if family == "acl":
        return acl.sequence(seeded(seed, family, index))
    rng = seeded(seed, family, index)
    values = VALUES.get(family, Random)(rng, prefix=family[0], damaging=family not in ("pubsub", "list_waiting"))
    steps = [{"argv": argv, "who": "a"} for argv in PREAMBLE]
    if family == "stream":
        steps += [{"argv": argv, "who": "a"} for argv in stream.PREAMBLE]
    templates = compiled(family)
    length = stream.LENGTH if family == "stream" else LENGTH
    while len(steps) < length:
        line, node = rng.choice(templates)
        steps += steps_of(line, values, node)
    if family == "pubsub":
        # Its connections hear more than replies.
        steps = [{**step, "pushed": True} for step in steps]
    return steps


def names():
    return [*FAMILIES, "script", "dump", "hash_ttl", "acl", "function", "lua"]
