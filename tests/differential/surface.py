"""Every command that both servers know, with arguments of every number and kind.

The list is Sangam's own COMMAND, so a new command is covered when it exists.
Where a key stands, the key of each type is tried; everything else gets words,
numbers and junk. Then COMMAND INFO itself is compared, as far as clients read it.
"""

import pair
from grammar import seeded
from raw.resp import plain

# These end or take over the connection or the server, or answer to nobody.
NOT_HERE = {"shutdown", "debug", "monitor", "sync", "psync", "replicaof", "slaveof", "failover", "quit", "reset",
            "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "save", "bgsave",
            "bgrewriteaof", "replconf", "restore-asking", "asking", "readonly", "readwrite", "hello", "auth", "info",
            "command", "client", "config", "acl", "latency", "memory", "module", "cluster", "function", "fcall",
            "fcall_ro", "slowlog", "time", "lolwut", "migrate", "wait", "script", "role", "select", "swapdb", "move",
            "randomkey", "pfselftest", "pfdebug", "lastsave", "scan", "sscan", "hscan", "zscan", "multi", "exec",
            "discard", "watch"}
# Time-outs of commands that wait: both would, and nobody would come.
PATIENT = {b"0", b"1", b"2", b"1.5", b"0x1"}
# Redis would really answer as many random members as asked for.
COUNTED = {"hrandfield", "srandmember", "zrandmember"}
KEYS = [b"a:str", b"a:int", b"a:hash", b"a:set", b"a:zset", b"a:list", b"a:stream", b"missing"]
WORDS = [b"1", b"0", b"-1", b"2", b"1.5", b"x", b"", b"nan", b"inf", b"-inf", b"1e400", b"9223372036854775807",
         b"9223372036854775808", b"-9223372036854775809", b"\0", b"\xff\r\n", b"NX", b"GT", b"COUNT", b"LIMIT", b"LEFT", b"RIGHT", b"RANK",
         b"WITHSCORES", b"BYSCORE", b"EX", b"[a", b"(1", b"+", b"-", b"0x1", b" 1", b"u8", b"#1", b"GET", b"99999999999999999999", b"STREAMS", b"GROUP", b">", b"$", b"1-*"]
PREAMBLE = [
    [b"SET", b"a:str", b"hello"],
    [b"SET", b"a:int", b"10"],
    [b"HSET", b"a:hash", b"x", b"1", b"y", b"two"],
    [b"SADD", b"a:set", b"1", b"2", b"3"],
    [b"ZADD", b"a:zset", b"1", b"x", b"2.5", b"y"],
    [b"RPUSH", b"a:list", b"x", b"2", b"y", b"x"],
    [b"XADD", b"a:stream", b"1-1", b"x", b"1"],
    [b"XADD", b"a:stream", b"2-1", b"x", b"2", b"y", b"3"],
    [b"XGROUP", b"CREATE", b"a:stream", b"1", b"0"],
]


def known(server):
    rows = plain(server.connections["a"].call("COMMAND"))
    return {row[0].decode(): row for row in rows}


def variants(name, row, rng):
    """Argument vectors for one command."""
    first, step = row[3], max(1, row[5])
    waits = b"blocking" in row[2]
    last = row[4] if row[4] >= 0 else 99

    def argument(at, key):
        if first and first <= at <= last and (at - first) % step == 0:
            return key if rng.random() < 0.8 else rng.choice(KEYS)
        word = rng.choice(WORDS)
        if waits and word in PATIENT:
            return b"0.001"
        return b"-3" if name in COUNTED and len(word) > 18 else word

    yield []
    for key in KEYS:
        for count in (1, 2, 3, 4, 5, 6, 8, 13):
            for _ in range(1 if count < 2 else 2):
                yield [argument(at, key) for at in range(1, count + 1)]


def run(ours, theirs, protocol, options, report):
    """How many commands passed, and how many did not."""
    mine, real = known(ours), known(theirs)
    passed = failed = reports = 0
    both = sorted(set(mine) & set(real))
    for name in both:
        if name in NOT_HERE:
            continue
        rng = seeded(options.seed, protocol, name)
        argvs = [[name.encode(), *args] for args in variants(name, real[name], rng)]
        bad = None
        for at in range(0, len(argvs), 40):
            steps = [{"argv": argv, "who": "a"} for argv in PREAMBLE + argvs[at : at + 40]]
            try:
                pair.run(ours, theirs, steps)
            except pair.Difference as difference:
                bad = (steps, difference)
                break
        if not bad:
            passed += 1
            continue
        failed += 1
        if reports < options.reports * 4:
            reports += 1
            steps, difference = bad
            report("surface", protocol, options.seed, name, *pair.shrink(ours, theirs, steps, difference))
    for name in both:
        problem = row_problem(mine[name], real[name])
        if problem:
            failed += 1
            print(f"    COMMAND INFO {name}: {problem}")
        else:
            passed += 1
    return passed, failed


def row_problem(ours, theirs):
    """What clients read of a command: arity, flags, key positions, categories."""
    for at, field in ((1, "arity"), (3, "first key"), (4, "last key"), (5, "step")):
        if ours[at] != theirs[at]:
            return f"{field} {ours[at]}, redis {theirs[at]}"
    for at, field in ((2, "flags"), (6, "categories")):
        a, b = {bytes(x) for x in ours[at]}, {bytes(x) for x in theirs[at]}
        if a != b:
            return f"{field}: extra {sorted(a - b)}, missing {sorted(b - a)}"
    return None
