"""Random commands from templates.

A template is a command's syntax as its documentation writes it:
`<name>` a random value of that kind, `[a | b]` one of these or nothing,
`(a | b)` one of these, `( ... )+` one to four times. Anything else is itself.
"""

import random
import re

TOKEN = re.compile(r"\[|\]\+?|\(|\)\+?|\||[^\s\[\]()|]+")


def compile_template(text):
    """The template as nested lists: ("seq" | "one" | "any" | "many", parts)."""
    tokens = TOKEN.findall(text)
    position = 0

    def alternatives(closer):
        nonlocal position
        options, current = [], []
        while position < len(tokens):
            token = tokens[position]
            position += 1
            if token == "|":
                options.append(("seq", current))
                current = []
            elif token == "[":
                current.append(("any", alternatives("]")))
            elif token == "(":
                node = alternatives(")")
                kind = "many" if tokens[position - 1] == ")+" else "one"
                current.append((kind, node))
            elif closer and token.rstrip("+") == closer:
                break
            else:
                current.append(token)
        options.append(("seq", current))
        return options

    return alternatives(None)[0]


class Random:
    """Values of each kind; a family says which keys it likes."""

    def __init__(self, rng, prefix, damaging=True):
        self.rng = rng
        self.damaging = damaging
        self.prefix = prefix

    def expand(self, node, out):
        kind, parts = node
        if kind == "seq":
            for part in parts:
                if isinstance(part, str):
                    out.append(self.literal(part))
                else:
                    self.expand(part, out)
        elif kind == "one":
            self.expand(self.rng.choice(parts), out)
        elif kind == "any":
            if self.rng.random() < 0.5:
                self.expand(self.rng.choice(parts), out)
        else:
            for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3, 4))):
                self.expand(self.rng.choice(parts), out)
        return out

    def literal(self, text):
        match = re.fullmatch(r"<(\w+)>", text)
        return getattr(self, match[1])() if match else text.encode()

    def command(self, node):
        argv = self.expand(node, [])
        if self.damaging and self.rng.random() < 0.06:
            argv = self.damage(argv)
        if self.rng.random() < 0.1:
            argv[0] = argv[0].lower()
        return argv

    def damage(self, argv):
        """A command that somebody got wrong."""
        argv = list(argv)
        at = self.rng.randrange(1, len(argv)) if len(argv) > 1 else 1
        action = self.rng.randrange(4)
        if action == 0 and len(argv) > 1:
            del argv[at]
        elif action == 1:
            argv.insert(at, self.junk())
        elif action == 2 and len(argv) > 1:
            argv[at] = self.junk()
        else:
            argv.append(argv[-1] if len(argv) > 1 else b"x")
        return argv

    # Keys and values

    def k(self):
        if self.rng.random() < 0.08:
            return self.rng.choice((b"a:str", b"a:hash", b"a:set", b"a:zset", b"a:list", b"missing", b"", b"\0\r\n"))
        return f"{self.prefix}{self.rng.randrange(5)}".encode()

    def lk(self):
        """A sorted set of equal scores: without them, lexical ranges are anything."""
        return b"lex%d" % self.rng.randrange(2) if self.rng.random() < 0.95 else b"a:hash"

    def v(self):
        roll = self.rng.random()
        if roll < 0.3:
            return str(self.rng.randrange(-200, 200)).encode()
        if roll < 0.4:
            return self.bigint()
        if roll < 0.5:
            return self.f()
        if roll < 0.55:
            return b""
        if roll < 0.65:
            return bytes(self.rng.randrange(256) for _ in range(self.rng.randrange(1, 12)))
        if roll < 0.7:
            return b"long" * self.rng.randrange(11, 60)
        return self.rng.choice((b"hello", b"Hello World", b"OK", b"foobar", b"\xe2\x82\xac\xf0\x9f\x98\x80", b"a\r\nb\0c"))

    def m(self):
        roll = self.rng.random()
        if roll < 0.45:
            return b"m%d" % self.rng.randrange(9)
        if roll < 0.8:
            return str(self.rng.randrange(-4, 12)).encode()
        if roll < 0.83:
            return b"member" * 12
        if roll < 0.86:
            return self.bigint()
        return self.rng.choice((b"", b"a", b"b", b"c", b"ab", b"abc", b"foo", b"\xff\0", b"00", b"+1", b"1.0"))

    def digit(self):
        """Members that fit an intset."""
        return str(self.rng.choice((self.rng.randrange(-4, 12), self.rng.randrange(-70000, 70000)))).encode()

    def many(self):
        """Enough distinct members to leave the compact encodings at once."""
        return b"n%d" % self.rng.randrange(10**6)

    # Numbers

    def bigint(self):
        return self.rng.choice(
            (b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"4294967296",
             b"-9223372036854775807", b"18446744073709551616", b"2147483648", b"999999999999999999999999")
        )

    def i(self):
        roll = self.rng.random()
        if roll < 0.85:
            return str(self.rng.randrange(-12, 13)).encode()
        if roll < 0.93:
            return self.bigint()
        return self.rng.choice((b"1.5", b"x", b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1e3"))

    def count(self):
        """A number of random members. Redis would really answer 2^62 of them."""
        if self.rng.random() < 0.85:
            return str(self.rng.randrange(-12, 13)).encode()
        return self.rng.choice((b"-9223372036854775808", b"9223372036854775808", b"x", b"", b"1.5", b"-0", b"+1"))

    def n(self):
        if self.rng.random() < 0.9:
            return str(self.rng.randrange(0, 9)).encode()
        return self.i()

    def f(self):
        roll = self.rng.random()
        if roll < 0.4:
            return f"{self.rng.uniform(-100, 100):.{self.rng.randrange(1, 8)}f}".encode()
        if roll < 0.6:
            return str(self.rng.randrange(-1000, 1000)).encode()
        if roll < 0.7:
            return repr(self.rng.uniform(-1, 1) * 10 ** self.rng.randrange(-20, 25)).encode()
        return self.rng.choice(
            (b"inf", b"-inf", b"+inf", b"nan", b"1e5", b"1E-3", b"0x10", b"3.0", b"3.14159265358979", b"-0", b"0.1",
             b"1e400", b"1e-400", b"x", b"", b" 1", b"1 ", b".5", b"5.", b"infinity", b"1e17", b"123456789012345678",
             b"9007199254740993", b"0.30000000000000004")
        )

    def score(self):
        if self.rng.random() < 0.6:
            return str(self.rng.randrange(-5, 6)).encode()
        return self.f()

    def ss(self):
        """A bound of a score range."""
        value = self.rng.choice((b"-inf", b"+inf", self.score(), self.score()))
        return b"(" + value if self.rng.random() < 0.3 else value

    def ls(self):
        """A bound of a lexical range."""
        if self.rng.random() < 0.4:
            return self.rng.choice((b"-", b"+"))
        return self.rng.choice((b"[", b"(", b"[", b"(", b"[", b"")) + self.m()

    def ttl(self):
        roll = self.rng.random()
        if roll < 0.75:
            return str(self.rng.randrange(1000, 9000)).encode()
        return self.rng.choice((b"0", b"-1", b"-100", b"9223372036854775807", b"9223372036854775", b"x", b"1.5", b"-9223372036854775808", b""))

    def unix(self):
        roll = self.rng.random()
        if roll < 0.75:
            return str(4102444800 + self.rng.randrange(1000)).encode()
        return self.rng.choice((b"1", b"0", b"-1", b"9223372036854775807", b"x", b"100000"))

    def unixms(self):
        roll = self.rng.random()
        if roll < 0.75:
            return str(4102444800000 + self.rng.randrange(1000)).encode()
        return self.rng.choice((b"1", b"0", b"-1", b"9223372036854775807", b"x", b"100000"))

    def offset(self):
        if self.rng.random() < 0.9:
            return str(self.rng.randrange(0, 200)).encode()
        return self.rng.choice((b"-1", b"4294967296", b"536870912000", b"x", b"4294967295x", b""))

    def bit(self):
        return self.rng.choice((b"0", b"1", b"0", b"1", b"0", b"1", b"2", b"x"))

    def width(self):
        if self.rng.random() < 0.92:
            return self.rng.choice((b"u", b"i")) + str(self.rng.choice((1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 31, 32, 33, 48, 62, 63))).encode()
        return self.rng.choice((b"i64", b"u64", b"u0", b"i65", b"x8", b"u", b"i-1", b"I8"))

    def bfoffset(self):
        if self.rng.random() < 0.9:
            return self.rng.choice((b"", b"#")) + str(self.rng.randrange(0, 40)).encode()
        return self.rng.choice((b"-1", b"#-1", b"#", b"x", b"#4294967296"))

    def bfvalue(self):
        return self.rng.choice((self.i(), str(self.rng.randrange(-300, 300)).encode(), self.bigint()))

    # Words

    def channel(self):
        return self.rng.choice((b"k1", b"m1", b"m2", b"foo", b"abc", b"a:b"))

    def glob(self):
        return self.rng.choice(
            (b"*", b"k*", b"*1", b"?", b"m[0-4]", b"m[^1]", b"[a-c]*", b"*m*", b"h?llo", b"\\*", b"m\\1", b"[", b"[a", b"", b"a:*", b"**2**", b"[^-]*", b"m[4-0]")
        )

    def junk(self):
        return self.rng.choice((b"", b"x", b"-1", b"1.5", b"NX", b"XX", b"COUNT", b"nan", b"GET", b"0", b"WITHSCORES", b"\xff\0", b"a:hash", b"99999999999999999999"))

    def lua_incr(self):
        return b"return redis.call('incr', KEYS[1])"

    def lua_get(self):
        return b"return redis.call('get', KEYS[1])"

    def lua_publish(self):
        return b"return redis.call('publish', ARGV[1], 'x')"

    def numkeys(self):
        return self.rng.choice((b"1", b"2", b"2", b"2", b"3", b"0", b"-1", b"x", b"9223372036854775807"))


def seeded(*parts):
    """A generator that depends on nothing but what names it."""
    return random.Random(":".join(map(str, parts)))
