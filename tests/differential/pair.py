"""Two servers driven through the same steps, and the first step they differ in."""

import itertools
import time

import dump
from compare import elements, name_of, needs_encoding, same
from raw.resp import Connection, encode

# What a random choice among members is checked against.
LISTINGS = (b"SMEMBERS", b"HKEYS", b"ZRANGE")
UNORDERED_ENCODINGS = (b"hashtable", b"skiplist", b"listpackex")


class Server:
    """Two connections, `a` and `b`, to one server."""

    def __init__(self, url, protocol):
        self.url = url
        self.protocol = protocol
        self.turn = 0
        self.connections = {}
        self.connect()

    def connect(self):
        self.close()
        self.connections = {who: Connection(self.url, self.protocol, timeout=10) for who in "ab"}
        self.broken = False

    def send(self, who, requests):
        try:
            self.connections[who].send_raw(b"".join(requests))
        except OSError:
            self.broken = True

    def read(self, who):
        """The next reply; a connection that ends is an answer too."""
        if not self.broken:
            try:
                return self.connections[who].read()
            except OSError as error:
                self.broken = True
                return ("!", f"no reply: {type(error).__name__}: {error}".encode())
        return ("!", b"no reply")

    def until_answered(self, who, requests):
        """Every reply and push up to the answer of a PING behind the requests."""
        self.turn += 1
        mark = b"turn %d" % self.turn
        self.send(who, [*requests, encode(("PING", mark))])
        replies = []
        while not self.broken:
            reply = self.read(who)
            if reply == ("$", mark) or isinstance(reply[1], list) and ("$", mark) in reply[1]:
                break
            replies.append(reply)
        return replies

    def reset(self):
        """An empty keyspace and fresh connection states."""
        if self.broken:
            self.connect()
        for who, connection in self.connections.items():
            commands = [("RESET",), ("AUTH", "default", connection.password)]
            commands += [("HELLO", str(self.protocol)), ("CLIENT", "SETNAME", "")]
            if who == "a":
                commands += [("FLUSHALL",), ("SCRIPT", "FLUSH"), ("CONFIG", "SET", "maxmemory", "0"), ("CONFIG", "SET", "hll-sparse-max-bytes", "3000")]
            self.turn += 1
            mark = b"turn %d" % self.turn
            connection.send_raw(b"".join(encode(argv) for argv in [*commands, ("ECHO", mark)]))
            # Messages to a former subscriber may come first.
            replies = list(iter(connection.read, ("$", mark)))[-len(commands) :]
            for command, reply in zip(commands, replies):
                if reply[0] == "-":
                    raise RuntimeError(f"{self.url.rsplit('@')[-1]}: {command}: {reply[1]}")

    def close(self):
        for connection in self.connections.values():
            connection.close()


class Difference(Exception):
    """A step that was answered differently."""

    def __init__(self, index, step, ours, theirs, why=""):
        super().__init__(why)
        self.index, self.step, self.ours, self.theirs, self.why = index, step, ours, theirs, why


def check_picked(index, step, left, right, members):
    """Random members are members, and different ones unless asked otherwise."""
    picked = elements(left)
    if not set(picked) <= set(members):
        raise Difference(index, step, left, right, "members that were not there")
    again = len(step["argv"]) > 2 and step["argv"][2].startswith(b"-")
    if len(set(picked)) < len(picked) and not again:
        raise Difference(index, step, left, right, "the same member twice")


def chunks(steps):
    """Runs of steps that one connection may send at once."""
    run = []
    for index, step in enumerate(steps):
        if run and (step.get("loop") or step.get("cross") or run[-1][1].get("cross") or run[-1][1]["who"] != step["who"] or run[-1][1].get("pushed") != step.get("pushed") or run[-1][1].get("pause") or run[-1][1].get("loop") or len(run) >= 24):
            yield run
            run = []
        run.append((index, step))
    if run:
        yield run


def scan_loop(connection, argv):
    """A whole iteration: every element that it ever returned, or an error."""
    at = 2 if argv[0].upper() != b"SCAN" else 1
    argv = [*argv[:at], b"0", *argv[at:]]
    seen = set()
    for _ in range(100_000):
        reply = connection.call(*argv)
        if reply[0] in "-!":
            return reply
        cursor, page = reply[1]
        items = [item[1] for item in page[1]]
        if argv[0].upper() in (b"HSCAN", b"ZSCAN"):
            items = list(zip(items[::2], items[1::2]))
        seen.update(items)
        argv[at] = cursor[1]
        if cursor[1] == b"0":
            return ("loop", sorted(seen, key=repr))
    raise RuntimeError("the cursor never came back to 0")


