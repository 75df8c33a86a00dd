"""PyPI celery, unchanged: kombu's queues wait with BRPOP, results come by pub/sub."""

import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time

import pytest
import redis


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not so in time"
        time.sleep(0.02)


class Workers:
    """Worker processes of one queue."""

    def __init__(self, prefix):
        self.environment = {**os.environ, "QUEUE_PREFIX": prefix}
        self.running = []

    def start(self, *arguments):
        argv = [sys.executable, "-m", "celery", "-A", "queue_app", "worker", "--loglevel=warning"]
        argv += ["--without-mingle", *arguments]
        process = subprocess.Popen(argv, cwd=pathlib.Path(__file__).parent, env=self.environment, start_new_session=True)
        self.running.append(process)
        return process

    def kill(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                self.kill(process)


@pytest.fixture(scope="module")
def prefix():
    value = f"celery-{secrets.token_hex(4)}"
    os.environ["QUEUE_PREFIX"] = value
    known = sys.modules.pop("queue_app", None)
    yield value
    del os.environ["QUEUE_PREFIX"]
    if known:
        sys.modules["queue_app"] = known


@pytest.fixture(scope="module")
def workers(prefix):
    workers = Workers(prefix)
    yield workers
    workers.stop()


@pytest.fixture(scope="module")
def tasks(prefix):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import queue_app

    return queue_app


def test_tasks_and_results(workers, tasks):
    from celery import chain, chord, group

    worker = workers.start("--concurrency=2", "--pool=threads")
    assert tasks.add.delay(2, 3).get(timeout=30) == 5
    assert chain(tasks.add.s(1, 2), tasks.add.s(10)).apply_async().get(timeout=20) == 13
    assert group(tasks.add.s(n, n) for n in range(5)).apply_async().get(timeout=20) == [0, 2, 4, 6, 8]
    assert chord((tasks.add.s(n, 1) for n in range(4)), tasks.total.s()).apply_async().get(timeout=20) == 10
    with pytest.raises(ValueError, match="on purpose"):
        tasks.fail.delay().get(timeout=20)
    assert tasks.flaky.delay(secrets.token_hex(4)).get(timeout=20) == 3
    began = time.monotonic()
    assert tasks.add.apply_async((1, 1), countdown=0.3).get(timeout=20) == 2
    assert time.monotonic() - began >= 0.29
    jobs = [tasks.add.delay(n, 1) for n in range(300)]
    assert [job.get(timeout=30) for job in jobs] == [n + 1 for n in range(300)]
    workers.kill(worker)


def test_a_task_of_a_killed_worker_runs_again(workers, tasks, prefix, url):
    client = redis.Redis.from_url(url, decode_responses=True)
    first = workers.start("--concurrency=1", "--pool=solo")
    tasks.held.delay("precious")
    until(lambda: client.llen(f"{prefix}:held") == 1, 30)
    workers.kill(first)
    assert client.llen(f"{prefix}:done") == 0
    client.set(f"{prefix}:release", 1)
    workers.start("--concurrency=1", "--pool=solo")
    until(lambda: client.llen(f"{prefix}:done") >= 1, 40)
    assert client.lrange(f"{prefix}:done", 0, -1) == ["precious"]
    assert client.llen(f"{prefix}:held") == 2
