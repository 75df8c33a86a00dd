"""PyPI upstash-redis, unchanged: base64 on, telemetry on, read-your-writes on."""

import asyncio
import hashlib
import os

import pytest
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

VALUES = ["plain", "", "OK", "T0s=", "null", "ümlaut €", "😀👩‍👩‍👧", "a\0b", "line\r\nbreak", '"quoted"', "{", "x" * 100_000]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_come_back_as_they_went_in(upstash, key, value):
    assert upstash.set(key, value) is True
    assert upstash.get(key) == value
    assert upstash.strlen(key) == len(value.encode())


def test_without_base64(key):
    redis = Redis.from_env(rest_encoding=None)
    for value in ("OK", "T0s=", "😀", "a\0b\t"):
        redis.set(key, value)
        assert redis.get(key) == value


def test_strings(upstash, key):
    assert not upstash.set(key, "1", xx=True)
    assert upstash.set(key, "1", nx=True, ex=100) is True
    assert 95 < upstash.ttl(key) <= 100
    assert upstash.incr(key) == 2
    assert upstash.incrby(key, 5) == 7
    assert upstash.decr(key) == 6
    assert upstash.decrby(key, 6) == 0
    assert upstash.incrbyfloat(key, 0.5) == 0.5
    assert upstash.append(key, "x") == 4
    assert upstash.getrange(key, 0, 2) == "0.5"
    assert upstash.setrange(key, 0, "1") == 4
    assert upstash.getdel(key) == "1.5x"
    assert upstash.get(key) is None
    assert upstash.mset({f"{key}a": "1", f"{key}b": "2"}) is True
    assert upstash.mget(f"{key}a", f"{key}b", f"{key}c") == ["1", "2", None]
    assert upstash.setex(key, 10, "v") is True
    assert upstash.getex(key, persist=True) == "v"
    assert upstash.ttl(key) == -1


def test_bitmaps(upstash, key):
    assert upstash.setbit(key, 7, 1) == 0
    assert upstash.getbit(key, 7) == 1
    assert upstash.bitcount(key) == 1
    assert upstash.bitpos(key, 1) == 7
    assert upstash.bitfield(key).set("u8", 0, 200).get("i8", 0).execute() == [1, -56]
    assert upstash.bitop("NOT", f"{key}n", key) == 1


def test_generic(upstash, key):
    upstash.set(key, "v")
    assert upstash.exists(key, key, f"{key}x") == 2
    assert upstash.type(key) == "string"
    assert upstash.expire(key, 100, nx=True) is True
    assert upstash.expire(key, 50, gt=True) is False
    assert upstash.persist(key) is True
    assert upstash.rename(key, f"{key}b") is True
    assert upstash.copy(f"{key}b", key) is True
    assert upstash.touch(key) == 1
    assert upstash.unlink(key, f"{key}b") == 2
    assert upstash.ping() == "PONG"
    assert upstash.echo("héllo") == "héllo"
    assert len(upstash.time()) == 2
    with pytest.raises(UpstashError, match="no such key"):
        upstash.rename(f"{key}x", key)


def test_scan_loop(upstash, key):
    upstash.mset({f"{key}:{i}": "v" for i in range(300)})
    seen, cursor = set(), 0
    while True:
        cursor, page = upstash.scan(cursor, match=f"{key}:*", count=100)
        seen.update(page)
        if cursor == 0:
            break
    assert len(seen) == 300
    assert len(upstash.keys(f"{key}:*")) == 300


def test_hashes(upstash, key):
    assert upstash.hset(key, "a", "1") == 1
    assert upstash.hset(key, values={"b": "2", "c": "OK"}) == 2
    assert upstash.hgetall(key) == {"a": "1", "b": "2", "c": "OK"}
    assert upstash.hmget(key, "a", "z") == ["1", None]
    assert upstash.hincrby(key, "a", 4) == 5
    assert upstash.hincrbyfloat(key, "a", 0.5) == 5.5
    assert upstash.hexists(key, "z") is False
    assert sorted(upstash.hkeys(key)) == ["a", "b", "c"]
    assert upstash.hlen(key) == 3
    assert upstash.hdel(key, "a", "z") == 1
    assert upstash.hrandfield(key, 5, withvalues=True) == {"b": "2", "c": "OK"}
    assert upstash.hscan(key, 0)[1] == {"b": "2", "c": "OK"}


