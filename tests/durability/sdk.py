"""The official SDK, unchanged, against a server that is killed and started again."""

import json
import os
import shutil
import subprocess
import threading
import time

from server import ROOT, TOKEN, Server

CLIENTS = 4
TURNS = 400
KILLS = 5


def modules():
    """The clients of tests/clients/js, installed by their lock file if they are not."""
    folder = ROOT / "tests" / "clients" / "js"
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or lock.stat().st_mtime > installed.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True)
        installed.touch()


def increments(scratch):
    """@upstash/redis counts while the server is killed: it finishes, and no acknowledged increment is lost"""
    assert shutil.which("node") and shutil.which("npm"), "node and npm are needed: scripts/test installs them"
    modules()
    with Server(scratch / "data") as server:
        env = {**os.environ, "UPSTASH_REDIS_REST_URL": f"http://{server.http}", "UPSTASH_REDIS_REST_TOKEN": TOKEN}
        script = ROOT / "tests" / "durability" / "increments.mjs"
        client = subprocess.Popen(["node", str(script), str(TURNS), str(CLIENTS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=scratch)
        timer = threading.Timer(60, client.kill)
        timer.start()
        client.stderr.readline()  # It counts.
        drain = threading.Thread(target=client.stderr.read, daemon=True)
        drain.start()
        killed = 0
        while killed < KILLS and client.poll() is None:
            time.sleep(0.15)
            server.kill()
            time.sleep(0.1)
            server.start()
            killed += 1
        told = client.stdout.read()
        status = client.wait()
        timer.cancel()
        assert status == 0, f"the client ended with status {status}"
        assert killed == KILLS, f"the client was done after {killed} kills"
        repeated = 0
        with server.connect() as c:
            for number, replies in enumerate(json.loads(told)):
                assert len(replies) == TURNS and all(a < b for a, b in zip(replies, replies[1:])), replies
                there = int(c.ask("GET", f"counter:{number}"))
                assert there >= replies[-1], f"{replies[-1]} was acknowledged, {there} is there"
                # A reply that a kill swallowed is asked for again.
                assert there - TURNS <= KILLS, f"{there} increments of {TURNS}"
                repeated += there - TURNS
        server.stop()
    return f"{CLIENTS * TURNS} increments acknowledged, {killed} kills, {repeated} counted twice by a retry"


TESTS = [increments]
