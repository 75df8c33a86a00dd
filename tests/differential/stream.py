"""Streams: templates, kinds of values, and which parts of replies are clocks."""

from grammar import Random

TEMPLATES = """
XADD <xk> <xid> (<m> <v>)+
XADD <xk> <xid> <m> <v>
XADD <xk> <xauto> <m> <v>
XADD <xk> [NOMKSTREAM] [(MAXLEN | MINID) [= | ~] <xtrim> [LIMIT <n>]] <xauto> (<m> <v>)+
XADD <xk> MAXLEN [= | ~] <n> <xauto> f <v>
!LOG XADD <xk>
!LOG XADD <xk>
!LOG XADD <xk>
XLEN <xk>
XRANGE <xk> <xstart> <xend> [COUNT <n>]
XRANGE <xk> - +
XREVRANGE <xk> <xend> <xstart> [COUNT <n>]
XREVRANGE <xk> + - COUNT <n>
XDEL <xk> (<xold>)+
XDEL <xk> (<xold>)+
XDEL <xk> (<xid>)+
XTRIM <xk> MAXLEN [= | ~] <xlen> [LIMIT <n>]
XTRIM <xk> MAXLEN ~ <xlen>
XTRIM <xk> MAXLEN = <xlen>
XTRIM <xk> MINID [= | ~] <xold>
XTRIM <xk> (MINID | LIMIT | MAXLEN) <xtrim> [MAXLEN <n>]
XSETID <xk> <xid> [ENTRIESADDED <xlen>] [MAXDELETEDID <xid>]
XREAD [COUNT <n>] STREAMS <xk> <xid>
XREAD [COUNT <n>] STREAMS <xk> <xk> <xold> (<xold> | $)
XREAD [COUNT <n>] [BLOCK <i>] [NOACK] STREAMS <xk> <xk> <xid>
XREADGROUP GROUP <xg> <xc> [COUNT <n>] [NOACK] STREAMS <xk> >
XREADGROUP GROUP <xg> <xc> [COUNT <n>] STREAMS <xk> >
XREADGROUP GROUP <xg> <xc> COUNT <n> STREAMS <xk> >
XREADGROUP GROUP <xg> <xc> [COUNT <n>] [NOACK] STREAMS <xk> (<xold> | 0 | <xid>)
XREADGROUP GROUP <xg> <xc> STREAMS <xk> <xk> > >
XREADGROUP [COUNT <n>] [GROUP <xg> <xc>] [NOACK] STREAMS <xk> <xk> (> | $ | <xid>) (> | 0)
XACK <xk> <xg> (<xold>)+
XACK <xk> <xg> (<xold>)+
XACK <xk> <xg> (<xid>)+
XPENDING <xk> <xg>
XPENDING <xk> <xg> - + <n>
XPENDING <xk> <xg> [IDLE <xidle>] <xstart> <xend> <i> [<xc>]
XCLAIM <xk> <xg> <xc> (0 | 1000000) (<xold>)+
XCLAIM <xk> <xg> <xc> <xidle> (<xold>)+ [IDLE <n>] [TIME <xtime>] [RETRYCOUNT <i>] [FORCE] [JUSTID] [LASTID <xid>]
XCLAIM <xk> <xg> <xc> 0 (<xold>)+ FORCE [JUSTID]
XAUTOCLAIM <xk> <xg> <xc> 0 <xstart> [COUNT <n>] [JUSTID]
XAUTOCLAIM <xk> <xg> <xc> <xidle> <xstart> [COUNT <i>] [JUSTID]
XGROUP CREATE <xk> <xg> (<xold> | 0 | $) [MKSTREAM] [ENTRIESREAD <xlen>]
XGROUP CREATE <xk> <xg> (0 | $) MKSTREAM
XGROUP CREATE <xk> <xg> (0 | $)
XGROUP CREATE <xk> <xg> (0 | $)
XGROUP SETID <xk> <xg> (<xold> | 0 | $ | - | +) [ENTRIESREAD <xlen>]
XGROUP DESTROY <xk> <xg>
XGROUP CREATECONSUMER <xk> <xg> <xc>
XGROUP DELCONSUMER <xk> <xg> <xc>
XINFO STREAM <xk>
XINFO STREAM <xk>
XINFO STREAM <xk> FULL [COUNT <i>]
XINFO STREAM <xk> FULL COUNT 0
XINFO GROUPS <xk>
XINFO GROUPS <xk>
XINFO CONSUMERS <xk> <xg>
!PLAIN CONFIG SET stream-node-max-entries (3 | 10 | 100 | 0)
!PLAIN CONFIG SET stream-node-max-bytes (1000 | 1500 | 4096 | 0)
COPY <xk> <xk> REPLACE
RENAME <xk> <xk>
TYPE <xk>
OBJECT ENCODING <xk>
DEL <xk>
"""

# Settings outlive FLUSHALL. No limit of bytes is below an entry's size: Redis allocates
# that many for a node at first, and when the node's first entry does not fit it may keep
# a pointer to memory that it has freed (7.0.15 ends with SIGSEGV).
PREAMBLE = [
    [b"CONFIG", b"SET", b"stream-node-max-entries", b"100"],
    [b"CONFIG", b"SET", b"stream-node-max-bytes", b"4096"],
    [b"XADD", b"a:stream", b"1-1", b"f", b"v"],
    [b"XGROUP", b"CREATE", b"s0", b"g0", b"0", b"MKSTREAM"],
    [b"XGROUP", b"CREATE", b"s1", b"g0", b"0", b"MKSTREAM"],
    [b"XGROUP", b"CREATE", b"s1", b"g1", b"$", b"MKSTREAM"],
]
# A stream has to grow before there is much to see.
LENGTH = 200