def test_sets(upstash, key):
    other = f"{key}o"
    assert upstash.sadd(key, "a", "b", "c") == 3
    upstash.sadd(other, "b", "d")
    assert set(upstash.smembers(key)) == {"a", "b", "c"}
    assert upstash.sismember(key, "a") is True
    assert upstash.smismember(key, "a", "z") == [True, False]
    assert set(upstash.sinter(key, other)) == {"b"}
    assert set(upstash.sunion(key, other)) == {"a", "b", "c", "d"}
    assert set(upstash.sdiff(key, other)) == {"a", "c"}
    assert upstash.sunionstore(f"{key}u", key, other) == 4
    assert upstash.smove(key, other, "a") is True
    assert upstash.spop(key) in ("b", "c")
    assert upstash.scard(key) == 1


def test_sorted_sets(upstash, key):
    assert upstash.zadd(key, {"a": 1, "b": 2.5, "c": 3}) == 3
    assert upstash.zadd(key, {"a": 5}, gt=True, ch=True) == 1
    assert upstash.zscore(key, "b") == 2.5
    assert upstash.zmscore(key, ["b", "z"]) == [2.5, None]
    assert upstash.zrange(key, 0, -1) == ["b", "c", "a"]
    assert upstash.zrange(key, 0, 0, withscores=True) == [("b", 2.5)]
    assert upstash.zrangebyscore(key, "(2.5", "+inf") == ["c", "a"]
    assert upstash.zincrby(key, 1, "a") == 6
    assert upstash.zrank(key, "a") == 2
    assert upstash.zcount(key, 0, 3) == 2
    assert upstash.zpopmax(key) == [("a", 6.0)]
    assert upstash.zunionstore(f"{key}u", [key, key], aggregate="SUM") == 2
    assert upstash.zscan(key, 0)[1] == [("b", 2.5), ("c", 3.0)]


def test_pipeline_and_transaction(upstash, key):
    pipeline = upstash.pipeline()
    pipeline.set(key, "1").incr(key)
    pipeline.hset(f"{key}h", "f", "v")
    assert pipeline.exec() == [True, 2, 1]
    transaction = upstash.multi()
    transaction.set(key, "5")
    transaction.incr(key)
    transaction.get(key)
    assert transaction.exec() == [True, 6, "6"]
    bad = upstash.pipeline()
    bad.set(key, "text")
    bad.incr(key)
    with pytest.raises(UpstashError, match="not an integer"):
        bad.exec()


def test_scripts(upstash, key):
    text = f"return {{KEYS[1], ARGV[1], 'OK', '{key}'}}"
    sha = hashlib.sha1(text.encode()).hexdigest()
    with pytest.raises(UpstashError, match="NOSCRIPT No matching script. Please use EVAL."):
        upstash.evalsha(sha, keys=[key], args=["a"])
    assert upstash.eval(text, keys=[key], args=["a"]) == [key, "a", "OK", key]
    assert upstash.evalsha(sha, keys=[key], args=["a"]) == [key, "a", "OK", key]
    assert upstash.script_load(text) == sha
    assert upstash.script_exists(sha, "0" * 40) == [True, False]
    assert upstash.eval_ro("return redis.call('GET', KEYS[1])", keys=[key]) is None


def test_publish_without_anybody(upstash, key):
    assert upstash.publish(key, "hello") == 0


def test_errors(upstash, key):
    upstash.set(key, "text")
    with pytest.raises(UpstashError, match="WRONGTYPE"):
        upstash.hget(key, "f")
    with pytest.raises(UpstashError, match="Command is not available: 'NOSUCHCOMMAND'"):
        upstash.execute(["NOSUCHCOMMAND"])
    with pytest.raises(UpstashError, match="WRONGPASS invalid or missing auth token"):
        Redis(os.environ["UPSTASH_REDIS_REST_URL"], "wrong", rest_retries=0).get(key)


def test_asynchronous_client(key):
    async def main():
        async with AsyncRedis.from_env() as redis:
            await asyncio.gather(*(redis.incr(key) for _ in range(50)))
            assert await redis.get(key) == "50"
            values = await asyncio.gather(*(redis.echo(f"{i}") for i in range(50)))
            assert values == [str(i) for i in range(50)]

    asyncio.run(main())
