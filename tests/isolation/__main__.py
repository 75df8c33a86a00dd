"""Nobody gets what belongs to another, and nobody stops the others.

    tests/with-sangam python3 tests/isolation [--seconds 10]

Crowd: 64 clients of single commands and 16 of transactions and scripts, over
RESP and REST at once. Every value names its client and its turn, so a reply
that went astray is seen at once; what each counted adds up in the end.
Busy: a script loops for 5 seconds; /live answers all the while, commands are
served or refused with BUSY, SCRIPT KILL ends it.
"""

import argparse
import collections
import hashlib
import itertools
import multiprocessing
import pathlib
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from raw.resp import Connection, plain  # noqa: E402
from raw.rest import Gateway  # noqa: E402

# Writes a shared key, counts, and reads it back: atomic or caught.
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]) local n = redis.call('INCR', KEYS[2]) return {redis.call('GET', KEYS[1]), n}"
KEY_LOCKING = "#!lua flags=allow-key-locking\n" + SCRIPT
SHARED = "shared:value"
COUNTER = "shared:counter"
LIVE_P99_MS = 50.0


class Astray(AssertionError):
    """A reply that is not the caller's own."""


def expect(got, wanted, what):
    if got != wanted:
        raise Astray(f"{what}: got {got!r}, wanted {wanted!r}")


def increasing(last, number, what):
    if not number > last:
        raise Astray(f"{what}: {number} after {last}")
    return number


def plain_resp(me, turns):
    with Connection() as c:
        for turn in turns:
            mine = f"{me}.{turn}".encode()
            expect(c.ask("ECHO", mine), mine, "ECHO")
            replies = c.pipeline([("SET", f"own:{me}", mine), ("INCR", COUNTER), ("GET", f"own:{me}"), ("HSET", f"h:{me}", "f", mine), ("HGET", f"h:{me}", "f")])
            expect([plain(replies[at]) for at in (0, 2, 4)], [b"OK", mine, mine], "pipeline")
            yield 1


def plain_rest(me, turns):
    gateway = Gateway()
    for turn in turns:
        mine = f"{me}.{turn}"
        expect(gateway.result("SET", f"own:{me}", mine), "OK", "SET")
        expect(gateway.result("GET", f"own:{me}"), mine, "GET")
        answers = gateway.request("POST", "/pipeline", [["ECHO", mine], ["INCR", COUNTER], ["GET", f"own:{me}"]]).json
        expect([answers[0]["result"], answers[2]["result"]], [mine, mine], "/pipeline")
        expect(gateway.request("GET", f"/echo/{mine}").json["result"], mine, "path form")
        yield 1


def exec_resp(me, turns):
    last = 0
    with Connection() as c:
        for turn in turns:
            mine = f"{me}.{turn}".encode()
            commands = [("MULTI",), ("SET", SHARED, mine), ("INCR", COUNTER), ("GET", SHARED), ("INCR", COUNTER), ("ECHO", mine), ("EXEC",)]
            replies = [plain(reply) for reply in c.pipeline(commands)]
            expect(replies[:6], [b"OK"] + [b"QUEUED"] * 5, "queueing")
            first, second = replies[6][1], replies[6][3]
            expect(replies[6], [b"OK", first, mine, first + 1, mine], "EXEC")
            last = increasing(last, second, "EXEC's counter")
            yield 2


def exec_rest(me, turns):
    gateway, last = Gateway(), 0
    for turn in turns:
        mine = f"{me}.{turn}"
        commands = [["SET", SHARED, mine], ["INCR", COUNTER], ["GET", SHARED], ["INCR", COUNTER], ["ECHO", mine]]
        results = [item.get("result") for item in gateway.request("POST", "/multi-exec", commands).json]
        expect(results, ["OK", results[1], mine, results[1] + 1, mine], "/multi-exec")
        last = increasing(last, results[3], "/multi-exec's counter")
        yield 2


def script_resp(me, turns):
    last, sha = 0, hashlib.sha1(SCRIPT.encode()).hexdigest()
    with Connection() as c:
        c.call("SCRIPT", "LOAD", SCRIPT)
        for turn in turns:
            mine = f"{me}.{turn}".encode()
            value, number = c.ask("EVALSHA", sha, 2, SHARED, COUNTER, mine)
            expect(value, mine, "EVALSHA")
            last = increasing(last, number, "EVALSHA's counter")
            yield 1


def script_rest(me, turns):
    gateway, last = Gateway(), 0
    for turn in turns:
        mine = f"{me}.{turn}"
        value, number = gateway.result("EVAL", KEY_LOCKING, 2, SHARED, COUNTER, mine)
        expect(value, mine, "EVAL over REST")
        last = increasing(last, number, "EVAL's counter")
        yield 1


CROWD = [(plain_resp, 40), (plain_rest, 24), (exec_resp, 5), (exec_rest, 5), (script_resp, 3), (script_rest, 3)]


def one_client(role, me, end, out):
    turns = counted = 0
    problem = None
    try:
        for step in role(me, itertools.takewhile(lambda _: time.monotonic() < end, itertools.count())):
            turns, counted = turns + 1, counted + step
    except Exception as error:
        problem = f"{me}: {type(error).__name__}: {error}" if isinstance(error, Astray) else f"{me}: {traceback.format_exc(limit=3)}"
    out.append((role.__name__, turns, counted, problem))


def some_clients(share, seconds):
    """A process with its share of the crowd, a thread a client."""
    out, end = [], time.monotonic() + seconds
    threads = [threading.Thread(target=one_client, args=(role, me, end, out)) for role, me in share]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return out


