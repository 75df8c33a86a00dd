"""PyPI redis (redis-py) over RESP2 and RESP3, synchronous and asynchronous."""

import asyncio
import os
import threading
import time

import pytest
import redis
import redis.asyncio


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request):
    return request.param


@pytest.fixture
def client(url, protocol):
    with redis.Redis.from_url(url, protocol=protocol) as client:
        yield client


def test_binary_and_large_values(client, key):
    for value in (b"", b"\0\r\n\xff", os.urandom(5000), os.urandom(8 << 20)):
        assert client.set(key, value) is True
        assert client.get(key) == value
    client.delete(key)


def test_shapes_of_replies(client, key):
    assert client.hset(key, mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall(key) == {b"a": b"1", b"b": b"2"}
    assert client.sadd(f"{key}s", 1, 2) == 2
    assert {bytes(m) for m in client.smembers(f"{key}s")} == {b"1", b"2"}
    assert client.zadd(f"{key}z", {"a": 1, "b": 2.5}) == 2
    scores = client.zrange(f"{key}z", 0, -1, withscores=True)
    assert [(bytes(m), s) for m, s in scores] == [(b"a", 1.0), (b"b", 2.5)]
    assert client.zscore(f"{key}z", "b") == 2.5
    assert client.zscore(f"{key}z", "x") is None
    assert client.mget(key + "x", key + "y") == [None, None]
    assert client.ttl(key) == -1
    assert client.expire(key, 100) in (True, 1)
    assert client.set(key + "v", "1", nx=True, px=100_000) is True
    assert client.set(key + "v", "1", nx=True) is None
    assert client.incrbyfloat(key + "v", 0.5) == 1.5
    assert client.type(key) == b"hash"
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.incr(key)


def test_server_commands(client):
    assert client.ping() in (True, b"PONG")
    assert client.dbsize() >= 0
    assert client.info()["redis_version"]
    assert "get" in {name.lower() for name in client.command()}
    assert client.config_get("maxmemory")
    assert abs(client.time()[0] - time.time()) < 5
    assert client.client_setname("py") in (True, b"OK")
    assert client.client_getname() in ("py", b"py")
    assert any(row["name"] == "py" for row in client.client_list())


def test_pipelines(client, key):
    with client.pipeline(transaction=False) as pipeline:
        for _ in range(5000):
            pipeline.incr(key)
        assert pipeline.execute() == list(range(1, 5001))
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set(key, 1)
        pipeline.incr(key)
        pipeline.hget(key, "f")
        replies = pipeline.execute(raise_on_error=False)
    assert replies[:2] == [True, 2] and "WRONGTYPE" in str(replies[2])


def test_watch_retries_until_it_fits(url, protocol, key):
    """Each of 4 threads adds 50, read and written under WATCH."""

    def add():
        with redis.Redis.from_url(url, protocol=protocol) as client:

            def once(pipeline):
                value = int(pipeline.get(key) or 0)
                pipeline.multi()
                pipeline.set(key, value + 1)

            for _ in range(50):
                client.transaction(once, key)

    threads = [threading.Thread(target=add) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with redis.Redis.from_url(url) as client:
        assert client.get(key) == b"200"


def test_publish_and_subscribe(client, key):
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe(key)
        subscriber.psubscribe(f"{key}.*")
        deadline = time.monotonic() + 5
        while client.publish(key, "ready") == 0 or client.pubsub_numpat() == 0:
            subscriber.get_message(timeout=0.01)
            assert time.monotonic() < deadline
        assert client.publish(f"{key}.x", b"\0binary") == 1
        assert client.publish(key, "last") == 1
        got = []
        while not got or got[-1]["data"] != b"last":
            message = subscriber.get_message(timeout=1)
            if message:
                got.append(message)
            assert time.monotonic() < deadline
        assert [m["data"] for m in got if m["data"] != b"ready"] == [b"\0binary", b"last"]
        assert {m["type"] for m in got} == {"message", "pmessage"}


def test_scripts(client, key):
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=[key], args=[5]) == 5
    client.script_flush()
    assert add(keys=[key], args=[5]) == 10
    assert client.script_exists(add.sha) == [True]
    assert client.eval("return {1, 'two', {3}}", 0) == [1, b"two", [3]]
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)
    with pytest.raises(redis.ResponseError, match="custom text"):
        client.eval("return redis.error_reply('ERR custom text')", 0)
    with client.pipeline() as pipeline:
        add(keys=[key], args=[1], client=pipeline)
        pipeline.get(key)
        assert pipeline.execute() == [11, b"11"]


def test_scan_iterators(client, key):
    client.mset({f"{key}:{i}": i for i in range(400)})
    client.hset(key, mapping={f"f{i}": i for i in range(400)})
    assert len(set(client.scan_iter(match=f"{key}:*", count=50))) == 400
    assert len(dict(client.hscan_iter(key))) == 400
    client.sadd(f"{key}s", *range(1000))
    assert len(set(client.sscan_iter(f"{key}s", count=100))) == 1000


def test_locks(client, key):
    with client.lock(key, timeout=10) as lock:
        assert lock.owned()
        assert client.lock(key, timeout=10).acquire(blocking=False) is False
    assert client.exists(key) == 0


def test_a_wrong_password(url):
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host=parts.hostname, port=parts.port, password="wrong").ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host=parts.hostname, port=parts.port).get("x")


def test_asynchronous_client(url, protocol, key):
    async def main():
        client = redis.asyncio.from_url(url, protocol=protocol)
        await asyncio.gather(*(client.incr(key) for _ in range(80)))
        assert await client.get(key) == b"80"
        async with client.pipeline(transaction=True) as pipeline:
            assert await pipeline.set(key, 1).incr(key).execute() == [True, 2]
        async with client.pubsub() as subscriber:
            await subscriber.subscribe(key)
            assert (await subscriber.get_message(timeout=5))["type"] == "subscribe"
            assert await client.publish(key, "x") == 1
            assert (await subscriber.get_message(timeout=5))["data"] == b"x"
        await client.aclose()

    asyncio.run(main())
