"""RESP2 and RESP3 on a bare socket: what was sent is what stands in the test.

A reply is a pair `(kind, data)`: `kind` is the byte that began it, as text;
`data` is bytes for scalars, a list of pairs for aggregates, and `None` for the
nulls. Two servers that answered the same bytes gave equal pairs, and the other
way round (but for the length field's notation).
"""

import os
import socket
import sys
from urllib.parse import unquote, urlsplit

# A script's reply may be nested as deep as it likes.
sys.setrecursionlimit(400_000)

AGGREGATES = "*~>%|"
SCALARS = "+-:,#(_"


def encode(argv):
    """One command as an array of bulk strings."""
    out = [b"*%d\r\n" % len(argv)]
    for arg in argv:
        if not isinstance(arg, bytes):
            arg = str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


class Incomplete(Exception):
    """More bytes are needed."""


def parse(buf, at=0):
    """The reply that begins at `at`, and where it ends."""
    end = buf.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind = chr(buf[at])
    line = bytes(buf[at + 1 : end])
    at = end + 2
    if kind in "$=!":
        length = int(line)
        if length < 0:
            return (kind, None), at
        if len(buf) < at + length + 2:
            raise Incomplete
        return (kind, bytes(buf[at : at + length])), at + length + 2
    if kind in AGGREGATES:
        length = int(line)
        if length < 0:
            return (kind, None), at
        items = []
        for _ in range(length * 2 if kind in "%|" else length):
            item, at = parse(buf, at)
            items.append(item)
        return (kind, items), at
    if kind not in SCALARS:
        raise ValueError(f"no RESP reply begins with {kind!r}: {bytes(buf[:80])!r}")
    return (kind, line), at


def plain(reply):
    """A reply as Python values; errors as `("error", text)`."""
    kind, data = reply
    if data is None or kind == "_":
        return None
    if kind == ":" or kind == "(":
        return int(data)
    if kind == ",":
        return float(data)
    if kind == "#":
        return data == b"t"
    if kind == "-" or kind == "!":
        return ("error", data.decode("utf-8", "replace"))
    if kind == "=":
        return data[4:]
    if kind == "%":
        values = [plain(item) for item in data]
        return dict(zip(values[::2], values[1::2]))
    if kind in AGGREGATES:
        return [plain(item) for item in data]
    return data


class Connection:
    """A socket with a buffer."""

    def __init__(self, url=None, protocol=2, auth=True, timeout=20.0):
        parts = urlsplit(url or os.environ["REDIS_URL"])
        self.address = (parts.hostname, parts.port)
        self.password = unquote(parts.password or "")
        self.socket = socket.create_connection(self.address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.at = 0
        if auth and self.password:
            reply = self.call("AUTH", "default", self.password)
            if reply != ("+", b"OK"):
                raise ConnectionError(f"AUTH: {reply}")
        if protocol == 3:
            self.call("HELLO", "3")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *argv):
        self.socket.sendall(encode(argv))

    def read(self):
        """The next reply, pushed ones included."""
        while True:
            try:
                reply, self.at = parse(self.buffer, self.at)
                if self.at > 1 << 20 or self.at == len(self.buffer):
                    del self.buffer[: self.at]
                    self.at = 0
                return reply
            except Incomplete:
                # Large replies come in many pieces: read plenty before the
                # next attempt, which starts at the reply's beginning again.
                data = self.socket.recv(1 << 20)
                if not data:
                    raise ConnectionError("closed by the server") from None
                self.buffer += data

    def call(self, *argv):
        self.send(*argv)
        return self.read()

    def ask(self, *argv):
        """Like `call`, as Python values."""
        return plain(self.call(*argv))

    def pipeline(self, commands):
        self.socket.sendall(b"".join(encode(argv) for argv in commands))
        return [self.read() for _ in commands]

    def closed_by_peer(self, timeout=5.0):
        """Whether the server ends the connection; drops what it still says."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False
