"""The server is killed under load, and while it starts, again and again, on the
same folder.

Under `always` no acknowledged write may be missing; under `everysec` none that
is older than a second. In both, a unit is there whole or not at all.
"""

import random
import threading
import time

from history import History
from load import Evicting, Load, Mortal, mover, pair, writer
from server import Server


def settings(c):
    """Snapshots all the time: each begins a segment, and takes some away."""
    assert c.ask("CONFIG", "SET", "auto-aof-rewrite-min-size", "200kb") == b"OK"
    assert c.ask("CONFIG", "SET", "auto-aof-rewrite-percentage", "50") == b"OK"


def live(server, load, history, seconds, save_after=None):
    """A round of load; answers when the server was killed."""
    with server.connect() as c:
        settings(c)
    load.start(server, history)
    timer = threading.Timer(save_after or 0, save, [server])
    if save_after:
        timer.start()
    time.sleep(seconds)
    server.kill()
    killed_at = time.time()
    timer.cancel()
    load.join()
    return killed_at


def save(server):
    try:
        with server.connect() as c:
            c.ask("BGSAVE")
    except OSError:
        pass  # It was killed before.


def judge(c, history, killed_at):
    """Lost writes and the age of the oldest, over all keys."""
    lost, oldest, keys = 0, 0.0, [key for key in history.entries if key.startswith("plain:")]
    found = dict(zip(keys, c.ask("MGET", *keys))) if keys else {}
    for key in [key for key in history.entries if not key.startswith("plain:")]:
        if key.startswith("pair:"):
            left, right = c.ask("MGET", f"{key}:left", f"{key}:right")
            assert left == right, f"half of a transaction: {key} is {left} and {right}"
            found[key] = left
        else:
            me = key.split(":")[1]
            here, there = (c.ask("HGETALL", f"{side}:{me}") for side in ("from", "to"))
            here, there = (dict(zip(pairs[::2], map(int, pairs[1::2]))) for pairs in (here, there))
            assert here == {field: -amount for field, amount in there.items()}, f"half of a script: {here} and {there}"
            found[key] = c.ask("GET", key)
    for key, value in found.items():
        count, age = history.judge(key, value, killed_at)
        lost, oldest = lost + count, max(oldest, age)
    return lost, oldest


def restart_counters(load, c):
    """The script counts on from what is there."""
    for me, role in enumerate(load.roles):
        if role is mover:
            load.counters[me] = iter(range(int(c.ask("GET", f"moves:{me}") or 0) + 1, 1 << 60))


def rounds(folder, fsync, count, seconds):
    """Kills `count` times; answers lost writes, the oldest one's age, and a text."""
    server = Server(folder, fsync=fsync)
    mortals = [Mortal(number) for number in range(1)]
    load, history = Load([writer, writer, writer, pair, pair, mover, *mortals]), History()
    lost, oldest, starts, snapshots = 0, 0.0, [], 0
    chance = random.Random(count)
    with server:
        for turn in range(count):
            save_after = chance.uniform(0.05, seconds) if turn % 3 == 0 else None
            killed_at = live(server, load, history, seconds * chance.uniform(0.6, 1.4), save_after)
            snapshots += len(list(server.engine.glob("snapshot-*.snap"))) > 0
            if turn % 2:
                server.break_off(chance.uniform(0, 0.15))
            began = time.monotonic()
            server.start()
            starts.append(time.monotonic() - began)
            with server.connect() as c:
                now_lost, age = judge(c, history, killed_at)
                if fsync == "always":
                    for mortal in mortals:
                        mortal.check(c)
                restart_counters(load, c)
            lost, oldest = lost + now_lost, max(oldest, age)
            assert fsync != "always" or not lost, f"round {turn}: {lost} acknowledged writes are lost, {oldest:.3f} s old"
        server.stop()
    assert load.sent > 10 * count, f"hardly any load: {load.sent}"
    assert snapshots > count / 2, f"hardly any snapshot: {snapshots}"
    text = f"{count} kills, {load.sent} turns, {lost} writes lost, the oldest {oldest * 1000:.1f} ms; slowest start {max(starts):.2f} s"
    return lost, oldest, text


def always(scratch):
    """40 kills with --fsync always: nothing acknowledged is lost, nothing is half there"""
    return rounds(scratch / "data", "always", 40, 0.5)[2]


def evicting(scratch):
    """10 kills with --fsync always while the memory is too small"""
    server = Server(scratch / "data", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    evicting = [Evicting(number) for number in range(3)]
    load, there = Load(evicting), 0
    with server:
        for turn in range(10):
            live(server, load, History(), 0.5, 0.2 if turn % 2 else None)
            server.start()
            with server.connect() as c:
                there = sum(role.check(c) for role in evicting)
        server.stop()
    gone = sum(len(role.gone) for role in evicting)
    assert gone > 100 and there > 100, f"{gone} keys evicted, {there} there: this is no eviction"
    return f"{load.sent} turns, {gone} keys evicted, {there} there in the end"


def everysec(scratch):
    """10 kills with --fsync everysec: what is lost is at most a second old, nothing is half there"""
    _, oldest, text = rounds(scratch / "data", "everysec", 10, 0.5)
    assert oldest <= 1.0, f"a lost write was {oldest:.3f} s old"
    return text


TESTS = [always, evicting, everysec]
