#!/usr/bin/env python3
"""Side by side with peers, in one run: RESP against redis-server, REST against a
bare hyper server and an npm peer, durable writes against redis-server on the same
disk, the other families of commands, wake-ups of clients that wait, memory of a
million keys and of a list and a stream of a million elements, calls in process.

Both sides run on this machine, the order alternates, the median of the rounds
counts, and CPU time an operation is taken from /proc. Prints Markdown.

    benches/compare.py [--rounds 3] [--only resp,families,wake,journal,rest,memory,process] [--quick]
"""

import argparse
import csv
import io
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TICK = os.sysconf("SC_CLK_TCK")
SCRIPT = "return redis.call('INCR', KEYS[1])"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=10):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


class Server:
    def __init__(self, name, argv, port, http=None):
        self.name, self.port, self.http = name, port, http
        self.process = subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        wait_for(port)
        if http:
            wait_for(http)

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def sangam(data="memory", *more):
    http, resp = free_port(), free_port()
    argv = [str(TARGET / "release/sangam"), "serve", "--data", data, "--token", "bench"]
    argv += ["--http", f"127.0.0.1:{http}", "--resp", f"127.0.0.1:{resp}", *more]
    return Server("sangam", argv, resp, http)


def gateway(store):
    """The gateway in front of another store."""
    http = free_port()
    argv = [str(TARGET / "release/sangam"), "serve", "--data", "memory", "--token", "bench"]
    argv += ["--http", f"127.0.0.1:{http}", "--store", store]
    return Server("sangam --store", argv, http, http)


def redis(*more):
    port = free_port()
    argv = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    argv += ["--requirepass", "bench", "--bind", "127.0.0.1", *more]
    return Server("redis", argv, port)


def benchmark(server, pipeline, requests, command):
    """One redis-benchmark run: requests a second, p99 in ms, CPU us an operation."""
    argv = ["redis-benchmark", "-p", str(server.port), "-a", "bench", "-c", "50"]
    argv += ["-P", str(pipeline), "-n", str(requests), "--csv"] + command
    before = server.cpu()
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    spent = server.cpu() - before
    rows = [row for row in csv.reader(io.StringIO(output)) if len(row) >= 8]
    rate, p99 = float(rows[-1][1]), float(rows[-1][6])
    return rate, p99, spent * 1e6 / requests


def cli(server, *command):
    argv = ["redis-cli", "-p", str(server.port), "-a", "bench", "--no-auth-warning", *command]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


COLUMNS = ("sangam/s | redis/s | ratio | sangam CPU us/op | redis CPU us/op | CPU ratio "
           "| sangam p99 ms | redis p99 ms |")


def side_by_side(servers, rounds, pipeline, requests, command):
    """Both servers in turn, the order alternated; the medians as cells of a table."""
    samples = {server.name: [] for server in servers}
    for turn in range(rounds):
        for server in servers if turn % 2 == 0 else servers[::-1]:
            samples[server.name].append(benchmark(server, pipeline, requests, command))
    return row_of(samples, servers)


def row_of(samples, servers):
    ours, theirs = (
        [statistics.median(column) for column in zip(*samples[server.name])]
        for server in servers
    )
    return (f"{ours[0]:,.0f} | {theirs[0]:,.0f} | {ours[0] / theirs[0]:.2f} "
            f"| {ours[2]:.2f} | {theirs[2]:.2f} | {ours[2] / theirs[2]:.2f} "
            f"| {ours[1]:.2f} | {theirs[1]:.2f} |")


def journal(rounds, scale):
    print("### Durable: redis-benchmark SET on 100,000 keys, 50 connections, both on one disk\n")
    print(f"| fsync | -P | {COLUMNS}")
    print("|--|--|--|--|--|--|--|--|--|--|")
    command = ["-t", "set", "-r", "100000"]
    for policy, runs in {
        "everysec": ((1, 200_000), (16, 2_000_000)),
        "always": ((1, 200_000), (16, 1_000_000)),
    }.items():
        with tempfile.TemporaryDirectory(dir=TARGET) as folder:
            (Path(folder) / "redis").mkdir()
            servers = [
                sangam(f"{folder}/sangam", "--fsync", policy),
                redis("--appendonly", "yes", "--appendfsync", policy, "--dir", f"{folder}/redis"),
            ]
            try:
                for pipeline, requests in runs:
                    row = side_by_side(servers, rounds, pipeline, int(requests * scale), command)
                    print(f"| {policy} | {pipeline} | {row}", flush=True)
            finally:
                for server in servers:
                    server.stop()
    print("\nIn process:\n\n```")
    print(subprocess.run([str(TARGET / "release/examples/journal"), "1000000",
                          str(TARGET / "journal-bench")],
                         capture_output=True, text=True, check=True).stdout.strip())
    print("```\n")


