"""Fields of hashes with deadlines, against a server that has them.

redis-server 7.0 has none of these commands. With REDIS8_URL everything is compared
byte for byte with a Redis 8, wrong arguments too; else with the Valkey 9 of
VALKEY_URL (tests/with-valkey), whose error texts, limits and combinations of
options are its own (docs/hash-field-ttl.md): templates stay within what means the
same there, and any error is as good as another.
"""

import os

from grammar import Random, compile_template

FIELDS = "(FIELDS 1 <m> | FIELDS 2 <m> <m> | FIELDS 3 <m> <m> <m>)"
PAIRS = "(FIELDS 1 <m> <v> | FIELDS 2 <m> <v> <m> <v> | FIELDS 3 <m> <v> <m> <i> <m> <v>)"
CONDITION = "[NX | XX | GT | LT]"
DEADLINE = "(EX <ttl> | PX <ttl> | EXAT <unix> | PXAT <unixms>)"

TEMPLATES = f"""
HSET <k> (<m> <v>)+
HSET <k> (<m> <i>)+
HSET <k> (<m> <v>)+
HMSET <k> <m> <v>
HSETNX <k> <m> <v>
HINCRBY <k> <m> <i>
HINCRBYFLOAT <k> <m> 1.5
HDEL <k> (<m>)+
HEXPIRE <k> <ttl> {CONDITION} {FIELDS}
HPEXPIRE <k> <ttl> {CONDITION} {FIELDS}
HEXPIREAT <k> <unix> {CONDITION} {FIELDS}
HPEXPIREAT <k> <unixms> {CONDITION} {FIELDS}
HEXPIRE <k> <ttl> {FIELDS}
HPEXPIREAT <k> <unixms> {FIELDS}
HTTL <k> {FIELDS}
HPTTL <k> {FIELDS}
HEXPIRETIME <k> {FIELDS}
HPEXPIRETIME <k> {FIELDS}
HPEXPIRETIME <k> {FIELDS}
HPERSIST <k> {FIELDS}
HGETEX <k> [{DEADLINE} | PERSIST] {FIELDS}
HGETEX <k> {DEADLINE} {FIELDS}
HSETEX <k> [FNX | FXX] [{DEADLINE} | KEEPTTL] {PAIRS}
HSETEX <k> {DEADLINE} {PAIRS}
HSETEX <k> {DEADLINE} [FNX | FXX] {PAIRS}
HGETDEL <k> {FIELDS}
HGET <k> <m>
HMGET <k> (<m>)+
HGETALL <k>
HKEYS <k>
HVALS <k>
HLEN <k>
HSTRLEN <k> <m>
HEXISTS <k> <m>
!PICK HRANDFIELD <k> [<count>]
!SCANLOOP HSCAN <k>
COPY <k> <k> REPLACE
RENAME <k> <k>
EXPIRE <k> 1000
PERSIST <k>
TYPE <k>
EXISTS <k>
DEL <k>
SET <k> <v>
HEXPIRE <k> <ttl> FIELDS <numfields> <m>
HTTL <k> FIELDS <numfields> <m>
HGETDEL <k> FIELDS <numfields> <m> <m>
HEXPIRE <k> <ttl> <m> <m> <m>
HSETEX <k> EX <ttl> PX <ttl> {PAIRS}
HSETEX <k> FIELDS <numfields> <m> <v>
HSETEX <k> FNX FXX {PAIRS}
HGETEX <k> EX <ttl> PERSIST {FIELDS}
!GONE HPEXPIRE <k> 3 FIELDS 2 <m> <m>
!GONE HGETEX <k> PX 3 FIELDS 2 <m> <m>
!GONE HSETEX <k> PX 3 FIELDS 2 <m> <v> <m> <v>
"""

# What a key holds first.
PREAMBLE = [
    [b"SET", b"a:str", b"value"],
    [b"HSET", b"a:hash", b"f", b"v", b"n", b"5"],
    [b"SADD", b"a:set", b"1", b"2", b"3"],
    [b"ZADD", b"a:zset", b"1", b"a", b"2", b"b"],
]
LENGTH = 60
COMPILED = []


class Values(Random):
    """Times that mean the same to every server: Valkey has no latest deadline."""

    def ttl(self):
        if self.rng.random() < 0.85:
            return str(self.rng.randrange(1000, 9000)).encode()
        return self.rng.choice((b"0", b"0", b"-1", b"9223372036854775807", b"x", b"1.5", b""))

    def unix(self):
        if self.rng.random() < 0.85:
            return str(4102444800 + self.rng.randrange(20)).encode()
        return self.rng.choice((b"1", b"0", b"-1", b"9223372036854775807", b"x"))

    def unixms(self):
        if self.rng.random() < 0.85:
            return str(4102444800000 + self.rng.randrange(20)).encode()
        return self.rng.choice((b"1", b"0", b"-1", b"x"))


    def numfields(self):
        return self.rng.choice((b"1", b"2", b"2", b"3", b"0", b"-1", b"x", b"2147483647", b"2147483648", b"9223372036854775807"))


class ExactValues(Values):
    """Those around Redis' latest deadline too."""

    def unixms(self):
        if self.rng.random() < 0.95:
            return super().unixms()
        return self.rng.choice((b"70368744177663", b"70368744177664", b"9223372036854775807"))


def is_exact():
    return "REDIS8_URL" in os.environ


def oracle_url():
    for name in ("REDIS8_URL", "VALKEY_URL"):
        if name in os.environ:
            return os.environ[name]
    raise SystemExit("hash_ttl needs a server that has these commands: tests/with-valkey")


def steps_of(line, values, node, steps_of_family):
    if not line.startswith("!GONE "):
        return steps_of_family(line, values, node)
    # Others count fields that are past their deadline until they come by, so the
    # key is not kept for longer than it takes to ask for them.
    unit = values.rng.random()
    argv = values.expand(node, [])
    key, fields = argv[1], [argv[-2], argv[-1]] if argv[0] != b"HSETEX" else [argv[-4], argv[-2]]
    asked = [
        [b"HMGET", key, *fields],
        [b"HPTTL", key, b"FIELDS", b"2", *fields],
        [b"HSETNX", key, fields[0], b"anew"],
        [b"HGETALL", key],
        [b"HINCRBY", key, fields[1], b"3"],
        [b"HPERSIST", key, b"FIELDS", b"2", *fields],
        [b"DEL", key],
    ]
    first = [{"argv": [b"HSET", key, fields[0], b"1", b"other", b"2"], "who": "a", "unit": unit}]
    first.append({"argv": argv, "who": "a", "unit": unit, "pause": 0.012})
    return first + [{"argv": argv, "who": "a", "unit": unit} for argv in asked]


def sequence(rng, steps_of_family):
    """Random steps; `steps_of_family` makes them of what is no template of this file."""
    if not COMPILED:
        for line in TEMPLATES.strip().splitlines():
            text = line.split(" ", 1)[1] if line.startswith("!") else line
            COMPILED.append((line, compile_template(text)))
    exact = is_exact()
    values = (ExactValues if exact else Values)(rng, prefix="h", damaging=exact)
    steps = [{"argv": argv, "who": "a"} for argv in PREAMBLE]
    while len(steps) < LENGTH:
        line, node = rng.choice(COMPILED)
        steps += steps_of(line, values, node, steps_of_family)
    return steps if exact else [{**step, "any_error": True} for step in steps]