def crowd(seconds):
    with Connection() as c:
        c.call("FLUSHALL")
    clients = [(role, f"{role.__name__}-{n}") for role, count in CROWD for n in range(count)]
    processes = 4
    with multiprocessing.Pool(processes) as pool:
        shares = [(clients[at::processes], seconds) for at in range(processes)]
        results = [row for part in pool.starmap(some_clients, shares) for row in part]
    with Connection() as c:
        total = int(c.ask("GET", COUNTER))
    turns = collections.Counter()
    for role, count, _, _ in results:
        turns[role] += count
    print("  turns:", ", ".join(f"{role} {count}" for role, count in turns.items()))
    problems = [problem for *_, problem in results if problem]
    assert not problems, f"{len(problems)} clients failed, first: {problems[0]}"
    assert all(count for _, count, _, _ in results), "a client had no turn at all"
    counted = sum(count for _, _, count, _ in results)
    assert total == counted, f"the counter says {total}, the clients counted {counted}"


def live_latencies(until):
    """/live every few milliseconds; how long each took, in milliseconds."""
    gateway, took = Gateway(), []
    while not until.is_set():
        began = time.perf_counter()
        assert gateway.request("GET", "/live", auth=False).status == 200
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(0.005)
    return sorted(took)


def busy(threshold_ms=200, seconds=5.0):
    with Connection() as control:
        control.call("FLUSHALL")
        control.ask("SET", "victim", "before")
        before = control.ask("CONFIG", "GET", "busy-reply-threshold")[1]
        assert control.ask("CONFIG", "SET", "busy-reply-threshold", threshold_ms) == b"OK"
        try:
            looping(control, seconds)
        finally:
            control.call("SCRIPT", "KILL")
            control.call("CONFIG", "SET", "busy-reply-threshold", before)


def looping(control, seconds):
    """A script without end, what others see of it, and its end."""
    answer, ended, latencies = [], threading.Event(), []

    def loop():
        with Connection(timeout=60) as c:
            answer.append(c.ask("EVAL", "redis.call('GET', KEYS[1]) while true do end", 1, "victim"))
        ended.set()

    stop = threading.Event()
    watcher = threading.Thread(target=lambda: latencies.extend(live_latencies(stop)))
    runner = threading.Thread(target=loop)
    watcher.start()
    runner.start()
    began = time.monotonic()
    outcomes = collections.Counter()
    slowest = 0.0
    with Connection() as other:
        gateway = Gateway()
        while time.monotonic() - began < seconds:
            at = time.monotonic()
            reply = other.ask("GET", "victim")
            if isinstance(reply, tuple):
                assert reply[1].startswith("BUSY "), reply
                outcomes["BUSY over RESP"] += 1
            else:
                assert reply == b"before"
                outcomes["served over RESP"] += 1
            body = gateway.call("GET", "victim").json
            assert body.get("result") == "before" or body["error"].startswith("BUSY "), body
            outcomes["served over REST" if "result" in body else "BUSY over REST"] += 1
            slowest = max(slowest, time.monotonic() - at)
            assert not ended.is_set(), f"the loop ended by itself: {answer}"
            time.sleep(0.02)
        assert other.ask("PING") == b"PONG", "PING takes no lock"
        assert control.ask("SCRIPT", "KILL") == b"OK"
        assert ended.wait(2), "SCRIPT KILL did not end the script"
        stop.set()
        watcher.join()
        runner.join()
        p99, worst = latencies[int(len(latencies) * 0.99)], latencies[-1]
        print(f"  /live: {len(latencies)} answers, p50 {latencies[len(latencies) // 2]:.2f} ms, p99 {p99:.2f} ms, worst {worst:.2f} ms")
        print(f"  others: {dict(outcomes)}, slowest {slowest * 1000:.0f} ms")
        assert answer[0][0] == "error" and "Script killed by user with SCRIPT KILL" in answer[0][1], answer
        assert p99 < LIVE_P99_MS, f"/live took {p99:.1f} ms (p99)"
        assert slowest < 2, f"a command waited {slowest:.1f} s"
        assert outcomes["BUSY over RESP"] and outcomes["BUSY over REST"], outcomes
        assert other.ask("GET", "victim") == b"before"
        assert control.ask("SCRIPT", "KILL")[1] == "NOTBUSY No scripts in execution right now."


def killed_writer():
    """A script that wrote is killed with all it wrote, or says that it cannot be."""
    answer = []

    def loop():
        with Connection(timeout=60) as c:
            script = "redis.call('SET', KEYS[1], 'after') local t = redis.call('TIME') repeat local n = redis.call('TIME') until n[1] - t[1] > 2"
            answer.append(c.ask("EVAL", script, 1, "victim"))

    with Connection() as c:
        c.ask("SET", "victim", "before")
        runner = threading.Thread(target=loop)
        runner.start()
        time.sleep(0.5)
        reply = c.ask("SCRIPT", "KILL")
        runner.join()
        value = c.ask("GET", "victim")
        print(f"  SCRIPT KILL of a writer: {reply}, then the key is {value}")
        if reply == b"OK":
            assert value == b"before", "killed, and half of it stayed"
        else:
            assert reply[1].startswith("UNKILLABLE"), reply
            assert value == b"after"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    passed = failed = 0
    for name, test in (("crowd", lambda: crowd(options.seconds)), ("busy", busy), ("killed writer", killed_writer)):
        try:
            test()
            passed += 1
            print(f"ok   {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc(limit=4)}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(bool(failed))


main()
