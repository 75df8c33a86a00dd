"""Client-side caching: what each of three connections is told, and when.

`a` and `b` track, or `a` has `b` told in its place; `c` only writes. After each step
all that each connection has heard is compared, replies and pushes in their order.
"""

import time

import pair
from grammar import Random, compile_template, seeded
from raw.resp import Connection, encode

COUNT = 40
LENGTH = 50

TEMPLATES = """
@a CLIENT TRACKING ON
@a CLIENT TRACKING ON [OPTIN | OPTOUT] [NOLOOP]
@a CLIENT TRACKING ON BCAST [PREFIX t] [NOLOOP]
@a CLIENT TRACKING ON BCAST PREFIX t1 PREFIX t2 [PREFIX t]
@a CLIENT TRACKING ON REDIRECT id:b [NOLOOP]
@a CLIENT TRACKING ON REDIRECT id:b BCAST
@a CLIENT TRACKING ON ( REDIRECT 0 | REDIRECT x | PREFIX a | BCAST OPTIN | OPTIN OPTOUT | nothing | REDIRECT )
@b CLIENT TRACKING ON [BCAST | NOLOOP | OPTIN]
@a CLIENT TRACKING OFF
@b CLIENT TRACKING OFF
@a CLIENT CACHING (YES | NO | x)
@a CLIENT CACHING (YES | NO)
@a CLIENT GETREDIR
@a CLIENT TRACKINGINFO
@b CLIENT TRACKINGINFO
@b SUBSCRIBE __redis__:invalidate
@b UNSUBSCRIBE __redis__:invalidate
@a GET <k>
@a GET <k>
@a GET <k>
@a MGET (<k>)+
@a HGETALL <k>
@a EXISTS (<k>)+
@a TTL <k>
@a TYPE <k>
@a OBJECT ENCODING <k>
@a SUNION <k> <k>
@a ZRANGE <k> 0 -1
@a GETSET <k> <v>
@a SET <k> <v>
@a DEL (<k>)+
@a MULTI
@a EXEC
@a DISCARD
@a EVAL <lua_get> 1 <k>
@a EVAL <lua_incr> 1 <k>
@a FLUSHALL
@a PING
@b GET <k>
@b MGET (<k>)+
@b SET <k> <v>
@b MSET (<k> <v>)+
@c SET <k> <v>
@c SET <k> <v> EX 100
@c MSET (<k> <v>)+
@c DEL (<k>)+
@c INCR <k>
@c APPEND <k> <v>
@c HSET <k> <m> <v>
@c SADD <k> <m>
@c RPUSH <k> <m>
@c EXPIRE <k> (100 | -1)
@c PERSIST <k>
@c RENAME <k> <k>
@c COPY <k> <k>
@c FLUSHDB
@c EVAL <lua_incr> 1 <k>
"""

COMPILED = [(line[1], compile_template(line.split(" ", 1)[1])) for line in TEMPLATES.strip().splitlines()]


class Side:
    """One server's three connections."""

    def __init__(self, server, protocol):
        self.server = server
        self.protocol = protocol
        self.turn = 0

    def begin(self):
        self.server.reset()
        self.connections = {who: Connection(self.server.url, self.protocol, timeout=10) for who in "abc"}
        self.ids = {who: it.call("CLIENT", "ID")[1] for who, it in self.connections.items()}

    def end(self):
        for connection in self.connections.values():
            connection.close()

    def step(self, who, argv):
        """Sends it; what each connection has heard then."""
        argv = [self.ids[bytes(arg[3:]).decode()] if arg[:3] == b"id:" else arg for arg in argv]
        self.connections[who].send_raw(encode(argv))
        first = self.heard(self.connections[who])
        if argv[0].upper() in (b"CLIENT", b"EXEC"):
            first = [self.named(reply) for reply in first]
        heard = {name: self.heard(it) for name, it in self.connections.items()}
        # What follows a reply may come with it or by itself.
        return {**heard, who: first + heard[who]}

    def heard(self, connection):
        self.turn += 1
        mark = b"turn %d" % self.turn
        connection.send("ECHO" if self.protocol == 3 else "PING", mark)
        heard = []
        while True:
            reply = connection.read()
            if reply == ("$", mark) or isinstance(reply[1], list) and ("$", mark) in reply[1]:
                return heard
            if reply == ("+", b"QUEUED"):
                # In MULTI the mark is queued too: what comes next is no reply to it.
                return [*heard, reply, *self.drain(connection)]
            heard.append(reply)

    def drain(self, connection):
        """What a connection in MULTI hears within a moment."""
        heard = []
        connection.socket.settimeout(0.03)
        try:
            while True:
                heard.append(connection.read())
        except TimeoutError:
            connection.socket.settimeout(10)
            return heard

    def named(self, reply):
        """Ids as the names of their connections."""
        kind, data = reply
        if isinstance(data, list):
            return kind, [self.named(item) for item in data]
        names = [name for name, number in self.ids.items() if number == data]
        return (kind, f"id of {names[0]}".encode()) if kind == ":" and names else reply


def compare(steps, sides):
    for side in sides:
        side.begin()
    try:
        for index, step in enumerate(steps):
            left, right = (side.step(step["who"], step["argv"]) for side in sides)
            if left != right:
                raise pair.Difference(index, step, ("heard", left), ("heard", right))
    finally:
        for side in sides:
            side.end()
        time.sleep(0.002)


def sequence(seed, name):
    rng = seeded(seed, "tracking", name)
    values = Random(rng, prefix="t", damaging=False)
    chosen = (rng.choice(COMPILED) for _ in range(LENGTH))
    return [{"argv": values.command(node), "who": who} for who, node in chosen]


def run(ours, theirs, protocol, options, report):
    """How many sequences told the same, and how many did not."""
    passed = failed = 0
    known = set()
    sides = [Side(server, protocol) for server in (ours, theirs)]
    for index in range(options.first, options.first + (options.count or COUNT)):

        def again(_ours, _theirs, steps):
            compare(steps, sides)

        steps = sequence(options.seed, f"{protocol}.{index}")
        try:
            again(ours, theirs, steps)
            passed += 1
            continue
        except pair.Difference as found:
            difference = found
        failed += 1
        kind = difference.step["argv"][0].upper()
        if kind not in known and len(known) < options.reports:
            known.add(kind)
            report("tracking", protocol, options.seed, index, *pair.shrink(ours, theirs, steps, difference, again))
    return passed, failed
