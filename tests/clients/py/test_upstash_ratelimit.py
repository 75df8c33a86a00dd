"""PyPI upstash-ratelimit over the REST gateway."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from upstash_ratelimit import FixedWindow, Ratelimit, SlidingWindow, TokenBucket
from upstash_ratelimit.asyncio import Ratelimit as AsyncRatelimit
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis

LIMITERS = {
    "fixed": lambda: FixedWindow(max_requests=5, window=7, unit="d"),
    "sliding": lambda: SlidingWindow(max_requests=5, window=7, unit="d"),
    "bucket": lambda: TokenBucket(max_tokens=5, refill_rate=1, interval=7, unit="d"),
}
every_limiter = pytest.mark.parametrize("limiter", LIMITERS.values(), ids=LIMITERS)


@every_limiter
def test_so_many_and_no_more(upstash, key, limiter):
    limit = Ratelimit(redis=upstash, limiter=limiter(), prefix=key)
    for left in (4, 3, 2, 1, 0):
        answer = limit.limit("somebody")
        assert (answer.allowed, answer.limit, answer.remaining) == (True, 5, left)
    assert limit.limit("somebody").allowed is False
    assert limit.get_remaining("somebody") == 0
    assert limit.get_reset("somebody") > 0
    assert limit.limit("somebody else").allowed is True


@every_limiter
def test_fifty_at_once(key, limiter):
    algorithm = limiter()
    with ThreadPoolExecutor(50) as pool:
        one = lambda _: Ratelimit(redis=Redis.from_env(), limiter=algorithm, prefix=key).limit("crowd").allowed
        assert sum(pool.map(one, range(50))) == 5


def test_block_until_ready(upstash, key):
    limit = Ratelimit(redis=upstash, limiter=FixedWindow(max_requests=1, window=7, unit="d"), prefix=key)
    assert limit.block_until_ready("somebody", timeout=1).allowed is True
    assert limit.block_until_ready("somebody", timeout=0.1).allowed is False


@every_limiter
def test_asynchronous(key, limiter):
    async def main():
        async with AsyncRedis.from_env() as redis:
            limit = AsyncRatelimit(redis=redis, limiter=limiter(), prefix=key)
            answers = await asyncio.gather(*(limit.limit("crowd") for _ in range(30)))
            assert sum(answer.allowed for answer in answers) == 5

    asyncio.run(main())
