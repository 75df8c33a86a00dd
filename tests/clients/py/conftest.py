"""Clients of the server that the environment names, and keys of one's own."""

import os
import secrets

import pytest

collect_ignore = [".venv"]


@pytest.fixture
def key():
    return f"key:{secrets.token_hex(8)}"


@pytest.fixture
def upstash():
    from upstash_redis import Redis

    return Redis.from_env()


@pytest.fixture
def url():
    return os.environ["REDIS_URL"]
