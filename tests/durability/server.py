"""A server on a data folder of its own, that is started and killed many times."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from raw.resp import Connection  # noqa: E402

TOKEN = "durability"
PATIENCE = 30


def binary():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("SANGAM_BIN", str(target / "release" / "sangam"))


def environment():
    """Without settings that would reach the server from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SANGAM_")}


def sangam(*args, cwd=None, stdin=None, text=True, env=None):
    """A subcommand run to its end: status, standard output, standard error."""
    argv = [binary(), *map(str, args)]
    env = {**environment(), **(env or {})}
    done = subprocess.run(argv, cwd=cwd or "/", input=stdin, capture_output=True, env=env, timeout=PATIENCE)
    out = done.stdout.decode() if text else done.stdout
    return done.returncode, out, done.stderr.decode()


def sangam_json(*args):
    status, out, err = sangam(*args, "--json")
    assert out, f"no answer: {err}"
    return status, json.loads(out)


class Server:
    """`sangam serve` on `folder`; the first start takes free ports, which stay."""

    def __init__(self, folder, *flags, fsync="always"):
        self.folder = pathlib.Path(folder)
        self.flags = ["--fsync", fsync, *flags]
        self.http = self.resp = "127.0.0.1:0"
        self.process = None
        self.log = b""

    @property
    def engine(self):
        return self.folder / "engine"

    @property
    def url(self):
        return f"redis://default:{TOKEN}@{self.resp}"

    def ready(self):
        with urllib.request.urlopen(f"http://{self.http}/ready", timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)

    def start(self):
        argv = [binary(), "serve", "--http", self.http, "--resp", self.resp]
        argv += ["--data", str(self.folder), "--token", TOKEN, *self.flags]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=environment())
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(self.process.stderr), daemon=True)
        reader.start()
        self.errors = lines
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        found = {}
        for line in self.process.stdout:
            match = re.match(rb"([A-Z_]+)=\S*?//(?:\S*@)?([\d.:]+)$", line.strip())
            if match:
                found[match[1]] = match[2].decode()
            if b"REDIS_URL" in found:
                break
        timer.cancel()
        if b"REDIS_URL" not in found:
            self.process.wait()
            reader.join(1)
            raise Refused(b"".join(lines).decode(errors="replace"))
        self.http, self.resp = found[b"UPSTASH_REDIS_REST_URL"], found[b"REDIS_URL"]
        return self

    def break_off(self, after):
        """A start that is killed, wherever it is by then."""
        argv = [binary(), "serve", "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"]
        argv += ["--data", str(self.folder), "--token", TOKEN, *self.flags]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", env=environment())
        time.sleep(after)
        process.kill()
        process.wait()

    def connect(self, timeout=PATIENCE):
        return Connection(self.url, timeout=timeout)

    def said(self):
        """Its log so far."""
        return b"".join(self.errors).decode(errors="replace")

    def kill(self):
        """Without warning."""
        self.process.kill()
        self.process.wait()
        assert "panicked at" not in self.said(), self.said()[-2000:]

    def stop(self):
        """As an operator would."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        assert status == 0 and "panicked at" not in self.said(), (status, self.said()[-2000:])

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Refused(Exception):
    """The server did not start; what it said."""