def resp(rounds, scale):
    tests = {name: ["-t", name.lower()] for name in ("SET", "GET", "INCR", "HSET", "ZADD")}
    servers = [sangam(), redis()]
    try:
        shas = {server.name: cli(server, "script", "load", SCRIPT) for server in servers}
        assert len(set(shas.values())) == 1, shas
        tests["EVALSHA"] = ["evalsha", shas["redis"], "1", "counter:script"]
        print("### RESP: redis-benchmark, 50 connections, no persistence on either side\n")
        print(f"| test | -P | {COLUMNS}")
        print("|--|--|--|--|--|--|--|--|--|--|")
        for pipeline, requests in ((1, 200_000), (16, 2_000_000)):
            for test, command in tests.items():
                row = side_by_side(servers, rounds, pipeline, int(requests * scale), command)
                print(f"| {test} | {pipeline} | {row}", flush=True)
    finally:
        for server in servers:
            server.stop()
    print()


def fill(server, count, command):
    """Runs one command (bytes of its arguments) `count` times, as fast as it goes."""
    one = b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in command)
    argv = ["redis-cli", "-p", str(server.port), "-a", "bench", "--pipe"]
    subprocess.run(argv, input=one * count, check=True, capture_output=True)


def families(rounds, scale):
    """Lists, streams, geo sets and HyperLogLogs. XREADGROUP reads entries one by one
    that were added before; a run begins with what it needs and nothing else."""
    print("### Other families: redis-benchmark -P 16, 50 connections, no persistence\n")
    print(f"| test | {COLUMNS}")
    print("|--|--|--|--|--|--|--|--|--|")
    requests = int(1_000_000 * scale)
    place = ["geoadd", "geo", "13.__rand_int__", "38.1", "place:__rand_int__"]
    runs = {
        "LPUSH": (None, requests, ["-t", "lpush"]),
        "RPOP": ([b"RPUSH", b"mylist", b"xxx"], requests, ["-t", "rpop"]),
        "LRANGE_100": ([b"RPUSH", b"mylist", b"xxx"], requests // 10, ["lrange", "mylist", "0", "99"]),
        "XADD": (None, requests, ["xadd", "stream", "*", "field", "value"]),
        "XREADGROUP": ([b"XADD", b"stream", b"*", b"field", b"value"], requests // 2,
                       ["xreadgroup", "group", "g", "c", "count", "1", "streams", "stream", ">"]),
        "GEOADD": (None, requests, ["-r", "100000", *place]),
        "PFADD": (None, requests, ["-r", "100000", "pfadd", "hll", "element:__rand_int__"]),
    }
    servers = [sangam(), redis()]
    try:
        for test, (before, count, command) in runs.items():
            samples = {server.name: [] for server in servers}
            for turn in range(rounds):
                for server in servers if turn % 2 == 0 else servers[::-1]:
                    cli(server, "flushall")
                    if before:
                        fill(server, 1000 if test == "LRANGE_100" else count, before)
                    if test == "XREADGROUP":
                        cli(server, "xgroup", "create", "stream", "g", "0")
                    samples[server.name].append(benchmark(server, 16, count, command))
            print(f"| {test} | {row_of(samples, servers)}", flush=True)
    finally:
        for server in servers:
            server.stop()
    print()


def wake(scale):
    """From an LPUSH's sending to the reply of the client that waits for the list, with
    49 others that wait for lists of their own."""
    print("### Waking: a client in BLPOP, 49 others waiting for other lists\n")
    print("| server | median us | p99 us |")
    print("|--|--|--|")
    count = int(20_000 * scale)
    servers = [sangam(), redis()]
    latencies = {server.name: [] for server in servers}
    try:
        sockets = {}
        for server in servers:
            def connect():
                client = socket.create_connection(("127.0.0.1", server.port))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(b"AUTH bench\r\n")
                assert client.recv(100) == b"+OK\r\n"
                return client
            others = [connect() for _ in range(49)]
            for number, client in enumerate(others):
                client.sendall(b"BLPOP other:%d 0\r\n" % number)
            sockets[server.name] = connect(), connect(), others
        block = 500
        for turn in range(count // block):
            for server in servers if turn % 2 == 0 else servers[::-1]:
                waiter, pusher, _ = sockets[server.name]
                for _ in range(block):
                    waiter.sendall(b"BLPOP list 0\r\n")
                    # It has to be waiting; a round trip of another client says so.
                    pusher.sendall(b"PING\r\n")
                    assert pusher.recv(100) == b"+PONG\r\n"
                    time.sleep(0.0001)
                    began = time.perf_counter_ns()
                    pusher.sendall(b"LPUSH list x\r\n")
                    assert waiter.recv(100).endswith(b"x\r\n")
                    latencies[server.name].append((time.perf_counter_ns() - began) / 1000)
                    assert pusher.recv(100) == b":1\r\n"
    finally:
        for server in servers:
            server.stop()
    for name, values in latencies.items():
        values.sort()
        print(f"| {name} | {statistics.median(values):.0f} | {values[int(len(values) * 0.99)]:.0f} |")
    print()


def wrk(port, connections, script, seconds):
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    output = subprocess.run(
        [*argv, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    ).stdout
    errors = re.search(r"Non-2xx.*", output)
    assert not errors, output
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    return rate, re.search(r"99%\s+(\S+)", output)[1]


def rest(rounds, scale):
    seconds = max(2, int(5 * scale))
    folder = ROOT / "benches"
    ours = sangam()
    bare_port = free_port()
    bare = Server("bare hyper", [str(TARGET / "release/examples/bare_hyper"),
                                 f"127.0.0.1:{bare_port}"], bare_port)
    peers = []
    backend = redis()
    over = gateway(f"redis://:bench@127.0.0.1:{backend.port}")
    peer_script = folder / "peer/node_modules/@humanwhocodes/upstash-redis-server/dist/server.js"
    if not peer_script.exists():
        print("(the npm peer is left out: npm ci --prefix benches/peer)\n")
    for server in (ours, backend):
        cli(server, "set", "bench:value", "x" * 100)
    try:
        if peer_script.exists():
            port = free_port()
            env = dict(os.environ, URS_TOKEN="bench", PORT=str(port),
                       REDIS_URL=f"redis://:bench@127.0.0.1:{backend.port}")
            process = subprocess.Popen(["node", str(peer_script)], env=env, cwd=ROOT,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(port)
            peers.append((process, port))
        print("### REST: wrk -t1, GET of 100 B, base64\n")
        print("| what | connections | requests/s | commands/s | p99 |")
        print("|--|--|--|--|--|")
        results = {}
        sides = [("bare hyper, constant", bare_port, 64, "rest_get.lua", 1),
                 ("sangam POST /", ours.http, 64, "rest_get.lua", 1),
                 ("sangam /pipeline of 100", ours.http, 4, "rest_pipeline.lua", 100),
                 ("sangam --store redis:// POST /", over.http, 64, "rest_get.lua", 1),
                 ("sangam --store redis:// /pipeline of 100", over.http, 4, "rest_pipeline.lua",
                  100)]
        if peers:
            sides.append(("npm @humanwhocodes/upstash-redis-server", peers[0][1], 64,
                          "rest_get_plain.lua", 1))
        samples = {name: [] for name, *_ in sides}
        for turn in range(rounds):
            for name, port, connections, script, _ in sides if turn % 2 == 0 else sides[::-1]:
                samples[name].append(wrk(port, connections, folder / script, seconds))
        for name, _, connections, _, factor in sides:
            rate = statistics.median(sample[0] for sample in samples[name])
            results[name] = rate * factor
            print(f"| {name} | {connections} | {rate:,.0f} | {rate * factor:,.0f} "
                  f"| {samples[name][-1][1]} |")
        single = results["sangam POST /"]
        print(f"\nPOST / is {single / results['bare hyper, constant']:.2f} of bare hyper; "
              f"/pipeline is {results['sangam /pipeline of 100'] / single:.1f} times single "
              "requests by commands.", end="")
        if peers:
            peer = results["npm @humanwhocodes/upstash-redis-server"]
            before = results["sangam --store redis:// POST /"]
            print(f" POST / is {single / peer:.1f} times the npm peer, and in front of the same "
                  f"redis-server {before / peer:.1f} times.", end="")
        print("\n")
    finally:
        for process, _ in peers:
            process.terminate()
        for server in (ours, bare, over, backend):
            server.stop()


def memory(keys=1_000_000):
    print("### Memory: a million keys of 16 B with values of 64 B\n")
    print("| server | resident before | after | a key |")
    print("|--|--|--|--|")
    sizes = {}
    for make in (sangam, redis):
        server = make()
        try:
            before = server.rss()
            chunks = []
            value = b"v" * 64
            for number in range(keys):
                key = b"key:%012d" % number
                chunks.append(b"*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$64\r\n%s\r\n" % (key, value))
            argv = ["redis-cli", "-p", str(server.port), "-a", "bench", "--pipe"]
            subprocess.run(argv, input=b"".join(chunks), check=True, capture_output=True)
            assert int(cli(server, "dbsize")) == keys
            after = server.rss()
            sizes[server.name] = after
            print(f"| {server.name} | {before / 1e6:.1f} MB | {after / 1e6:.1f} MB "
                  f"| {(after - before) / keys:.0f} B |")
        finally:
            server.stop()
    print(f"\nsangam holds {sizes['sangam'] / sizes['redis']:.2f} of redis-server's memory.\n")
    print("### Memory: a million elements in one key\n")
    print("| key | sangam | redis | ratio |")
    print("|--|--|--|--|")
    commands = {
        "list, elements of 10 B": [b"RPUSH", b"key", b"element-10"],
        "stream, one field of 10 B": [b"XADD", b"key", b"*", b"field", b"element-10"],
    }
    for what, command in commands.items():
        grown = {}
        for make in (sangam, redis):
            server = make()
            try:
                # Buffers of connections are there before the count begins.
                fill(server, keys, [b"ECHO", b"element-10element-10"])
                before = server.rss()
                fill(server, keys, command)
                grown[server.name] = server.rss() - before
            finally:
                server.stop()
        ours, theirs = grown["sangam"], grown["redis"]
        print(f"| {what} | {ours / 1e6:.1f} MB | {theirs / 1e6:.1f} MB | {ours / theirs:.2f} |")
    print()


def example(name, title, *arguments):
    """A measurement that prints both of its sides itself."""
    print(f"### {title}\n\n```")
    program = [str(TARGET / "release/examples" / name), *arguments]
    print(subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip())
    print("```\n")


def store():
    example("engine_speed", "A store over the engine")
    backend = redis()
    try:
        example("redis_speed", "A store over Redis, beside bare redis-rs",
                f"redis://:bench@127.0.0.1:{backend.port}")
    finally:
        backend.stop()
    example("rest_speed", "A store over REST, beside one request a call")


def process():
    example("in_process", "In process: 100,000 keys, one thread")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="resp,families,wake,journal,rest,store,memory,process")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    options = parser.parse_args()
    scale = 0.1 if options.quick else 1.0
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    model = model[1] if model else platform.processor()
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
    version = re.search(r"v=([\d.]+)", version)[1]
    print(f"Machine: {os.cpu_count()} cores, {model}; {platform.system()} {platform.release()}; "
          f"redis {version}; median of {options.rounds} rounds.\n")
    chosen = options.only.split(",")
    if "resp" in chosen:
        resp(options.rounds, scale)
    if "families" in chosen:
        families(options.rounds, scale)
    if "wake" in chosen:
        wake(scale)
    if "journal" in chosen:
        journal(options.rounds, scale)
    if "rest" in chosen:
        rest(options.rounds, scale)
    if "store" in chosen:
        store()
    if "memory" in chosen:
        memory()
    if "process" in chosen:
        process()


if __name__ == "__main__":
    sys.exit(main())
