"""Clients that write until the server is gone, each knowing what it was told."""

import itertools
import random
import threading
import time

from server import Connection

KEYS = 150
DEPTH = 8
CLOCK_MARGIN = 0.15
MOVE = """
redis.call('HINCRBY', KEYS[1], ARGV[1], -ARGV[2])
redis.call('HINCRBY', KEYS[2], ARGV[1], ARGV[2])
return redis.call('INCR', KEYS[3])
"""


def writer(c, me, history, numbers):
    """SET and DEL, several on their way at once."""
    for n in numbers:
        batch = []
        for turn in range(DEPTH):
            number = n * DEPTH + turn
            key = f"plain:{me}:{number % KEYS}"
            gone = number % 11 == 0
            value = None if gone else b"%d:%s" % (number, b"x" * (number % 90))
            batch.append((("DEL", key) if gone else ("SET", key, value), history.sent(key, value)))
        for command, _ in batch:
            c.send(*command)
        for command, entry in batch:
            kind, data = c.read()
            assert kind in "+:", (command, data)
            history.acknowledged(entry)


def pair(c, me, history, numbers):
    """Two keys that are always equal."""
    left, right = f"pair:{me}:left", f"pair:{me}:right"
    for n in numbers:
        entry = history.sent(f"pair:{me}", b"%d" % n)
        replies = c.pipeline([("MULTI",), ("SET", left, n), ("SET", right, n), ("EXEC",)])
        assert replies[3][0] == "*", replies
        history.acknowledged(entry)


def mover(c, me, history, numbers):
    """A script moves amounts between two hashes; their sum stays 0."""
    for n in numbers:
        entry = history.sent(f"moves:{me}", b"%d" % n)
        reply = c.ask("EVAL", MOVE, 3, f"from:{me}", f"to:{me}", f"moves:{me}", f"f{n % 20}", random.randint(1, 1000))
        assert reply == n, (reply, n)
        history.acknowledged(entry)


class Mortal:
    """Keys with a deadline: for each what it may be, and when it has to go."""

    def __init__(self, me):
        self.me = me
        self.keys = {}

    def __call__(self, c, _me, _history, numbers):
        for n in numbers:
            key, life = f"mortal:{self.me}:{n % 400}", random.choice([0.05, 0.3, 1.0, 5.0, 60.0])
            before = time.time()
            # The first one may not have come to be.
            known = self.keys.get(key, [(None, 0.0, None)])
            self.keys[key] = [*known, (b"%d" % n, before + life, None)]
            assert c.ask("SET", key, n, "PX", int(life * 1000)) == b"OK"
            self.keys[key] = [(b"%d" % n, before + life, time.time() + life)]

    def check(self, c):
        """Nothing acknowledged is missing before its time, nothing is there after it."""
        for key, known in self.keys.items():
            before = time.time()
            value, left = (data for data in (c.ask("GET", key), c.ask("PTTL", key)))
            after = time.time()
            if value is None:
                first = min(earliest for _, earliest, _ in known)
                assert after > first - CLOCK_MARGIN, f"{key} is gone {first - after:.3f} s too early"
                continue
            match = [entry for entry in known if entry[0] == value]
            assert match, f"{key} is {value!r}, which is none of {known}"
            _, earliest, latest = match[0]
            latest = latest or earliest + 30
            assert before < latest + CLOCK_MARGIN, f"{key} is there {before - latest:.3f} s after its end"
            if left > 0:
                ends = before + left / 1000
                assert earliest - CLOCK_MARGIN < ends < latest + CLOCK_MARGIN, f"{key} ends at {ends}, not in {earliest}..{latest}"


class Evicting:
    """Writes more than the memory holds; what was seen to be gone stays gone."""

    def __init__(self, me):
        self.me = me
        self.values = {}
        self.gone = set()

    def __call__(self, c, _me, _history, numbers):
        for n in numbers:
            key = f"evict:{self.me}:{n}"
            value = b"%d:" % n + b"y" * 1000
            self.values[key] = value
            assert c.ask("SET", key, value) == b"OK"
            old = f"evict:{self.me}:{random.randint(max(0, n - 4000), n)}"
            if old in self.values and c.ask("GET", old) is None:
                self.gone.add(old)

    def check(self, c):
        keys = list(self.values)
        there = 0
        for at in range(0, len(keys), 500):
            part = keys[at : at + 500]
            for key, value in zip(part, c.ask("MGET", *part)):
                if value is None:
                    self.gone.add(key)
                    continue
                there += 1
                assert value == self.values[key], f"{key} is {value[:20]!r}"
                assert key not in self.gone, f"{key} had been evicted, and is back"
        return there


class Load:
    """Roles that run until the server is gone."""

    def __init__(self, roles):
        self.roles = roles
        self.counters = {me: itertools.count(1) for me, _ in enumerate(roles)}
        self.problems = []
        self.sent = 0

    def start(self, server, history):
        self.threads = [threading.Thread(target=self.run, args=(me, role, server.url, history)) for me, role in enumerate(self.roles)]
        for thread in self.threads:
            thread.start()

    def run(self, me, role, url, history):
        def numbers():
            for n in self.counters[me]:
                yield n
                self.sent += 1

        try:
            with Connection(url, timeout=20) as c:
                role(c, me, history, numbers())
        except ConnectionError:
            pass  # The server was killed.
        except Exception as error:
            self.problems.append(f"{getattr(role, '__name__', role)}: {type(error).__name__}: {error}")

    def join(self):
        for thread in self.threads:
            thread.join()
        assert not self.problems, self.problems
