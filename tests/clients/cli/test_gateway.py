"""The REST gateway to the byte: forms, headers, statuses, texts."""

import base64
import json
import os
import socket
import time

import pytest
from conftest import ours_only

from raw.resp import Connection
from raw.rest import Events, Gateway, b64

UNAUTHORIZED = (
    "WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details."
)
JSON = "application/json; charset=utf-8"
BASE64 = {"Upstash-Encoding": "base64"}
RESP2 = {"Upstash-Response-Format": "resp2"}


def error(answer, status=400):
    assert answer.status == status, answer
    assert set(answer.json) == {"error"}, answer
    return answer.json["error"]


class TestBodyForm:
    def test_results_of_every_kind(self, gateway, key):
        assert gateway.call("SET", key, "v").body == b'{"result":"OK"}'
        assert gateway.call("GET", key).body == b'{"result":"v"}'
        assert gateway.call("GET", key + "x").body == b'{"result":null}'
        assert gateway.call("STRLEN", key).body == b'{"result":1}'
        assert gateway.call("MGET", key, key + "x").body == b'{"result":["v",null]}'
        assert gateway.call("ZADD", key + "z", 1.5, "m").json == {"result": 1}
        assert gateway.call("ZSCORE", key + "z", "m").json == {"result": "1.5"}
        assert gateway.call("EVAL", "return {1,{2,{'x'}}}", 0).json == {"result": [1, [2, ["x"]]]}
        gateway.call("HSET", key + "h", "a", 1, "b", 2)
        assert gateway.call("HGETALL", key + "h").json == {"result": ["a", "1", "b", "2"]}

    def test_the_answer_says_what_it_is(self, gateway):
        answer = gateway.call("PING")
        assert answer.status == 200
        assert answer.headers["content-type"] == JSON
        assert answer.headers["upstash-sync-token"]

    def test_scalars_become_strings(self, gateway, key):
        for value, stored in ((5, "5"), (-1.5, "-1.5"), (True, "true"), (False, "false"), ("", "")):
            gateway.call("SET", key, value)
            assert gateway.result("GET", key) == stored
        gateway.request("POST", "/", f'["SET","{key}",1e3]')
        assert gateway.result("GET", key) == "1e3"
        gateway.request("POST", "/", f'["SET","{key}",12345678901234567890]')
        assert gateway.result("GET", key) == "12345678901234567890"

    def test_escapes(self, gateway, key):
        gateway.request("POST", "/", rb'["SET","%s","\u00e9\ud83d\ude00\n\"\\\/\u0000"]' % key.encode())
        assert gateway.result("GET", key) == 'é😀\n"\\/\0'

    @pytest.mark.parametrize(
        "body, text",
        [
            ("", "EOF"),
            ('{"a":1}', "expected JSON array"),
            ('"GET"', "expected JSON array"),
            ("5", "expected JSON array"),
            ("[]", "ERR empty command"),
            ("[null]", "ERR null args are not supported"),
            ('["GET",null]', "ERR null args are not supported"),
            ('["GET",{"a":1}]', 'ERR unsupported arg type: "{": json.Delim'),
            ('["GET",["a"]]', 'ERR unsupported arg type: "[": json.Delim'),
        ],
    )
    def test_bodies_that_are_no_command(self, gateway, body, text):
        answer = gateway.request("POST", "/", body)
        assert error(answer) == text
        assert answer.headers["content-type"] == JSON

    @pytest.mark.parametrize("body", ["[", '["GET"', '["GET",]', '["GET" "x"]', '["GET"] x', "nope", '["\\x"]', '["\\u12"]', "[1e]", "[01]", "[tru]", '["a\nb"]', "\0", "\xff"])
    def test_bodies_that_are_no_json(self, gateway, body):
        assert error(gateway.request("POST", "/", body))

    @pytest.mark.parametrize("body", ["[" * 200_000, '["GET",' + "[" * 200_000, '{"a":' * 100_000, "[" * 1000 + "]" * 1000])
    def test_depth_costs_nothing(self, gateway, body):
        assert error(gateway.request("POST", "/", body))
        assert error(gateway.request("POST", "/pipeline", body))
        assert gateway.result("PING") == "PONG"

    def test_errors_of_commands(self, gateway, key):
        gateway.call("SET", key, "text")
        assert error(gateway.call("INCR", key)) == "ERR value is not an integer or out of range"
        assert error(gateway.call("HGET", key, "f")) == "WRONGTYPE Operation against a key holding the wrong kind of value"
        assert error(gateway.call("GET")) == "ERR wrong number of arguments for 'get' command"
        assert error(gateway.call("EVALSHA", "0" * 40, 0)) == "NOSCRIPT No matching script. Please use EVAL."
        assert (
            error(gateway.call("NOSUCH", "x"))
            == "ERR Command is not available: 'NOSUCH'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"
        )

    @pytest.mark.parametrize("name", "AUTH MULTI EXEC DISCARD WATCH UNWATCH HELLO RESET SUBSCRIBE PSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE MONITOR".split())
    def test_what_belongs_to_a_connection(self, gateway, name):
        text = f'ERR Command "{name}" is not allowed in REST or it has a special context path'
        assert error(gateway.call(name, "x")) == text
        assert gateway.request("POST", "/pipeline", [[name, "x"]]).json == [{"error": text}]


