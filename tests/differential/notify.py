"""The other families' commands again, with a subscriber to every keyspace event.

What it hears of each step is compared, messages and their order. When a key
expires is the timer's affair: such events are compared at the end, when each key
was looked at once more.
"""

import families
import pair
from raw.resp import Connection

# Their replies are compared elsewhere; they change no keys of their own.
NOT_HERE = {"connection", "pubsub", "script", "dump", "hash_ttl"}
COUNT = 25
CLASSES = ("KEAmn", "KEA", "Kg$x", "Eshzn")


class Listener:
    """A connection that hears the events of one server."""

    def __init__(self, server):
        self.connection = Connection(server.url, 2, timeout=10)
        self.connection.call("PSUBSCRIBE", "__key*@0__:*")
        self.turn = 0

    def heard(self):
        """Every event so far, as (channel, payload)."""
        self.turn += 1
        mark = b"turn %d" % self.turn
        self.connection.send("PING", mark)
        events = []
        while True:
            _, data = self.connection.read()
            if data[0] == ("$", b"pong"):
                return events
            events.append((data[2][1], data[3][1]))


def answer(server, step):
    if step.get("loop"):
        pair.scan_loop(server.connections[step["who"]], step["argv"])
    else:
        server.connections[step["who"]].call(*step["argv"])


EXPIRED = (b"__keyevent@0__:expired", b"expired")


def is_expiry(event):
    return event[0] == EXPIRED[0] or event[1] == EXPIRED[1]


def compare(steps, sides, classes):
    """Drives both sides; raises `pair.Difference` at the first other event."""
    for server, listener in sides:
        server.reset()
        server.connections["a"].call("CONFIG", "SET", "notify-keyspace-events", classes)
        listener.heard()
    expired = [[], []]
    touch = {"argv": [b"EXISTS", *{step["argv"][1] for step in steps if len(step["argv"]) > 1}], "who": "b"}
    for index, step in enumerate([*steps, touch]):
        for server, _ in sides:
            answer(server, step)
        if step.get("pause"):
            pair.time.sleep(step["pause"])
        heard = []
        for gone, (_, listener) in zip(expired, sides):
            events = listener.heard()
            gone += filter(is_expiry, events)
            heard.append([event for event in events if not is_expiry(event)])
        if step is not touch and heard[0] != heard[1]:
            raise pair.Difference(index, step, ("events", heard[0]), ("events", heard[1]))
    if sorted(expired[0]) != sorted(expired[1]):
        last = len(steps) - 1
        raise pair.Difference(last, steps[last], ("expired", sorted(expired[0])), ("expired", sorted(expired[1])))


def run(ours, theirs, protocol, options, report):
    """How many sequences told the same, and how many did not."""
    passed = failed = 0
    sides = [(server, Listener(server)) for server in (ours, theirs)]
    for family in families.names():
        known = set()
        for index in range(options.first, options.first + (options.count or COUNT)) if family not in NOT_HERE else ():
            classes = CLASSES[index % len(CLASSES)]

            def again(_ours, _theirs, steps, classes=classes):
                compare(steps, sides, classes)

            steps = families.sequence(family, options.seed, f"notify.{protocol}.{index}")
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
                report(f"notify/{family}", protocol, options.seed, index, *pair.shrink(ours, theirs, steps, difference, again))
    for server, listener in sides:
        server.connections["a"].call("CONFIG", "SET", "notify-keyspace-events", "")
        listener.connection.close()
    return passed, failed
