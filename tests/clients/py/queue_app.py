"""What the queue workers of the tests run; imported by their processes."""

import os
import time

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]
PREFIX = os.environ.get("QUEUE_PREFIX", "queue-tests")

app = Celery("queue_app", broker=URL, backend=URL)
app.conf.update(
    broker_transport_options={
        "global_keyprefix": f"{PREFIX}:",
        "visibility_timeout": 2,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    result_backend_transport_options={"global_keyprefix": f"{PREFIX}:"},
    task_default_queue=PREFIX,
    broker_connection_retry_on_startup=True,
    result_expires=100,
)


def note(list_name, text):
    """Leaves a trace that the test can read."""
    with redis.Redis.from_url(URL) as client:
        client.rpush(f"{PREFIX}:{list_name}", text)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=5, default_retry_delay=0.05)
def flaky(self, name):
    with redis.Redis.from_url(URL) as client:
        attempt = client.incr(f"{PREFIX}:attempts:{name}")
    if attempt < 3:
        raise self.retry(countdown=0.05)
    return attempt


@app.task
def fail():
    raise ValueError("on purpose")


@app.task(acks_late=True, reject_on_worker_lost=True)
def held(name):
    note("held", f"{name}:{os.getpid()}")
    with redis.Redis.from_url(URL) as client:
        while not client.exists(f"{PREFIX}:release"):
            time.sleep(0.02)
    note("done", name)


def rq_add(a, b):
    return a + b


def rq_fail():
    raise ValueError("on purpose")


def rq_note(list_name, text):
    note(list_name, text)