class TestPathForm:
    def test_segments_are_arguments(self, gateway, key):
        assert gateway.request("GET", f"/set/{key}/value").json == {"result": "OK"}
        assert gateway.request("GET", f"/GeT/{key}").json == {"result": "value"}
        assert gateway.request("GET", f"/set/{key}/a%20b%2Fc%3F%25%00+").json == {"result": "OK"}
        assert gateway.result("GET", key) == "a b/c?%\0+"
        assert gateway.request("GET", f"/set/{key}/%F0%9F%98%80").status == 200
        assert gateway.result("GET", key) == "😀"

    def test_query_pairs_follow(self, gateway, key):
        assert gateway.request("GET", f"/set/{key}/v?EX=100").status == 200
        assert 95 < gateway.result("TTL", key) <= 100

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_the_body_is_the_last_argument_before_the_query(self, gateway, key, method):
        value = b'{"json": [1, "two"]}'
        assert gateway.request(method, f"/set/{key}?EX=100", value).json == {"result": "OK"}
        assert gateway.result("GET", key) == value.decode()
        assert 95 < gateway.result("TTL", key) <= 100

    def test_binary_bodies(self, gateway, key):
        value = bytes(range(256))
        gateway.request("POST", f"/set/{key}", value)
        assert base64.b64decode(gateway.call("GET", key, **BASE64).json["result"]) == value

    def test_invalid_utf8_is_replaced_in_plain_json(self, gateway, key):
        gateway.request("POST", f"/set/{key}", b"a\xff\xfeb")
        answer = gateway.call("GET", key)
        assert answer.body.decode() == '{"result":"a\ufffd\ufffdb"}'
        with Connection() as connection:
            assert connection.ask("GET", key) == b"a\xff\xfeb"

    def test_head_has_no_body(self, gateway, key):
        answer = gateway.request("HEAD", f"/set/{key}/v")
        assert (answer.status, answer.body) == (200, b"")
        assert gateway.result("GET", key) == "v"

    def test_errors(self, gateway):
        assert error(gateway.request("GET", "/get")) == "ERR wrong number of arguments for 'get' command"
        assert "Command is not available: 'NOSUCH'" in error(gateway.request("GET", "/NOSUCH/x"))
        assert error(gateway.request("GET", "/get/%zz"))


class TestMethodsAndOrigins:
    @pytest.mark.parametrize("method", ["DELETE", "PATCH", "PROPFIND"])
    def test_other_methods(self, gateway, method):
        answer = gateway.request(method, "/get/x")
        assert (answer.status, answer.body) == (405, b"")

    def test_preflight(self, gateway):
        headers = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,upstash-encoding",
        }
        answer = gateway.request("OPTIONS", "/pipeline", headers=headers, auth=False)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"

    def test_answers_echo_the_origin(self, gateway):
        answer = gateway.call("PING", Origin="https://app.example")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-credentials"] == "true"


