"""redis-cli and redis-benchmark as people use them."""

import os
import subprocess
from urllib.parse import urlsplit

import pytest

from raw.resp import encode


def cli(*args, stdin=None, ok=True):
    argv = ["redis-cli", "-u", os.environ["REDIS_URL"], "--no-auth-warning", *args]
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=60)
    if ok:
        assert done.returncode == 0, done.stderr
    return done.stdout.decode(errors="replace")


def test_one_command(key):
    assert cli("SET", key, "hello world") == "OK\n"
    assert cli("GET", key) == "hello world\n"
    assert cli("--no-raw", "GET", key) == '"hello world"\n'
    assert cli("--no-raw", "GET", key + "x") == "(nil)\n"
    assert "WRONGTYPE" in cli("HGET", key, "f", ok=False)
    assert cli("-x", "SET", key, stdin=b"\0\xff\r\n") == "OK\n"
    assert cli("--no-raw", "GET", key) == '"\\x00\\xff\\r\\n"\n'


def test_commands_from_a_file(key):
    script = f"SET {key} 1\nINCR {key}\nMULTI\nINCR {key}\nGET {key}\nEXEC\nHGET {key} f\nPING\n"
    out = cli("--no-raw", stdin=script.encode(), ok=False)
    assert out.splitlines()[:6] == ["OK", "(integer) 2", "OK", "QUEUED", "QUEUED", "1) (integer) 3"]
    assert out.splitlines()[-1] == "PONG"


def test_resp3(key):
    cli("HSET", key, "a", "1", "b", "2")
    out = cli("-3", "--no-raw", "HGETALL", key)
    assert out == '1# "a" => "1"\n2# "b" => "2"\n'
    cli("ZADD", f"{key}z", "1.5", "m")
    assert cli("-3", "--no-raw", "ZSCORE", f"{key}z", "m") == "(double) 1.5\n"
    assert '"proto" => (integer) 3' in cli("-3", "--no-raw", "HELLO")


def test_csv_and_json(key):
    cli("HSET", key, "a", "x,y", "b", 'say "hi"')
    assert cli("--csv", "HGETALL", key) == '"a","x,y","b","say \\"hi\\""\n'
    assert cli("-3", "--json", "HGETALL", key) == '{"a":"x,y","b":"say \\"hi\\""}\n'


def test_scan_and_bigkeys(key):
    cli("EVAL", "for i = 1, 500 do redis.call('SET', KEYS[1] .. i, i) end", "1", key)
    assert len(cli("--scan", "--pattern", f"{key}*").split()) == 500
    cli("FLUSHALL")
    cli("EVAL", "for i = 1, 300 do redis.call('HSET', KEYS[1], i, i) end", "1", f"{key}:hash")
    big = cli("--bigkeys")
    assert f"Biggest   hash found '\"{key}:hash\"' has 300 fields" in big
    assert f"{key}:hash" in cli("--memkeys")


def test_eval_file(key, tmp_path):
    script = tmp_path / "script.lua"
    script.write_text("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
    assert cli("--eval", str(script), key, ",", "argument").split() == [key, "argument", "1"]
    script.write_text("return redis.call('NOSUCH')")
    assert "Unknown Redis command called from script" in cli("--eval", str(script), ok=False)


def test_pipe_of_100_000_commands(key):
    load = b"".join(encode(("SET", f"{key}:{i}", "value")) for i in range(100_000))
    out = cli("--pipe", stdin=load)
    assert "errors: 0, replies: 100000" in out
    assert cli("GET", f"{key}:99999") == "value\n"
    assert cli("EVAL", "local c, n = '0', 0 repeat local r = redis.call('SCAN', c, 'COUNT', 1000, 'MATCH', ARGV[1]) "
               "c = r[1] n = n + #r[2] for _, k in ipairs(r[2]) do redis.call('DEL', k) end until c == '0' return n",
               "0", f"{key}:*") == "100000\n"


def test_pipe_counts_errors(key):
    load = encode(("SET", key, "text")) + encode(("INCR", key)) + encode(("GET", key))
    assert "errors: 1, replies: 3" in cli("--pipe", stdin=load, ok=False)


def test_a_wrong_password():
    parts = urlsplit(os.environ["REDIS_URL"])
    done = subprocess.run(
        ["redis-cli", "-h", parts.hostname, "-p", str(parts.port), "-a", "wrong", "PING"], capture_output=True, timeout=20
    )
    assert b"WRONGPASS" in done.stderr + done.stdout or b"NOAUTH" in done.stdout


@pytest.mark.parametrize("pipeline", ["1", "16"])
def test_benchmark_runs_without_errors(pipeline):
    parts = urlsplit(os.environ["REDIS_URL"])
    argv = ["redis-benchmark", "-h", parts.hostname, "-p", str(parts.port), "-a", parts.password, "-q", "-n", "20000"]
    argv += ["-c", "50", "-P", pipeline, "-r", "1000"]
    done = subprocess.run(argv, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"rror" not in done.stdout + done.stderr.replace(b"Warning: Using a password", b""), done.stdout + done.stderr
