"""Every type, as random commands leave it, is the same after kill -9 and a start:
values, deadlines, encodings; from the log, and from a snapshot and the log behind it."""

import random
import sys
import time

from server import ROOT, Server

sys.path.insert(0, str(ROOT / "tests" / "differential"))

import families  # noqa: E402

FAMILIES = ["string", "bitmap", "generic", "hash", "list", "set", "zset", "stream", "geo", "hyperloglog", "sort", "hash_ttl"]
SEQUENCES = 12
# What waits, what only the running server knows, and what would leave nothing.
LEFT_OUT = {b"CONFIG", b"FLUSHALL", b"FLUSHDB", b"DEBUG", b"BLPOP", b"BRPOP", b"BLMOVE", b"BLMPOP", b"BRPOPLPUSH"}
LEFT_OUT |= {b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP", b"SUBSCRIBE", b"PSUBSCRIBE", b"MULTI", b"QUIT", b"RESET", b"CLIENT"}


def steps(family, index):
    for step in families.sequence(family, 11, index):
        argv = [bytes(arg) for arg in step["argv"]]
        if argv and argv[0].upper() not in LEFT_OUT and not any(arg.upper() == b"BLOCK" for arg in argv):
            yield argv


def write(connection, family, indexes):
    for index in indexes:
        connection.pipeline(list(steps(family, index)))


def fields(connection, key, soon):
    """A hash's fields with their deadlines, but those that end soon."""
    found = connection.ask("HGETALL", key)
    names = found[::2] if isinstance(found, list) else list(found)
    shown = []
    for name in names:
        value = connection.ask("HGET", key, name)
        [deadline] = connection.ask("HPEXPIRETIME", key, "FIELDS", 1, name)
        if deadline < 0 or deadline > soon:
            shown.append((name, value, deadline))
    return sorted(shown)


def entries(connection, key):
    """A stream's entries, and its groups with what is pending, without idle times."""
    groups = []
    for group in connection.ask("XINFO", "GROUPS", key):
        about = dict(zip(group[::2], group[1::2])) if isinstance(group, list) else dict(group)
        pending = connection.ask("XPENDING", key, about[b"name"], "-", "+", 10_000)
        owners = [(entry[0], entry[1], entry[3]) for entry in pending]
        consumers = connection.ask("XINFO", "CONSUMERS", key, about[b"name"])
        names = sorted(consumer[1] if isinstance(consumer, list) else consumer[b"name"] for consumer in consumers)
        groups.append((sorted(about.items()), owners, names))
    return connection.ask("XRANGE", key, "-", "+"), groups


def value(connection, key, kind, soon):
    if kind == b"string":
        return connection.ask("GET", key)
    if kind == b"list":
        return connection.ask("LRANGE", key, 0, -1)
    if kind == b"set":
        return sorted(connection.ask("SMEMBERS", key))
    if kind == b"zset":
        return connection.ask("ZRANGE", key, 0, -1, "WITHSCORES")
    if kind == b"hash":
        return fields(connection, key, soon)
    return entries(connection, key)


def state(server, soon):
    """All that stays for a minute."""
    found = {}
    with server.connect() as connection:
        for key in connection.ask("KEYS", "*"):
            deadline = connection.ask("PEXPIRETIME", key)
            if deadline == -1 or deadline > soon:
                kind = connection.ask("TYPE", key)
                encoding = connection.ask("OBJECT", "ENCODING", key)
                # INCRBYFLOAT leaves an integer as text, here as in Redis; its effect is SET.
                encoding = b"int" if encoding == b"embstr" else encoding
                found[key] = (kind, encoding, deadline, value(connection, key, kind, soon))
    return found


def types_survive(scratch):
    """random commands of every family, kill -9, a start: the same values, deadlines and encodings"""
    rng = random.Random(5)
    keys = 0
    for family in FAMILIES:
        with Server(scratch / family) as server:
            for turn in range(3):
                with server.connect() as connection:
                    write(connection, family, range(turn * SEQUENCES, (turn + 1) * SEQUENCES))
                    if turn == 1:
                        connection.call("SAVE")
                        write(connection, family, [rng.randrange(100, 200)])
                soon = int((time.time() + 60) * 1000)
                before = state(server, soon)
                server.kill()
                server.start()
                after = state(server, soon)
                for key in before.keys() | after.keys():
                    assert before.get(key) == after.get(key), (family, turn, key, before.get(key), after.get(key))
                keys += len(before)
    return f"{keys} keys of {len(FAMILIES)} families compared"


TESTS = [types_survive]