class TestTokens:
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}, {"Authorization": ""}])
    @pytest.mark.parametrize("path", ["/", "/pipeline", "/multi-exec", "/get/x", "/subscribe/x", "/nosuch"])
    def test_without_a_good_one(self, gateway, headers, path):
        answer = gateway.request("POST", path, ["GET", "x"], headers, auth=False)
        assert error(answer, 401) == UNAUTHORIZED

    def test_a_bare_token(self, gateway):
        assert gateway.request("GET", "/ping", headers={"Authorization": gateway.token}).json == {"result": "PONG"}

    def test_in_the_query_and_it_wins(self, gateway, key):
        assert gateway.request("GET", f"/ping?_token={gateway.token}", auth=False).json == {"result": "PONG"}
        wrong = {"Authorization": "Bearer wrong"}
        assert gateway.request("GET", f"/set/{key}/v?_token={gateway.token}&EX=50", headers=wrong).status == 200
        assert gateway.result("GET", key) == "v"
        assert error(gateway.request("GET", "/ping?_token=wrong"), 401) == UNAUTHORIZED

    @pytest.mark.skipif("UPSTASH_REDIS_REST_READONLY_TOKEN" not in os.environ, reason="no read-only token known")
    def test_read_only(self, gateway, key):
        gateway.call("SET", key, "v")
        reader = Gateway(token=os.environ["UPSTASH_REDIS_REST_READONLY_TOKEN"])
        assert reader.result("GET", key) == "v"
        for argv in (("SET", key, "w"), ("SCAN", 0), ("KEYS", "*"), ("FLUSHALL",), ("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0)):
            assert error(reader.call(*argv)).startswith(f"NOPERM this user has no permissions to run the '{argv[0].lower()}' command")
        assert error(reader.request("POST", f"/set/{key}", "w")).startswith("NOPERM")
        answers = reader.request("POST", "/pipeline", [["GET", key], ["DEL", key]]).json
        assert answers[0] == {"result": "v"} and answers[1]["error"].startswith("NOPERM")
        assert reader.request("POST", "/multi-exec", [["DEL", key]]).body.find(b"NOPERM") > 0
        assert gateway.result("GET", key) == "v"


class TestBase64:
    def test_every_string_but_the_status_ok(self, gateway, key):
        assert gateway.call("SET", key, "OK", **BASE64).json == {"result": "OK"}
        assert gateway.call("GET", key, **BASE64).json == {"result": b64("OK")}
        assert gateway.call("PING", **BASE64).json == {"result": b64("PONG")}
        assert gateway.call("TYPE", key, **BASE64).json == {"result": b64("string")}
        assert gateway.call("STRLEN", key, **BASE64).json == {"result": 2}
        assert gateway.call("GET", key + "x", **BASE64).json == {"result": None}
        assert gateway.call("EVAL", "return {'OK',1,{'x',false,{'😀'}}}", 0, **BASE64).json == {
            "result": [b64("OK"), 1, [b64("x"), None, [b64("😀")]]]
        }

    def test_errors_stay_readable(self, gateway):
        assert error(gateway.call("GET", **BASE64)) == "ERR wrong number of arguments for 'get' command"

    def test_in_pipelines_and_transactions(self, gateway, key):
        commands = [["SET", key, "😀"], ["GET", key], ["INCR", key], ["STRLEN", key]]
        expected = [{"result": "OK"}, {"result": b64("😀")}, {"error": "ERR value is not an integer or out of range"}, {"result": 4}]
        assert gateway.request("POST", "/pipeline", commands, BASE64).json == expected
        assert gateway.request("POST", "/multi-exec", commands, BASE64).json == expected

    def test_other_encodings(self, gateway):
        assert error(gateway.call("PING", **{"Upstash-Encoding": "gzip"}))


class TestRawFormat:
    def test_resp2_as_on_a_socket(self, gateway, key):
        answer = gateway.call("SET", key, "a\0b", **RESP2)
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/octet-stream", b"+OK\r\n")
        assert gateway.call("GET", key, **RESP2).body == b"$3\r\na\0b\r\n"
        assert gateway.call("GET", key + "x", **RESP2).body == b"$-1\r\n"
        assert gateway.call("MGET", key, key + "x", **RESP2).body == b"*2\r\n$3\r\na\0b\r\n$-1\r\n"

    def test_pipelines_are_concatenated(self, gateway, key):
        answer = gateway.request("POST", "/pipeline", [["SET", key, "x"], ["INCR", key], ["GET", key]], RESP2)
        assert answer.body == b"+OK\r\n-ERR value is not an integer or out of range\r\n$1\r\nx\r\n"

    def test_transactions_are_json(self, gateway, key):
        answer = gateway.request("POST", "/multi-exec", [["SET", key, "x"], ["GET", key]], RESP2)
        assert answer.headers["content-type"] == JSON
        assert answer.json == [{"result": "OK"}, {"result": "x"}]

    def test_refused_combinations(self, gateway):
        assert error(gateway.call("PING", **{**RESP2, **BASE64}))
        assert error(gateway.call("PING", **{"Upstash-Response-Format": "resp3"}))
        assert gateway.call("PING", **{"Upstash-Response-Format": "json"}).json == {"result": "PONG"}


class TestPipeline:
    def test_in_order_each_with_its_own_outcome(self, gateway, key):
        answer = gateway.request("POST", "/pipeline", [["SET", key, 1], ["INCR", key], ["NOSUCH"], ["HGET", key, "f"], ["GET"], ["GET", key]])
        assert answer.status == 200
        kinds = [next(iter(item)) for item in answer.json]
        assert kinds == ["result", "result", "error", "error", "error", "result"]
        assert answer.json[-1] == {"result": "2"}

    @pytest.mark.parametrize("body", ["", "{}", "5", '["GET","x"]', '[["GET","x"],5]', '[["GET",null]]', '[["GET",{"a":1}]]', '[["GET","x"]', "[[]]"])
    def test_a_malformed_body_runs_nothing(self, gateway, key, body):
        assert error(gateway.request("POST", "/pipeline", body))
        if body.startswith("[["):
            mixed = f'[["SET","{key}","x"],' + body[1:]
            assert error(gateway.request("POST", "/pipeline", mixed))
            assert gateway.result("GET", key) is None

    def test_an_empty_one(self, gateway):
        answer = gateway.request("POST", "/pipeline", "[]")
        assert answer.status in (200, 400)

    def test_ten_thousand(self, gateway, key):
        answer = gateway.request("POST", "/pipeline", [["INCR", key]] * 10_000)
        assert answer.json == [{"result": n} for n in range(1, 10_001)]


class TestTransaction:
    def test_runtime_errors_stay_with_their_command(self, gateway, key):
        answer = gateway.request("POST", "/multi-exec", [["SET", key, "text"], ["INCR", key], ["GET", key]])
        assert answer.status == 200
        assert answer.json == [{"result": "OK"}, {"error": "ERR value is not an integer or out of range"}, {"result": "text"}]

    @pytest.mark.parametrize("bad", [["GET"], ["NOSUCH", "x"], ["WATCH", "x"], ["SUBSCRIBE", "x"], ["MULTI"], ["DISCARD"]], ids=str)
    def test_what_cannot_be_queued_discards_all(self, gateway, key, bad):
        assert error(gateway.request("POST", "/multi-exec", [["SET", key, "x"], bad]))
        assert gateway.result("GET", key) is None

    @pytest.mark.parametrize("body", ["", "{}", '["GET","x"]', '[["GET",null]]', "[["])
    def test_malformed_bodies(self, gateway, body):
        assert error(gateway.request("POST", "/multi-exec", body))


class TestSyncToken:
    def test_it_moves_with_every_write(self, gateway, key):
        def token(answer):
            return answer.headers["upstash-sync-token"]

        seen = [token(gateway.call("GET", key))]
        for answer in (
            gateway.call("SET", key, "1"),
            gateway.request("GET", f"/incr/{key}"),
            gateway.request("POST", "/pipeline", [["INCR", key], ["GET", key]]),
            gateway.request("POST", "/multi-exec", [["INCR", key]]),
            gateway.call("EVAL", "return redis.call('INCR', KEYS[1])", 1, key),
            gateway.call("DEL", key),
        ):
            assert token(answer) not in seen
            seen.append(token(answer))
        assert token(gateway.call("GET", key, **{"upstash-sync-token": seen[-1]}))
        assert gateway.call("PING", **{"upstash-sync-token": "nonsense \x01"[:8]}).status == 200


class TestEvents:
    def test_frames(self, gateway, key):
        events = Events(f"/subscribe/{key}/{key}b")
        assert events.status == 200 and events.type.startswith("text/event-stream")
        assert events.data() == f"subscribe,{key},1".encode()
        assert events.data() == f"subscribe,{key}b,2".encode()
        assert gateway.result("PUBLISH", key, '{"a":1, "b":"x,y"}') == 1
        assert gateway.request("GET", f"/publish/{key}b/hello%20you").json == {"result": 1}
        assert events.data() == f'message,{key},{{"a":1, "b":"x,y"}}'.encode()
        assert events.data() == f"message,{key}b,hello you".encode()
        events.close()
        self.nobody_left(gateway, key)

    def test_patterns(self, gateway, key):
        events = Events(f"/psubscribe/{key}.*")
        assert events.data() == f"psubscribe,{key}.*,1".encode()
        assert gateway.result("PUBLISH", f"{key}.x", "hi") == 1
        assert events.data() == f"pmessage,{key}.*,{key}.x,hi".encode()
        events.close()
        self.nobody_left(gateway, f"{key}.x")

    def test_between_the_doors(self, gateway, key):
        events = Events(f"/subscribe/{key}")
        events.data()
        with Connection() as subscriber, Connection() as publisher:
            subscriber.call("SUBSCRIBE", key)
            assert publisher.ask("PUBLISH", key, "from resp") == 2
            assert gateway.result("PUBLISH", key, "from rest") == 2
            assert subscriber.read()[1][2] == ("$", b"from resp")
            assert subscriber.read()[1][2] == ("$", b"from rest")
        assert [events.data(), events.data()] == [f"message,{key},from {door}".encode() for door in ("resp", "rest")]
        events.close()

    def test_without_a_channel(self, gateway):
        assert error(gateway.request("POST", "/subscribe", "[]"))

    @ours_only
    def test_a_comment_keeps_it_alive(self, gateway, key):
        events = Events(f"/subscribe/{key}", timeout=20)
        events.data()
        began = time.monotonic()
        while not (line := events.response.readline()).startswith(b":"):
            assert line == b"\n", line
        assert 13 < time.monotonic() - began < 18
        events.close()

    @staticmethod
    def nobody_left(gateway, channel):
        deadline = time.monotonic() + 5
        while gateway.result("PUBLISH", channel, "anybody?"):
            assert time.monotonic() < deadline, "the subscription outlives its request"
            time.sleep(0.02)


class TestLimits:
    LIMIT = 10 * 1024 * 1024

    def test_a_request_too_large(self, gateway, key):
        body = json.dumps(["SET", key, "x" * (self.LIMIT + 100)])
        text = f"ERR max request size exceeded. Limit: {self.LIMIT} bytes, Actual: {len(body)} bytes"
        assert error(gateway.request("POST", "/", body)) == text
        assert gateway.result("EXISTS", key) == 0

    def test_a_request_that_fits(self, gateway, key):
        assert gateway.call("SET", key, "x" * (self.LIMIT - 1000)).json == {"result": "OK"}
        assert gateway.result("STRLEN", key) == self.LIMIT - 1000
        gateway.call("DEL", key)

    def test_a_response_too_large(self, gateway, key):
        gateway.call("SET", key, "x" * 6_000_000)
        answer = gateway.call("MGET", key, key)
        assert error(answer).startswith(f"ERR max request size exceeded. Limit: {self.LIMIT} bytes, Actual: 12")
        gateway.call("DEL", key)

    def test_a_chunked_body_without_end(self, gateway):
        with socket.create_connection(gateway.address, timeout=20) as sock:
            sock.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
            sent = 0
            try:
                for _ in range(64):
                    sock.sendall(chunk)
                    sent += 1
            except OSError:
                pass
            sock.settimeout(5)
            try:
                answer = sock.recv(4096)
            except OSError:
                answer = b""
            assert sent < 64 or b" 400 " in answer

    def test_chunked_bodies(self, gateway, key):
        body = json.dumps(["SET", key, "chunked"]).encode()
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 5]), body[at : at + 5]) for at in range(0, len(body), 5)) + b"0\r\n\r\n"
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        assert gateway.raw(head.encode() + chunks).endswith(b'{"result":"OK"}')
        assert gateway.result("GET", key) == "chunked"


