"""When two replies are the same: byte for byte, but where Redis leaves it open."""

import re

import acl
import stream
from raw.resp import plain

# Replies of which the members have no order once the value is a hash table.
UNORDERED = {b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"KEYS", b"HKEYS", b"HVALS", b"HGETALL", b"SPOP",
             b"PUBSUB CHANNELS"}
KEYLESS = {b"KEYS", b"PUBSUB CHANNELS"}
# A union may outgrow the compact encoding that all its sources have.
INTSET_MAX = 512
PAIRS = {b"HGETALL"}
# Chance decides; the shape does not depend on it.
RANDOM = {b"RANDOMKEY", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SPOP"}
# Two servers' clocks, milliseconds apart.
CLOCKS = {b"TTL": 1, b"PTTL": 400, b"EXPIRETIME": 1, b"PEXPIRETIME": 400, b"OBJECT IDLETIME": 2}
# The same for each of several fields.
FIELD_CLOCKS = {b"HTTL": 1, b"HPTTL": 400, b"HEXPIRETIME": 1, b"HPEXPIRETIME": 400}
# A page of an iteration; whole iterations are compared as loops.
SCANS = {b"SCAN", b"SSCAN", b"HSCAN", b"ZSCAN"}
# The server's own affair.
SHAPE = {b"TIME", b"CLIENT ID", b"HELLO", b"MEMORY USAGE", b"INFO", b"CLIENT INFO", b"CLIENT LIST", b"LASTSAVE",
         b"OBJECT HELP", b"COMMAND HELP", b"DUMP", b"COMMAND", b"COMMAND COUNT", b"SLOWLOG", *SCANS}


def name_of(argv):
    """The command's name in upper case; with its subcommand where it has some."""
    name = bytes(argv[0]).upper() if argv else b""
    if name in (b"ACL", b"PUBSUB", b"CLIENT", b"OBJECT", b"MEMORY", b"CONFIG", b"COMMAND", b"SCRIPT", b"FUNCTION") and len(argv) > 1:
        return name + b" " + bytes(argv[1]).upper()
    return name


def shape(reply):
    kind, data = reply
    if kind in "-!":
        return reply
    if data is None:
        return (kind, None)
    if isinstance(data, list):
        return (kind, [shape(item) for item in data])
    return (kind, "...")


def same(argv, ours, theirs, unordered=False):
    """Whether both servers answered the same to `argv`."""
    if ours == theirs:
        return True
    if ours[0] == theirs[0] == "-" and b"\0" in ours[1]:
        return without_nul(ours[1]) == theirs[1]
    name = name_of(argv)
    if name.startswith(b"FUNCTION "):
        return by_name(ours) == by_name(theirs)
    if ours[0] != theirs[0] or ours[1] is None or theirs[1] is None or ours[0] in "-!":
        return False
    if name in acl.COMPARED:
        return acl.same(name, ours, theirs)
    if name in CLOCKS and ours[0] == ":":
        a, b = int(ours[1]), int(theirs[1])
        return a >= 0 and b >= 0 and abs(a - b) <= CLOCKS[name]
    if name in FIELD_CLOCKS and ours[0] == "*":
        return same_moments(ours[1], theirs[1], FIELD_CLOCKS[name])
    if name == b"HELLO":
        return same_greeting(ours, theirs)
    if name in SHAPE:
        return ours[0] == theirs[0]
    if name.startswith(b"X"):
        return stream.masked(argv, ours) == stream.masked(argv, theirs)
    if name in RANDOM:
        return shape(ours) == shape(theirs)
    if name in UNORDERED and isinstance(ours[1], list) and (unordered or name in KEYLESS or len(ours[1]) > INTSET_MAX):
        return sort(name, ours) == sort(name, theirs)
    return False


def by_name(reply):
    """Libraries and functions in one order, also where several of them collide."""
    kind, data = reply
    if kind == "-":
        return (kind, re.sub(rb"(Library|Function) \S+ already", rb"\1 X already", data))
    if isinstance(data, list):
        items = [by_name(item) for item in data]
        if items and all(item[0] in "*%" and item[1] for item in items):
            items.sort(key=repr)
        return (kind, items)
    return reply


def same_moments(ours, theirs, apart):
    """Times that are close; answers below zero are words, and equal."""
    pairs = [(int(a[1]), int(b[1])) for a, b in zip(ours, theirs)]
    return len(ours) == len(theirs) and all(a == b or min(a, b) >= 0 and abs(a - b) <= apart for a, b in pairs)


def without_nul(text):
    """An error text as C writes it: an argument in it ends at its first NUL."""
    return re.sub(rb"\0[^']*", b"", text)


def same_greeting(ours, theirs):
    """HELLO: the same fields in the same order; the protocol is equal."""
    fields = [item[1] for item in ours[1][::2]], [item[1] for item in theirs[1][::2]]
    if fields[0] != fields[1]:
        return False
    a, b = dict(zip(fields[0], ours[1][1::2])), dict(zip(fields[1], theirs[1][1::2]))
    return all(a[field] == b[field] for field in (b"proto", b"mode", b"role", b"modules"))


def sort(name, reply):
    items = reply[1]
    if name in PAIRS or reply[0] == "%":
        items = list(zip(items[::2], items[1::2]))
    return sorted(items, key=repr)


def needs_encoding(argv):
    """The keys whose encoding says whether the reply has an order."""
    name = name_of(argv)
    if name not in UNORDERED or name in KEYLESS:
        return []
    return argv[1:6]


def elements(reply):
    """The members in a reply, for tests of inclusion."""
    value = plain(reply)
    if isinstance(value, list):
        return value
    return [] if value is None or isinstance(value, tuple) else [value]