def run(ours, theirs, steps):
    """Drives both; raises `Difference` at the first one."""
    ours.reset()
    theirs.reset()
    queues = {"a": None, "b": None}
    members = None
    for chunk in chunks(steps):
        who = chunk[0][1]["who"]
        a, b = ours.connections[who], theirs.connections[who]
        if chunk[0][1].get("loop"):
            index, step = chunk[0]
            if queues[who] is None:
                try:
                    left = scan_loop(a, step["argv"])
                except (OSError, RuntimeError) as error:
                    ours.broken, left = True, ("!", str(error).encode())
                right = scan_loop(b, step["argv"])
                if left != right:
                    raise Difference(index, step, left, right)
            continue
        if chunk[0][1].get("cross"):
            index, step = chunk[0]
            cross = step["cross"] if callable(step["cross"]) else dump.cross
            left, right, why = cross(a, b, step)
            if why or not same(step["argv"], left, right):
                raise Difference(index, step, left, right, why)
            continue
        if chunk[0][1].get("pushed"):
            compare_stream(ours, theirs, who, chunk)
            continue
        # The oracle is asked for encodings on the side, in the same order.
        payload, oracle, asked = [], [], []
        for _, step in chunk:
            keys = needs_encoding(step["argv"]) if queues[who] is None else []
            for key in keys:
                oracle.append(encode((b"OBJECT", b"ENCODING", key)))
            payload.append(encode(step["argv"]))
            oracle.append(payload[-1])
            asked.append(len(keys))
        ours.send(who, payload)
        theirs.send(who, oracle)
        # All is read before anything is judged: a difference leaves no rest behind.
        right_side = [([theirs.read(who)[1] for _ in range(count)], theirs.read(who)) for count in asked]
        left_side = [ours.read(who) for _ in chunk]
        for (index, step), (encodings, right), left in zip(chunk, right_side, left_side):
            argv = step["argv"]
            unordered = any(encoding in UNORDERED_ENCODINGS for encoding in encodings)
            name = name_of(argv)
            if name == b"EXEC" and queues[who] is not None and right[0] == "*" and right[1] is not None:
                compare_exec(index, step, left, right, queues[who])
            elif step.get("any_error") and left[0] == right[0] == "-":
                pass
            elif not same(argv, left, right, unordered):
                raise Difference(index, step, left, right)
            if step.get("subset"):
                check_picked(index, step, left, right, members or [])
            if name in LISTINGS:
                members = elements(left)
            follow(queues, who, name, argv, right)
        pause = chunk[-1][1].get("pause")
        if pause:
            time.sleep(pause)


def compare_stream(ours, theirs, who, chunk):
    """All that a connection says until it has answered the chunk, pushes included."""
    requests = [encode(step["argv"]) for _, step in chunk]
    left, right = (server.until_answered(who, requests) for server in (ours, theirs))
    for at, (a, b) in enumerate(itertools.zip_longest(left, right, fillvalue=("!", b"nothing more"))):
        index, step = chunk[min(at, len(chunk) - 1)]
        if not same(step["argv"], a, b):
            raise Difference(chunk[-1][0], step, a, b, f"in what {who} hears, reply {at + 1}")


def follow(queues, who, name, argv, reply):
    """Keeps what a connection has queued since MULTI."""
    if name == b"MULTI" and reply == ("+", b"OK"):
        queues[who] = []
    elif name in (b"EXEC", b"DISCARD", b"RESET"):
        queues[who] = None
    elif reply == ("+", b"QUEUED") and queues[who] is not None:
        queues[who].append(argv)


def compare_exec(index, step, left, right, queue):
    if left[0] != "*" or left[1] is None or len(left[1]) != len(right[1]):
        raise Difference(index, step, left, right)
    for argv, a, b in zip(queue, left[1], right[1]):
        if not same(argv, a, b):
            raise Difference(index, step, left, right, f"in EXEC, at {argv}")


def units(steps):
    """Steps that only make sense together, together."""
    out = []
    for step in steps:
        if out and step.get("unit") is not None and out[-1][-1].get("unit") == step["unit"]:
            out[-1].append(step)
        else:
            out.append([step])
    return out


def shrink(ours, theirs, steps, difference, run=run):
    """Fewer steps that still end in a difference, and that difference (ddmin, bounded)."""
    best, budget = units(steps[: difference.index + 1]), 300
    size = max(1, len(best) // 2)
    while size:
        at, progress = 0, False
        while at < len(best) and budget:
            trial = best[:at] + best[at + size :]
            flat = [step for unit in trial for step in unit]
            budget -= 1
            try:
                if flat:
                    run(ours, theirs, flat)
                at += size
            except Difference as found:
                difference, progress = found, True
                best = units(flat[: difference.index + 1])
        if not progress or not budget:
            size //= 2
    return [step for unit in best for step in unit], difference
