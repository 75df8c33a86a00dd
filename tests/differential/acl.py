"""Users with random rules, and what they then may do.

Connection `a` is the owner, who makes users and asks about them; `b` acts as one of
them. Redis shows the single commands of a rule's text in the order of a hash table
that is another in each process, and knows fewer commands than we do: texts are
compared with these sorted, and with names that Redis 7.0.15 does not have left out.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REFERENCE = ROOT / "crates/engine/src/command/reference.txt"
NAMES = [line.split()[0] for line in REFERENCE.read_text().splitlines()]
KNOWN = {name.encode() for name in NAMES}
CONTAINERS = {name.split(b"|")[0] for name in KNOWN if b"|" in name}
CATEGORIES = """keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow
blocking dangerous connection transaction scripting""".split()
# What is compared in a way of its own.
COMPARED = {b"ACL LIST", b"ACL GETUSER", b"ACL LOG", b"ACL CAT", b"ACL GENPASS", b"ACL HELP"}

REQUESTS = """
GET <key>
SET <key> v
SET <key> v GET
SET <key> v EX 100
GETSET <key> v
GETDEL <key>
APPEND <key> v
INCR n:1
MGET <key> <key>
MSET <key> v <key> v
MSETNX <key> v <key> v
DEL <key> <key>
UNLINK <key>
EXISTS <key> <key>
TOUCH <key>
TYPE <key>
RENAME <key> <key>
COPY <key> <key> REPLACE
EXPIRE <key> 100
PERSIST <key>
TTL <key>
OBJECT ENCODING <key>
OBJECT FREQ <key>
HSET h:1 f v
HGET h:1 f
HLEN <key>
HSTRLEN <key> f
HDEL h:1 f
HINCRBY h:1 n 1
SADD s:1 m
SSCAN s:1 0
SCARD s:1
SISMEMBER s:1 m
SMOVE s:1 s:2 m
SINTERSTORE s:2 s:1 s:1
SUNIONSTORE s:2 s:1
SINTERCARD 1 s:1
ZADD z:1 1 m
ZRANGE z:1 0 -1
ZUNIONSTORE z:2 1 z:1
ZRANGESTORE z:2 z:1 0 -1
ZDIFF 1 z:1
ZPOPMIN z:1
ZMPOP 1 z:1 MIN
LPUSH l:1 a
LRANGE l:1 0 -1
LMOVE l:1 l:2 LEFT RIGHT
RPOPLPUSH l:1 l:2
LMPOP 1 l:1 LEFT
LLEN l:1
SORT l:1 ALPHA
SORT l:1 BY w_* ALPHA
SORT l:1 BY nosort GET # STORE <key>
SORT l:1 ALPHA STORE l:2
SORT_RO l:1 ALPHA GET k:*
XADD x:1 1-1 f v
XADD <key> 1-1 f v
XLEN <key>
XREAD COUNT 1 STREAMS x:1 <key> 0 0
XREADGROUP GROUP g c STREAMS x:1 >
XGROUP CREATE <key> g 0 MKSTREAM
XINFO STREAM <key>
XDEL x:1 1-1
XRANGE <key> - +
GEOADD g:1 1 1 m
GEORADIUS g:1 1 1 10 km STORE <key>
GEORADIUS g:1 1 1 10 km STOREDIST <key> STORE k:2
GEOSEARCHSTORE <key> g:1 FROMMEMBER m BYRADIUS 1 km
PFADD <key> a
PFMERGE p:1 <key>
PFCOUNT <key>
LCS <key> k:1
DUMP <key>
RESTORE <key> 0 x
BLPOP <key> l:1 0.01
BLMOVE l:1 <key> LEFT LEFT 0.01
BZMPOP 0.01 1 <key> MIN
FCALL nothing 1 <key>
FCALL_RO nothing 0
WAIT 0 0
BITFIELD b:1 GET u8 0
BITFIELD b:1 GET u8 0 SET u8 0 1
BITFIELD b:1 OVERFLOW SAT GET u8 0
BITFIELD b:1 GET u8
BITFIELD_RO b:1 GET u8 0
BITOP AND b:2 b:1 b:1
SETBIT b:1 3 1
GETRANGE <key> 0 1
SETRANGE <key> 0 v
STRLEN <key>
PUBLISH <channel> m
PING
ECHO x
SELECT 0
DBSIZE
CONFIG GET timeout
CONFIG GET maxmemory
CLIENT GETNAME
COMMAND COUNT x
KEYS nothing*
ACL WHOAMI
ACL USERS
ACL GETUSER nobody
EVAL return(1) 0
EVAL return(redis.call('GET','<key>')) 0
EVAL return(redis.pcall('SET','<key>','v')) 0
EVAL return(redis.pcall('PUBLISH','<channel>','v')) 0
EVAL return(redis.pcall('KEYS','nothing*')) 0
EVAL return(redis.acl_check_cmd('SET','<key>','v')) 0
EVAL return(redis.acl_check_cmd('HSET','<key>','f','v')) 0
EVAL return(1) 1 <key>
EVAL return(1) 2 <key>
EVALSHA_RO 0123456789012345678901234567890123456789 1 <key>
NOPE <key>
GET
WATCH <key>
UNWATCH
""".strip().splitlines()


class Rules:
    """Random rules, usual ones and odd ones."""

    def __init__(self, rng):
        self.rng = rng

    def pick(self, *choices):
        return self.rng.choice(choices)

    def key(self):
        return self.pick("k:1", "k:2", "r:1", "w:1", "x", "n:1")

    def channel(self):
        return self.pick("c:1", "c:2", "d", "e:x")

    def pattern(self):
        return self.pick("k:*", "k:1", "r:*", "w:*", "n:*", "?:1", "[kr]:*", "h:*", "s:*", "z:*", "l:*", "b:*", "x:*", "g:*", "*", "", "*:2", "a\\*b")

    def command(self):
        if self.rng.random() < 0.3:
            return self.pick("get", "set", "del", "hset", "config", "acl", "config|get", "acl|whoami", "select", "publish",
                             "eval", "keys", "GET", "Config|Get", "object", "object|encoding", "client")
        return self.rng.choice(NAMES)

    def selector_rule(self):
        roll = self.rng.randrange(22)
        if roll < 4:
            return "~" + self.pattern()
        if roll < 6:
            return self.pick("%R~", "%W~", "%RW~", "%r~", "%WR~", "%w~") + self.pattern()
        if roll < 8:
            return "&" + self.pick("c:*", "c:1", "d", "*x", "e:?", "")
        if roll < 12:
            return self.pick("+", "+", "-") + self.command()
        if roll < 16:
            return self.pick("+", "+", "-") + "@" + self.pick(*CATEGORIES, "all")
        if roll == 16:
            return self.pick("allkeys", "~*", "resetkeys", "ResetKeys")
        if roll == 17:
            return self.pick("allchannels", "&*", "resetchannels")
        if roll == 18:
            return self.pick("allcommands", "nocommands", "+@all", "-@all", "+@ALL")
        if roll == 19:
            return "+" + self.pick("select|0", "get|k:1", "select|1", "config|get", "config|resetstat", "ping|x", "echo|x")
        if roll == 20:
            return "+@" + self.pick(*CATEGORIES).upper()
        return self.pick("+nope", "-nope", "+@nope", "+config|nope", "-select|0", "+get|", "+config|get|x", "~", "%", "%R", "%X~a",
                         "%RR~a", "&", "+", "-", "+@", "-@", "~a b", "&a\tb", "nonsense", "", "+|x", "+config|", "%~a")

    def rule(self):
        roll = self.rng.randrange(30)
        if roll == 0:
            return self.pick("on", "off", "ON", "reset", "Reset")
        if roll == 1:
            return self.pick(">p", ">q", "<q", "<p", "nopass", "resetpass", "> ", ">")
        if roll == 2:
            return self.pick("#", "!") + self.pick("0" * 64, "a" * 64, "A" * 64, "0" * 63, "g" * 64)
        if roll == 3:
            return self.pick("sanitize-payload", "skip-sanitize-payload", "clearselectors")
        if roll < 6:
            inner = [self.selector_rule() for _ in range(self.rng.randrange(4))]
            return self.pick("({})", "({})", "( {} )", "({} )").format(" ".join(inner))
        if roll == 6:
            return self.pick("(", ")", "(+get", "~k:*)", "()", "(\"~a\")", "('~a' \"+get\")", "(\"~a)", "(~a\"b)", "(on)", "(+nope)")
        return self.selector_rule()

    def request(self):
        words = self.rng.choice(REQUESTS).split(" ")
        words = [word.replace("<key>", self.key()).replace("<channel>", self.channel()) for word in words]
        return [word.encode() for word in words]


def sequence(rng):
    """Steps of both connections."""
    rules = Rules(rng)
    step = lambda who, *argv: {"who": who, "argv": [arg if isinstance(arg, bytes) else arg.encode() for arg in argv]}
    steps = [step("a", "ACL", "DELUSER", "u", "v", "w"), step("a", "ACL", "LOG", "RESET")]
    begin = rng.choice((["+@all", "~k:*", "%R~r:*", "%W~w:*", "&c:*"], ["+@all", "allkeys"], ["allkeys", "allchannels"], []))
    steps.append(step("a", "ACL", "SETUSER", "u", "on", ">p", *begin))
    steps.append(step("b", "AUTH", "u", "p"))
    for _ in range(30):
        form = rng.randrange(20)
        if form < 5:
            changed = [rules.rule() for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8)))]
            steps.append(step("a", "ACL", "SETUSER", rng.choice("uuv"), *changed))
            steps.append(step("a", "ACL", "LIST"))
        elif form < 6:
            steps.append(step("a", "ACL", "GETUSER", rng.choice(("u", "v", "nobody"))))
        elif form < 8:
            steps.append(step("a", "ACL", "DRYRUN", rng.choice("uuuvx"), *rules.request()))
        elif form < 9:
            steps.append(step("a", "ACL", rng.choice(("SETUSER", "DELUSER")), rng.choice(("v", "w", "a b", "nobody"))))
            steps.append(step("a", "ACL", "USERS"))
        elif form < 10:
            steps.append(step("b", "AUTH", "u", rng.choice(("p", "q", "no"))))
            steps.append(step("b", "ACL", "WHOAMI"))
        elif form < 11:
            queued = [step("b", *rules.request()) for _ in range(rng.choice((1, 2, 3)))]
            changed = [step("a", "ACL", "SETUSER", "u", rules.selector_rule())] if rng.random() < 0.5 else []
            steps += [step("b", "MULTI"), *queued, *changed, step("b", "EXEC"), step("b", "DISCARD")]
        elif form < 12:
            steps.append(step("a", "COMMAND", "GETKEYSANDFLAGS", *rules.request()))
        elif form < 13:
            steps.append(step("a", "ACL", rng.choice(("CAT", "CAT", "LOG", "GENPASS", "HELP", "WHOAMI", "SAVE", "LOAD", "NOPE", "LIST")),
                              *rng.choice(([], ["hash"], ["Admin"], ["3"], ["x"], ["1", "2"], ["-1"]))))
        else:
            for _ in range(4):
                steps.append(step("b", *rules.request()))
    steps.append(step("a", "ACL", "LOG", "100"))
    return steps


def same(name, ours, theirs):
    """Whether both answered the same to ACL."""
    if ours[0] != theirs[0] or ours[1] is None or theirs[1] is None:
        return False
    if ours[0] not in "*%$":
        return False
    if name == b"ACL GENPASS":
        return len(ours[1]) == len(theirs[1])
    if name == b"ACL HELP":
        return True
    if name == b"ACL CAT":
        left, right = ({item[1] for item in reply[1]} for reply in (ours, theirs))
        return left & KNOWN <= right
    if name == b"ACL LOG":
        return [entry(item) for item in ours[1]] == [entry(item) for item in theirs[1]]
    return texts(ours) == texts(theirs)


def texts(reply):
    """The reply with each rule's text in one order, without `default`."""
    kind, data = reply
    if isinstance(data, list):
        return [texts(item) for item in data if not (isinstance(item[1], bytes) and item[1].startswith(b"user default "))]
    return sort(data) if isinstance(data, bytes) else data


def sort(text):
    """Single commands in the order of their names, unknown ones left out."""
    out, run = [], []
    for word in [*re.sub(rb"([()])", rb" \1 ", text).split(b" "), b""]:
        if re.fullmatch(rb"[+-][^@].*", word):
            name = word[1:]
            if name in KNOWN or (b"|" in name and name.split(b"|")[0] in KNOWN - CONTAINERS):
                run.append((name, word))
            continue
        out += [word for _, word in sorted(run)]
        run = []
        out.append(word)
    return [word for word in out if word]


def entry(reply):
    """An entry of the log but for its age and its client."""
    fields = [item[1] for item in reply[1]]
    fields = dict(zip(fields[::2], fields[1::2]))
    return {name: value for name, value in fields.items() if name not in (b"age-seconds", b"client-info")}
