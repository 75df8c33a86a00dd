"""PyPI rq, unchanged: queues are lists, workers wait with BLPOP or BLMOVE."""

import pathlib
import secrets
import sys
import time

import pytest
import redis
from rq import Queue, Retry, SimpleWorker
from rq.job import Job, JobStatus

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import queue_app  # noqa: E402


@pytest.fixture
def connection(url):
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def queue(connection):
    return Queue(f"rq-{secrets.token_hex(4)}", connection=connection)


def work(queue, **options):
    SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="ERROR", **options)


def test_jobs_run_and_answer(queue):
    jobs = [queue.enqueue("queue_app.rq_add", n, 1) for n in range(50)]
    assert len(queue) == 50
    work(queue)
    assert len(queue) == 0
    assert [job.return_value(refresh=True) for job in jobs] == [n + 1 for n in range(50)]


def test_a_job_that_fails(queue, connection):
    job = queue.enqueue("queue_app.rq_fail")
    work(queue)
    assert job.get_status(refresh=True) == JobStatus.FAILED
    assert job.id in queue.failed_job_registry
    queue.failed_job_registry.requeue(job.id)
    assert len(queue) == 1
    again = queue.enqueue("queue_app.rq_fail", retry=Retry(max=2))
    work(queue)
    assert again.get_status(refresh=True) == JobStatus.FAILED
    assert Job.fetch(again.id, connection=connection).retries_left == 0


def test_order_and_dependencies(queue, connection):
    trace = secrets.token_hex(4)
    first = queue.enqueue("queue_app.rq_note", trace, "first")
    queue.enqueue("queue_app.rq_note", trace, "after", depends_on=first)
    queue.enqueue("queue_app.rq_note", trace, "at front", at_front=True)
    work(queue)
    assert connection.lrange(f"{queue_app.PREFIX}:{trace}", 0, -1) == [b"at front", b"first", b"after"]


def test_a_scheduled_job(queue):
    from datetime import timedelta

    job = queue.enqueue_in(timedelta(seconds=1), "queue_app.rq_add", 2, 2)
    assert job.id in queue.scheduled_job_registry
    end = time.monotonic() + 20
    while job.get_status(refresh=True) != JobStatus.FINISHED:
        assert time.monotonic() < end
        work(queue, with_scheduler=True)
        time.sleep(0.1)
    assert job.return_value() == 4
