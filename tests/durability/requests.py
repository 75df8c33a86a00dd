"""Clients that repeat what broke off, under the id of the request, while the server
is killed: each write is applied exactly once, and each reply is that of the write."""

import http.client
import json
import random
import secrets
import threading
import time

from server import TOKEN, Server, sangam_json

CLIENTS = 4
REQUESTS = 400
JOBS = 10 * REQUESTS
KILLS = 8
PATIENCE = 60
HEADER = "sangam-request-id"

SCRIPT = "return {redis.call('RPUSH', KEYS[1], ARGV[1]), redis.call('INCR', KEYS[2])}"


def new_id():
    """A UUIDv7."""
    bits = int(time.time() * 1000) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    text = f"{bits:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Client:
    """One that sends a request until it is answered."""

    def __init__(self, server, number, enough):
        self.server, self.number, self.enough = server, number, enough
        self.turns = 0
        self.random = random.Random(number)
        self.log, self.counter, self.queue = f"log:{number}", f"counter:{number}", f"queue:{number}"
        self.attempts = self.asked = 0
        self.taken, self.done, self.failure = [], [], None

    def attempt(self, path, request_id, body):
        """An answer, or none where the connection broke off or was given up."""
        host, port = self.server.http.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {TOKEN}", HEADER: request_id})
            self.attempts += 1
            if self.random.random() < 0.2:
                return None  # Sent, and nobody waits for what comes of it.
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, (answer.status, text)
            assert answer.headers[HEADER] == request_id
            return json.loads(text)
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
            return None
        finally:
            connection.close()

    def ask(self, path, body):
        request_id, deadline = new_id(), time.monotonic() + PATIENCE
        self.asked += 1
        while time.monotonic() < deadline:
            answer = self.attempt(path, request_id, body)
            if answer is not None:
                self.done.append((path, request_id, body, answer))
                return answer
        raise AssertionError(f"{path} {body} was never answered")

    def run(self):
        try:
            # A fast machine is done before the last kill: it goes on until then.
            while self.turns < REQUESTS or (not self.enough.is_set() and self.turns < JOBS):
                self.turn(self.turns)
                self.turns += 1
        except Exception as failure:
            self.failure = failure

    def turn(self, n):
        """Each writes one entry of the log and one increment, and is told where they are."""
        push, count = ["RPUSH", self.log, n], ["INCR", self.counter]
        place = n + 1
        match n % 4:
            case 0:
                assert self.ask("/", push) == {"result": place}
                assert self.ask("/", count) == {"result": place}
            case 1:
                body = [push, ["SET", "other", "x" * 3000], count]
                assert self.ask("/pipeline", body) == [{"result": place}, {"result": "OK"}, {"result": place}]
            case 2:
                assert self.ask("/multi-exec", [push, count]) == [{"result": place}, {"result": place}]
            case 3:
                body = ["EVAL", SCRIPT, 2, self.log, self.counter, n]
                assert self.ask("/", body) == {"result": [place, place]}
        self.taken.append(self.ask("/", ["LPOP", self.queue])["result"])

    def judge(self, c):
        if self.failure:
            raise self.failure
        expected = [str(n).encode() for n in range(self.turns)]
        assert c.ask("LRANGE", self.log, "0", "-1") == expected
        assert int(c.ask("GET", self.counter)) == self.turns
        assert self.taken == [f"job{n}" for n in range(self.turns)], "each job once, in order"
        assert c.ask("LLEN", self.queue) == JOBS + 1 - self.turns


def repeats(scratch):
    """requests with ids are repeated over kills: each write once, and the reply of the first time"""
    with Server(scratch / "data") as server:
        enough = threading.Event()
        clients = [Client(server, number, enough) for number in range(CLIENTS)]
        with server.connect() as c:
            assert c.ask("CONFIG", "SET", "auto-aof-rewrite-min-size", "100kb") == b"OK"
            for client in clients:
                c.ask("RPUSH", client.queue, *(f"job{n}" for n in range(JOBS + 1)))
        threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        killed, chance = 0, random.Random(1)
        while any(thread.is_alive() for thread in threads):
            threads[killed % CLIENTS].join(0.1 + chance.random() * 0.3)
            if killed < KILLS:
                server.kill()
                server.start()
                killed += 1
                with server.connect() as c:
                    c.ask("CONFIG", "SET", "auto-aof-rewrite-min-size", "100kb")
                    c.ask("BGSAVE" if killed % 2 else "PING")
            else:
                enough.set()
        assert killed == KILLS, f"the clients were done after {killed} kills"
        with server.connect() as c:
            for client in clients:
                client.judge(c)
        server.stop()
    attempts, asked = (sum(getattr(client, name) for client in clients) for name in ("attempts", "asked"))
    status, _ = sangam_json("backup", scratch / "backup", "--data", server.folder)
    assert status == 0
    status, _ = sangam_json("restore", scratch / "backup", "--data", scratch / "other")
    assert status == 0
    with Server(scratch / "other") as other, other.connect() as c:
        for client in clients:
            # All of them once more, on what the backup brought.
            client.server = other
            for path, request_id, body, answer in client.done:
                again = None
                while again is None:
                    again = client.attempt(path, request_id, body)
                assert again == answer, (body, answer, again)
            client.judge(c)
        other.stop()
    return f"{asked} requests, {attempts} attempts over {KILLS} kills"


TESTS = [repeats]
