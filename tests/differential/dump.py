"""The dump family: values cross from each server to the other.

A step marked `cross` asks both for DUMP of a key, compares the two payloads once
what is compressed in them is not, and gives each to the other server's RESTORE.
What then stands there is compared by ordinary steps.
"""

STRING, LIST, SET, ZSET, HASH, ZSET_2 = range(6)
PACKED = {11: "intset", 16: "hash listpack", 17: "zset listpack"}
QUICKLIST_2 = 18
STREAMS = (15, 19, 21)


def decompress(stream, length):
    out = bytearray()
    at = 0
    while at < len(stream):
        control = stream[at]
        at += 1
        if control < 32:
            out += stream[at : at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += stream[at]
            at += 1
        start = len(out) - ((control & 31) << 8 | stream[at]) - 1
        at += 1
        for place in range(start, start + count + 2):
            out.append(out[place])
    if len(out) != length:
        raise ValueError("a compressed string is not as long as it says")
    return bytes(out)


class Payload:
    """Reads the parts of a payload one after the other."""

    def __init__(self, data):
        self.data, self.at, self.end = data, 0, len(data) - 10

    def take(self, count):
        part = self.data[self.at : self.at + count]
        self.at += count
        if self.at > self.end:
            raise ValueError("the payload ends early")
        return part

    def length(self):
        """A length, or `("special", kind)`."""
        first = self.take(1)[0]
        if first >> 6 == 0:
            return first
        if first >> 6 == 1:
            return (first & 63) << 8 | self.take(1)[0]
        if first >> 6 == 3:
            return ("special", first & 63)
        return int.from_bytes(self.take({0x80: 4, 0x81: 8}[first]), "big")

    def string(self):
        """A string, and how an integer was written, which must be the same too."""
        length = self.length()
        if isinstance(length, int):
            return self.take(length)
        if length[1] == 3:
            compressed = self.length()
            length = self.length()
            return decompress(self.take(compressed), length)
        return (length[1], self.take(1 << length[1]))

    def parts(self):
        """What must be the same of a payload, whoever wrote it."""
        kind = self.take(1)[0]
        if kind == STRING or kind in PACKED:
            return [kind, self.string()]
        count = self.length()
        if kind == SET:
            return [kind, sorted((self.string() for _ in range(count)), key=repr)]
        if kind == HASH:
            return [kind, sorted(((self.string(), self.string()) for _ in range(count)), key=repr)]
        if kind == ZSET_2:
            return [kind, [(self.string(), self.take(8)) for _ in range(count)]]
        if kind == QUICKLIST_2:
            return [kind, [(self.length(), self.string()) for _ in range(count)]]
        if kind in STREAMS:
            return [kind, [(self.string(), self.string()) for _ in range(count)], self.stream_tail(kind)]
        raise ValueError(f"type {kind}")


    def stream_tail(self, kind):
        """All of a stream but its nodes, without moments."""
        tail = [self.length() for _ in range(3 if kind == 15 else 8)]
        for _ in range(self.length()):
            tail.append((self.string(), [self.length() for _ in range(2 if kind == 15 else 3)]))
            for _ in range(self.length()):
                tail.append((self.take(16), self.take(8) and self.length()))
            for _ in range(self.length()):
                name, _ = self.string(), self.take(16 if kind == 21 else 8)
                tail.append((name, [self.take(16) for _ in range(self.length())]))
        return tail


def difference(ours, theirs):
    """How two payloads of one value differ beyond compression, if they do."""
    if ours[-10:-8] != theirs[-10:-8]:
        return f"version {ours[-10:-8]}, theirs {theirs[-10:-8]}"
    mine, real = Payload(ours), Payload(theirs)
    left, right = mine.parts(), real.parts()
    if left != right:
        return f"payload {left}, theirs {right}"[:3000]
    if len(ours) > len(theirs) * 1.25 + 16:
        return f"{len(ours)} bytes, theirs {len(theirs)}"
    return None


def cross(ours, theirs, step):
    """Dumps on each side and restores on the other; both sides' answers, and why
    they differ."""
    _, key, target, ttl, *options = step["argv"]
    left, right = ours.call("DUMP", key), theirs.call("DUMP", key)
    if left[1] is None or right[1] is None or left[0] != "$" or right[0] != "$":
        return left, right, ""
    try:
        why = difference(left[1], right[1])
    except (IndexError, KeyError, ValueError) as error:
        why = f"a payload does not parse: {error!r}"
    if why:
        return ("payload", left[1]), ("payload", right[1]), why
    return ours.call("RESTORE", target, ttl, right[1], *options), theirs.call("RESTORE", target, ttl, left[1], *options), ""


# ---- random values ----

COUNTS = (1, 1, 2, 3, 5, 20, 127, 128, 129, 511, 512, 513)
LENGTHS = (0, 1, 3, 11, 19, 20, 21, 22, 43, 44, 45, 62, 63, 64, 65, 66, 130, 300)
BITS = (6, 7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 53, 62, 63)


def integer(rng):
    bits = rng.choice(BITS)
    value = (1 << bits) + rng.randrange(-2, 3)
    value = -value if rng.random() < 0.5 else value
    return max(-(1 << 63), min((1 << 63) - 1, value))


def text(rng, lengths=LENGTHS):
    roll = rng.random()
    if roll < 0.3:
        return str(integer(rng)).encode()
    if roll < 0.4:
        return str(rng.randrange(-200, 200)).encode()
    if roll < 0.45:
        return rng.choice((b"-0", b"007", b"+1", b"", b" 1", b"9223372036854775808", b"-9223372036854775809", b"1.0"))
    length = rng.choice(lengths)
    if rng.random() < 0.4:
        return (rng.randbytes(rng.randrange(1, 5)) * length)[:length]
    return rng.randbytes(length)


def score(rng):
    roll = rng.random()
    if roll < 0.3:
        return str(integer(rng)).encode()
    if roll < 0.6:
        return str(rng.randrange(-50, 50)).encode()
    if roll < 0.8:
        return repr(rng.uniform(-1, 1) * 10 ** rng.randrange(-30, 30)).encode()
    return rng.choice((b"inf", b"-inf", b"-0", b"0.1", b"1e17", b"1e18", b"4.6e18", b"4.7e18", b"-1e300", b"5e-324", b"9007199254740993"))


def several(rng, command, key, arguments):
    """The command with all arguments, some hundred at a time."""
    return [[command, key, *arguments[at : at + 300]] for at in range(0, len(arguments), 300)]


def numbered(rng, short):
    """Members that differ."""
    count = rng.choice(COUNTS)
    lengths = [length for length in LENGTHS if length < 64] if short else LENGTHS
    some = [text(rng, lengths) for _ in range(min(count, 8))]
    return [b"%d" % at if at % 5 == 4 else rng.choice(some)[: 60 if short else 300] + b"%d" % at for at in range(count)]


def make_string(rng, key):
    lengths = (*LENGTHS, 1000, 4095, 4096, 16383, 16384, 70000)
    if rng.random() < 0.2:
        return [[b"SET", key, text(rng)], [b"APPEND", key, text(rng)]]
    return [[b"SET", key, text(rng, lengths)]]


def make_hash(rng, key):
    pairs = []
    short = rng.random() < 0.7
    for field in numbered(rng, short):
        pairs += [field, text(rng, LENGTHS[:-6] if short else LENGTHS)]
    steps = several(rng, b"HSET", key, pairs)
    # A hash that lost what was long comes back compact, in no order.
    if short and rng.random() < 0.6:
        steps.append([b"HDEL", key, *pairs[2:20:6]])
        steps.append([b"HSET", key, pairs[0], text(rng, LENGTHS[:-6])])
    return steps


def make_set(rng, key):
    if rng.random() < 0.6:
        spread = rng.choice((100, 30000, 40000, 1 << 33))
        members = [str(rng.randrange(-spread, spread)).encode() for _ in range(rng.choice(COUNTS))]
        if rng.random() < 0.3:
            members.append(str(integer(rng)).encode())
    else:
        members = numbered(rng, rng.random() < 0.5)
    steps = several(rng, b"SADD", key, members)
    if rng.random() < 0.4:
        steps.append([b"SREM", key, members[-1], *members[1:9:3]])
    return steps


def make_zset(rng, key):
    entries = []
    scores = [score(rng) for _ in range(rng.choice((1, 3, 40)))]
    for member in numbered(rng, rng.random() < 0.7):
        entries += [rng.choice(scores), member]
    steps = several(rng, b"ZADD", key, entries)
    if rng.random() < 0.4:
        steps.append([b"ZREM", key, *entries[3:20:6]])
        steps.append([b"ZADD", key, score(rng), entries[1]])
    return steps


def make_list(rng, key):
    lengths = rng.choice((LENGTHS, LENGTHS, (*LENGTHS, 4000, 4095, 4096), (1, 8170, 8180, 8183, 8184, 8185, 8192, 16377, 16378, 20000)))
    count = rng.choice(COUNTS if lengths is LENGTHS else COUNTS[:6])
    return several(rng, b"RPUSH", key, [text(rng, lengths) for _ in range(count)])


def make_stream(rng, key):
    """Entries that share their fields or do not, some of them deleted, and groups."""
    steps, ids, ms = [], [], 1000
    fields = rng.choice(([b"f"], [b"f", b"7"], [text(rng) + b"f", b"temperature", b"g"]))
    lengths = rng.choice((LENGTHS[:6], LENGTHS, (1000, 3000, 4090, 5000)))
    for _ in range(rng.choice((1, 2, 5, 99, 100, 101, 250))):
        ms += rng.choice((0, 0, 1, 1, 1, 300, 70000, 10**12))
        seq = rng.choice((1, 1, 1, 200)) + (ids[-1][1] if ids and ids[-1][0] == ms else 0)
        ids.append((ms, seq))
        names = fields if rng.random() < 0.85 else [text(rng) for _ in range(rng.randrange(1, 4))]
        steps.append([b"XADD", key, b"%d-%d" % ids[-1], *[part for name in names for part in (name, text(rng, lengths))]])
    some = lambda count: [b"%d-%d" % rng.choice(ids) for _ in range(count)]
    groups = [b"g%d" % at for at in range(rng.choice((0, 1, 1, 2)))]
    for group in groups:
        steps.append([b"XGROUP", b"CREATE", key, group, rng.choice((b"0", b"0", b"$", *some(1))), *rng.choice(([], [], [b"ENTRIESREAD", b"1"]))])
    for _ in range(rng.choice((0, 3, 8))):
        group = rng.choice((b"g0", b"g1"))
        consumer = rng.choice((b"c1", b"consumer 2", b"3"))
        steps.append(
            rng.choice(
                (
                    [b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", rng.choice((b"1", b"30", b"200")), b"STREAMS", key, b">"],
                    [b"XACK", key, group, *some(3)],
                    [b"XCLAIM", key, group, consumer, b"0", *some(3), *rng.choice(([], [b"RETRYCOUNT", b"70000"], [b"FORCE"], [b"JUSTID"]))],
                    [b"XGROUP", b"CREATECONSUMER", key, group, consumer],
                    [b"XGROUP", b"DELCONSUMER", key, group, consumer],
                    [b"XDEL", key, *some(rng.choice((1, 5, 60)))],
                    [b"XTRIM", key, *rng.choice(([b"MAXLEN", b"50"], [b"MAXLEN", b"~", b"90"], [b"MAXLEN", b"0"], [b"MINID", some(1)[0]]))],
                )
            )
        )
    if rng.random() < 0.1:
        steps.append([b"XSETID", key, b"99999999999999-5", b"ENTRIESADDED", b"99999999999", b"MAXDELETEDID", some(1)[0]])
    return steps


READ = {
    make_string: [[b"GET"], [b"STRLEN"]],
    make_list: [[b"LRANGE", b"0", b"-1"], [b"LLEN"]],
    make_hash: [[b"HGETALL"], [b"HLEN"]],
    make_set: [[b"SMEMBERS"], [b"SCARD"]],
    make_zset: [[b"ZRANGE", b"0", b"-1", b"WITHSCORES"], [b"ZCARD"]],
}
READ[make_stream] = [
    [b"XRANGE", b"-", b"+"],
    [b"XLEN"],
    [b"XINFO STREAM"],
    [b"XINFO STREAM", b"FULL", b"COUNT", b"0"],
    [b"XINFO GROUPS"],
    [b"XINFO CONSUMERS", b"g0"],
    [b"XPENDING", b"g0"],
    [b"XPENDING", b"g0", b"-", b"+", b"300"],
]
CHANGE = {
    make_string: [[b"APPEND", b"x"]],
    make_list: [[b"RPUSH", b"another"], [b"LINDEX", b"-2"], [b"LREM", b"0", b"another"]],
    make_hash: [[b"HSET", b"another", b"1"], [b"HDEL", b"another"], [b"HSET", b"another", b"x" * 65]],
    make_set: [[b"SADD", b"77777"], [b"SADD", b"another"], [b"SREM", b"77777"]],
    make_zset: [[b"ZADD", b"0.5", b"another"], [b"ZINCRBY", b"1", b"another"], [b"ZRANK", b"another"]],
}
CHANGE[make_stream] = [
    [b"XADD", b"99999999999999-9", b"f", b"another"],
    [b"XADD", b"99999999999999-10", b"another", b"another"],
    [b"XDEL", b"99999999999999-9"],
    [b"XACK", b"g0", b"1000-1"],
    [b"XAUTOCLAIM", b"g0", b"c9", b"0", b"0", b"COUNT", b"2"],
    [b"XTRIM", b"MAXLEN", b"~", b"60"],
    [b"XGROUP CREATECONSUMER", b"g0", b"new"],
]
KINDS = list(READ)


def on(key, commands):
    return [[*command[0].split(), key, *command[1:]] for command in commands]


def refused(rng):
    """RESTORE in ways that fail, or do little."""
    payload = rng.choice(
        (
            b"\x00\x01b\n\x00\x16$\xb8\x91\xa6\xe3\x12\x83",
            b"\x00\x01b\n\x00\x16$\xb8\x91\xa6\xe3\x12\x84",
            b"\x00\x01b\x0d\x00\x16$\xb8\x91\xa6\xe3\x12\x83",
            b"",
            b"\x00" * 9,
            b"payload",
        )
    )
    ttl = rng.choice((b"0", b"0", b"5000", b"-1", b"x", b"", b"9223372036854775807", b"1.5"))
    words = (b"REPLACE", b"ABSTTL", b"IDLETIME", b"FREQ", b"5", b"0", b"255", b"256", b"-1", b"x", b"replace", b"idletime")
    options = [rng.choice(words) for _ in range(rng.choice((0, 0, 1, 1, 2, 2, 3, 4)))]
    if rng.random() < 0.05:
        return [b"RESTORE", b"k0", ttl]
    return [b"RESTORE", rng.choice((b"k0", b"new", b"t1")), ttl, payload, *options]


def crossing(rng, key, target):
    ttl, options = b"0", []
    if rng.random() < 0.3:
        ttl = str(rng.randrange(5000, 90000)).encode()
    elif rng.random() < 0.3:
        ttl, options = rng.choice(((b"4102444800000", [b"ABSTTL"]), (b"1", [b"ABSTTL"]), (b"0", [b"ABSTTL"])))
    if rng.random() < 0.5:
        options = rng.sample([*options, b"REPLACE"], len(options) + 1)
    if rng.random() < 0.2:
        options = [*options, b"IDLETIME", b"1000"]
    return {"argv": [b"CROSS", key, target, ttl, *options], "who": "a", "cross": True}


def sequence(rng):
    """Values of every type, each made on both sides, crossed, read and changed."""
    steps = []
    for at in range(rng.choice((1, 2, 3))):
        key, target = b"k%d" % at, b"t%d" % rng.randrange(2)
        make = rng.choice(KINDS)
        argvs = make(rng, key)
        if rng.random() < 0.2:
            argvs.append([b"PEXPIRE", key, b"50000"])
        steps += [{"argv": argv, "who": "a"} for argv in argvs]
        steps.append(crossing(rng, key, target))
        after = [[b"OBJECT", b"ENCODING", target], [b"PTTL", target], *on(target, READ[make])]
        if make is not make_string:
            # Small integers are shared in Redis, with their time of access.
            after.insert(0, [b"OBJECT", b"IDLETIME", target])
        after += on(target, CHANGE[make]) + on(target, READ[make])
        steps += [{"argv": argv, "who": "a"} for argv in after]
        if rng.random() < 0.4:
            # The other ways from one name to another.
            moved = [[b"COPY", key, b"copy"], [b"COPY", key, target], [b"COPY", key, target, b"REPLACE"], [b"RENAMENX", b"copy", target]]
            moved += [[b"RENAME", b"copy", b"moved"], [b"OBJECT", b"ENCODING", b"moved"], [b"OBJECT", b"ENCODING", target]]
            moved += [[b"MEMORY", b"USAGE", b"moved"], [b"PTTL", b"moved"]]
            moved += on(b"moved", CHANGE[make]) + on(b"moved", READ[make]) + on(target, READ[make]) + [[b"OBJECT", b"ENCODING", b"moved"]]
            steps += [{"argv": argv, "who": "a"} for argv in moved]
            steps.append({"argv": [b"CROSS", b"moved", b"moved", b"0", b"REPLACE"], "who": "a", "cross": True})
            steps += [{"argv": [b"DEL", b"moved", b"copy"], "who": "a"}]
        # Back again, and over itself.
        steps.append({"argv": [b"CROSS", target, key, b"0", b"REPLACE"], "who": "a", "cross": True})
        steps += [{"argv": argv, "who": "a"} for argv in [[b"OBJECT", b"ENCODING", key], *on(key, READ[make])]]
        if rng.random() < 0.5:
            steps += [{"argv": refused(rng), "who": "a"} for _ in range(4)]
            steps += [{"argv": argv, "who": "a"} for argv in ([b"KEYS", b"*"], [b"PTTL", b"new"])]
    return steps
