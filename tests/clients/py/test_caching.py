"""What clients are told unasked, as redis-py reads it: invalidations of its own
client-side cache, MONITOR, keyspace events."""

import time

import pytest
import redis
from redis.cache import CacheConfig


def until(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


@pytest.fixture
def cached(url):
    with redis.Redis.from_url(url, protocol=3, decode_responses=True, cache_config=CacheConfig()) as client:
        yield client


@pytest.fixture
def other(url):
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


def test_what_was_read_is_kept_until_it_changes(cached, other, key):
    other.set(key, "one")
    assert cached.get(key) == "one"
    assert cached.get_cache().size == 1
    # From the cache: the server would not know of it.
    calls = other.info("commandstats")["cmdstat_get"]["calls"]
    assert cached.get(key) == "one"
    assert other.info("commandstats")["cmdstat_get"]["calls"] == calls
    other.set(key, "two")
    until(lambda: cached.get(key) == "two")


def test_no_reply_is_older_than_what_the_client_itself_wrote(cached, key):
    for number in range(50):
        cached.set(key, number)
        assert cached.get(key) == str(number)


def test_expiry_and_flush_empty_the_cache(cached, other, key):
    other.set(key, "short", px=400)
    assert cached.get(key) == "short"
    until(lambda: cached.get(key) is None)
    other.hset(f"{key}:h", "f", "v")
    assert cached.hget(f"{key}:h", "f") == "v"
    other.delete(f"{key}:h")
    until(lambda: cached.hget(f"{key}:h", "f") is None)


def test_monitor_shows_commands(url, other, key):
    with redis.Redis.from_url(url, decode_responses=True) as client, client.monitor() as monitor:
        other.set(key, 'a "b"\n')
        for seen in monitor.listen():
            if key in seen["command"]:
                break
        assert seen["command"].split(" ")[:2] == ["SET", key]
        assert seen["client_type"] == "tcp" and seen["db"] == 0


def test_events_of_keys(url, other, key):
    other.config_set("notify-keyspace-events", "KEA")
    try:
        with redis.Redis.from_url(url, decode_responses=True) as client, client.pubsub() as listener:
            listener.psubscribe(f"__keyspace@0__:{key}")
            assert listener.get_message(timeout=2)["type"] == "psubscribe"
            other.set(key, "v", ex=100)
            other.delete(key)
            heard = [listener.get_message(timeout=2)["data"] for _ in range(3)]
            assert heard == ["set", "expire", "del"]
    finally:
        other.config_set("notify-keyspace-events", "")