class TestHttp:
    def test_pipelined_requests_are_answered_in_order(self, gateway, key):
        one = f"GET /incr/{key} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token}\r\n"
        out = gateway.raw((one + "\r\n").encode() * 20 + (one + "Connection: close\r\n\r\n").encode())
        assert [part.split(b"}")[0] for part in out.split(b'{"result":')[1:]] == [b"%d" % n for n in range(1, 22)]

    @pytest.mark.parametrize(
        "data",
        [
            b"\0\0\0\0\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"*1\r\n$4\r\nPING\r\n",
        ],
        ids=lambda data: repr(data[:40]),
    )
    def test_what_is_no_request(self, gateway, data):
        out = gateway.raw(data, timeout=3)
        assert not out or out.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 5")), out[:200]
        assert gateway.result("PING") == "PONG"

    def test_half_requests_hold_up_nobody(self, gateway):
        halves = []
        for at in range(100):
            sock = socket.create_connection(gateway.address)
            sock.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token}\r\nContent-Length: 100\r\n\r\n[".encode()[: 20 + at * 2])
            halves.append(sock)
        began = time.monotonic()
        assert gateway.result("PING") == "PONG"
        assert time.monotonic() - began < 1
        for sock in halves:
            sock.close()

    def test_a_body_shorter_than_promised_runs_nothing(self, gateway, key):
        body = json.dumps(["SET", key, "x"])
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token}\r\nContent-Length: {len(body) + 10}\r\n\r\n"
        with socket.create_connection(gateway.address) as sock:
            sock.sendall((head + body).encode())
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(3)
            try:
                sock.recv(100)
            except OSError:
                pass
        assert gateway.result("EXISTS", key) == 0

    def test_health(self, gateway):
        assert gateway.request("GET", "/live", auth=False).status == 200
        assert gateway.request("GET", "/ready", auth=False).status == 200