def kind(function):
    """A kind of value that templates may name."""
    setattr(Random, function.__name__, function)
    return function


@kind
def xk(self):
    if self.rng.random() < 0.08:
        return self.rng.choice((b"s2", b"a:stream", self.k()))
    return self.rng.choice((b"s0", b"s1"))


@kind
def xid(self):
    roll = self.rng.random()
    if roll < 0.7:
        return b"%d-%d" % (self.rng.randrange(0, 60), self.rng.randrange(3))
    if roll < 0.85:
        return str(self.rng.randrange(0, 60)).encode()
    return self.rng.choice(
        (b"0", b"0-0", b"+", b"-", b"x", b"", b"5-", b"-5", b"5-*", b"007-01", b" 5", b"+5-2", b"5--01", b"1-2-3", b"18446744073709551615",
         b"18446744073709551615-18446744073709551615", b"18446744073709551616-0", b"18446744073709551614-18446744073709551615", b"1\x002-3")
    )


@kind
def xold(self):
    """An id that a log has given, most of the time."""
    if self.rng.random() < 0.1:
        return self.xid()
    return b"%d-0" % self.rng.randrange(60, max(61, self.__dict__.get("top", 60) + 1))


@kind
def xauto(self):
    if self.rng.random() < 0.2:
        return self.rng.choice((b"5-*", b"40-*", b"18446744073709551615-*", b"0-*", b"x-*"))
    return self.next_id() + b"-*"


@kind
def next_id(self):
    """Ids go up in a sequence, so that most are above the last."""
    self.top = self.__dict__.get("top", 60) + self.rng.choice((0, 1, 1, 1, 2, 300))
    return b"%d" % self.top


@kind
def xstart(self):
    return self.rng.choice((b"-", b"(", b"", b"", b"")) + self.rng.choice((b"", self.xold(), self.xold(), self.xid()))


@kind
def xend(self):
    return self.rng.choice((b"+", b"(", b"", b"", b"")) + self.rng.choice((b"", self.xold(), self.xold(), self.xid()))


@kind
def xtrim(self):
    return self.rng.choice((self.xlen(), self.xold(), self.xid()))


@kind
def xlen(self):
    if self.rng.random() < 0.1:
        return self.rng.choice((b"-1", b"-2", b"x", b"", b"1.5", b"9223372036854775808"))
    return str(self.rng.choice((0, 1, 5, 20, 90, 100, 150, 200, 400))).encode()


@kind
def xg(self):
    return b"g%d" % self.rng.randrange(2) if self.rng.random() < 0.95 else self.rng.choice((b"", b"no", b"g\x000"))


@kind
def xc(self):
    return b"c%d" % self.rng.randrange(3)


@kind
def xidle(self):
    """Far from whatever may have passed meanwhile."""
    return self.rng.choice((b"0", b"0", b"-1", b"100000000", b"x", b""))


@kind
def xtime(self):
    return self.rng.choice((b"0", b"1000", b"-1", b"1600000000000", b"99999999999999", b"x"))


def log(values, argv, who):
    """Entries in a row, most of them with the same fields."""
    fields = values.rng.choice(([b"f"], [b"f", b"g"], [b"temperature", b"humidity", b"at"]))
    steps = []
    for _ in range(values.rng.choice((3, 12, 40))):
        names = fields if values.rng.random() < 0.9 else [values.m() for _ in range(values.rng.randrange(1, 4))]
        texts = [text for name in names for text in (name, values.rng.choice((values.v(), values.v(), b"x" * values.rng.randrange(200))))]
        steps.append({"argv": [*argv, values.next_id() + b"-*", *texts], "who": who})
    return steps


def masked(argv, reply):
    """The reply without what depends on the clock, or on Redis' own tree."""
    name = b" ".join(bytes(arg).upper() for arg in argv[:2])
    data = reply[1]
    if not isinstance(data, list):
        return reply
    if name.startswith(b"XPENDING") and len(argv) > 3:
        return (reply[0], [without(row, 2) for row in data])
    if name == b"XINFO CONSUMERS":
        return (reply[0], [without_field(row, b"idle") for row in data])
    if name != b"XINFO STREAM":
        return reply
    # A trimming by id leaves a node without entries in Redis, if one of them was
    # deleted before that has a higher id.
    reply = without_field(without_field(reply, b"radix-tree-nodes"), b"radix-tree-keys")
    groups = field(reply, b"groups")
    for group in groups[1] if isinstance(groups[1], list) else []:
        replace(group, b"pending", [without(row, 2) for row in field(group, b"pending")[1]])
        for consumer in field(group, b"consumers")[1]:
            replace(consumer, b"seen-time", None)
            replace(consumer, b"pending", [without(row, 1) for row in field(consumer, b"pending")[1]])
    return reply


def without(row, at):
    """A row less one number, of which the sign is kept."""
    kind, items = row
    if not isinstance(items, list) or len(items) <= at:
        return row
    return (kind, [*items[:at], int(items[at][1]) >= 0, *items[at + 1 :]])


def without_field(reply, name):
    kind, items = reply
    copy = list(items)
    replace((kind, copy), name, None)
    return (kind, copy)


def field(reply, name):
    items = reply[1]
    return next(value for key, value in zip(items[::2], items[1::2]) if key[1] == name)


def replace(reply, name, value):
    items = reply[1]
    for at in range(0, len(items), 2):
        if items[at][1] == name:
            items[at + 1] = (items[at + 1][0], value)
