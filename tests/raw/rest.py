"""HTTP/1.1 without a client's opinions: any method, any header, any body."""

import base64
import http.client
import json
import os
import socket
from urllib.parse import urlsplit


class Answer:
    """Status, headers and body of one response."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:200]!r}"


class Gateway:
    """One keep-alive connection to the REST gateway."""

    def __init__(self, url=None, token=None, timeout=20.0):
        parts = urlsplit(url or os.environ["UPSTASH_REDIS_REST_URL"])
        self.address = (parts.hostname, parts.port)
        self.token = os.environ["UPSTASH_REDIS_REST_TOKEN"] if token is None else token
        self.connection = http.client.HTTPConnection(*self.address, timeout=timeout)

    def close(self):
        self.connection.close()

    def request(self, method, path, body=None, headers=None, auth=True):
        headers = dict(headers or {})
        if auth and self.token and not any(h.lower() == "authorization" for h in headers):
            headers["Authorization"] = f"Bearer {self.token}"
        if isinstance(body, (list, dict)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        self.connection.request(method, path, body=body, headers=headers)
        return Answer(self.connection.getresponse())

    def call(self, *argv, **headers):
        """The body form of one command."""
        return self.request("POST", "/", list(argv), headers)

    def result(self, *argv):
        answer = self.call(*argv)
        assert answer.status == 200, answer
        return answer.json["result"]

    def raw(self, data, timeout=5.0):
        """Bytes on a socket of their own; what comes back until it closes."""
        with socket.create_connection(self.address, timeout=timeout) as sock:
            sock.sendall(data)
            out = b""
            try:
                while chunk := sock.recv(1 << 16):
                    out += chunk
            except (TimeoutError, ConnectionError):
                pass
            return out


class Events:
    """A stream of server-sent events."""

    def __init__(self, path, method="POST", token=None, timeout=20.0):
        gateway = Gateway(token=token, timeout=timeout)
        self.connection = gateway.connection
        self.connection.request(
            method,
            path,
            body=b"[]" if method == "POST" else None,
            headers={
                "Authorization": f"Bearer {gateway.token}",
                "Accept": "text/event-stream",
                "Content-Type": "application/json",
            },
        )
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.type = self.response.getheader("content-type")

    def data(self):
        """What follows `data: ` in the next such line."""
        while line := self.response.readline():
            if line.startswith(b"data: "):
                return line[6:].rstrip(b"\n")
        raise ConnectionError("the stream has ended")

    def close(self):
        self.connection.close()


def b64(text):
    if isinstance(text, str):
        text = text.encode()
    return base64.b64encode(text).decode()
