"""SORT and LCS."""

from grammar import Random

TEMPLATES = """
RPUSH <l> (<number>)+
RPUSH <l> (<number>)+
RPUSH <l> <text> <text> <text>
SADD <s> (<digit>)+
SADD <w> (<word>)+
ZADD <z> (<score> <word>)+
SET <weight> <number>
SET <weight> <text>
HSET <hash> f <number> g <text>
!GROW RPUSH <l> <digit>
!GROW SET <weight> <digit>
SORT (<l> | <l> | <s>) [BY <by>] [LIMIT <i> <i>] [GET <get>] [GET <get>] [ASC | DESC]
SORT (<l> | <l> | <s> | <w> | <z>) [LIMIT <i> <i>] [ASC | DESC] ALPHA [GET <get>]
SORT <l> BY <by> [LIMIT <n> <n>] [ASC | DESC] ALPHA [GET #]
SORT <l> BY <by> LIMIT <n> <n> ALPHA STORE <d>
SORT (<l> | <z>) BY nosort [LIMIT <i> <i>] [ASC | DESC] [GET <get>]
SORT (<l> | <s> | <w>) BY nosort [ASC | DESC] [LIMIT <n> <n>] STORE <d>
SORT (<l> | <s> | <w> | <z>) [ALPHA] [GET <get>] [GET <get>] [LIMIT <n> <n>] STORE <d>
SORT (<l> | <d>) (BY <by> | GET <get> | ALPHA | DESC | LIMIT <i> <i> | STORE <d>)+
SORT_RO (<l> | <s>) [BY <by>] [LIMIT <i> <i>] [GET <get>] [ALPHA]
SORT_RO <l> [ALPHA] [STORE <d>]
SORT <k>
LRANGE <d> 0 -1
LRANGE <d> 0 -1
TYPE <d>
DEL (<l> | <s> | <d> | <z>)
COMMAND GETKEYS SORT <l> (BY <by> | GET <get> | ALPHA | LIMIT <n> <n> | STORE <d> | STORE)+
COMMAND GETKEYS SORT_RO <l> STORE <d>
SET <k> <string>
SET <k> <string>
APPEND <k> <string>
LCS <k> <k>
LCS <k> <k> [IDX | LEN] [MINMATCHLEN <i>] [WITHMATCHLEN]
LCS <k> (<k> | <l>) (IDX | LEN | WITHMATCHLEN | MINMATCHLEN <n>)+
"""


class Values(Random):
    """Lists, sets and what their elements lead to."""

    def damage(self, argv):
        """Sets keep to integers: another one has no order to compare."""
        return argv if argv[0] == b"SADD" else super().damage(argv)

    def l(self):
        return b"list%d" % self.rng.randrange(3)

    def s(self):
        return b"set%d" % self.rng.randrange(2)

    def w(self):
        return b"words%d" % self.rng.randrange(2)

    def z(self):
        return b"zset%d" % self.rng.randrange(2)

    def d(self):
        return self.rng.choice((b"stored", b"stored", b"list0", b"set0", b"a:str"))

    def f(self):
        """No number that overflows: after one, Redis refuses all that are kept as text."""
        return self.rng.choice((b"1.5", b"-0", b"inf", b"-inf", b"1e5", b"0x10", b".5", b"x", b"", b" 1", b"1 ", b"nan", b"6.25"))

    def number(self):
        if self.rng.random() < 0.8:
            return str(self.rng.randrange(-4, 12)).encode()
        return self.f()

    def text(self):
        return self.rng.choice((b"a", b"b", b"B", b"ab", b"", b"10", b"9", b" 1", b"1 ", b"0x1f", b"\xff", b"a\0b", b"inf"))

    def word(self):
        return self.rng.choice((b"x", b"y", b"Z", b"10", b"9", b"abc", b"x y", b"\xc3\xa9"))

    def digit(self):
        return str(self.rng.randrange(-4, 12)).encode()

    def weight(self):
        return b"w_%d" % self.rng.randrange(-4, 12)

    def hash(self):
        return b"h_%d" % self.rng.randrange(-4, 12)

    def by(self):
        return self.rng.choice((b"w_*", b"w_*", b"w_*", b"h_*->f", b"h_*->f", b"h_*->g", b"h_*->none", b"*", b"w_*->", b"nosort", b"w_*\0"))

    def get(self):
        return self.rng.choice((b"#", b"w_*", b"h_*->f", b"h_*->g", b"nothing", b"*", b"w_*->f", b"h_*->", b"set*", b"#\0", b"->*", b"h_*->f\0"))

    def string(self):
        letters = b"ab" if self.rng.random() < 0.5 else b"abcdefgh"
        return bytes(self.rng.choice(letters) for _ in range(self.rng.randrange(0, 90)))
