"""A disk without room: a small file system of its own, mounted for the test."""

import os
import subprocess
import time

from server import Server

SIZE = 280 << 20
BALLAST = 100 << 20
VALUE = 100_000


def full_disk(scratch):
    """a full disk refuses writes before it is full, reads go on, and with room so do writes"""
    mounted = scratch / "disk"
    mounted.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(mounted)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError:
        return "NOT RUN: there is no mount"
    if done.returncode:
        return f"NOT RUN: mounting is not permitted here ({done.stderr.strip()})"
    try:
        return fill_up(mounted)
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def room(folder):
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def fill_up(mounted):
    ballast = mounted / "ballast"
    ballast.write_bytes(b"\0" * BALLAST)
    server, stored = Server(mounted / "data"), []
    with server:
        with server.connect() as c:
            c.ask("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
            refusal = write(c, stored, 2000)
            assert refusal, "the disk never was full"
            assert refusal.startswith("MISCONF") and "space" in refusal, refusal
            assert len(stored) > 500, f"only {len(stored)} writes were taken"
            status, body = server.ready()
            assert (status, body["status"]) == (200, "degraded"), body
            assert "full" in body["reason"], body
            left = room(mounted)
            check(c, stored)
            assert c.ask("SET", "other", "value")[1].startswith("MISCONF")
            assert c.ask("GET", "other") is None, "a refused write is there"
            ballast.unlink()
            ended = time.monotonic() + 10
            while write(c, stored, 1) and time.monotonic() < ended:
                time.sleep(0.1)
            waited = 10 - (ended - time.monotonic())
            refusal = write(c, stored, 100)
            assert not refusal, f"there is room again, and still: {refusal}"
            check(c, stored)
            assert server.ready()[1]["status"] == "ready"
        server.kill()
        server.start()
        with server.connect() as c:
            check(c, stored)
            assert c.ask("DBSIZE") == len(stored)
        server.stop()
    return f"{len(stored)} writes kept; {left >> 20} MiB were left when writes were refused; {waited:.1f} s until they went on"


def write(c, stored, count):
    """Writes until it is refused, and answers with what."""
    for _ in range(count):
        number = len(stored)
        value = os.urandom(16).hex().encode() * (VALUE // 32)
        reply = c.ask("SET", f"key:{number}", value)
        if isinstance(reply, tuple):
            return reply[1]
        assert reply == b"OK"
        stored.append(value[:32])
    return None


def check(c, stored):
    for number, value in enumerate(stored):
        assert c.ask("GETRANGE", f"key:{number}", 0, 31) == value, f"key:{number} is not what was acknowledged"


TESTS = [full_disk]
