"""Bytes that no client sends: the right error, bounded memory, and life goes on."""

import os
import socket
import struct
import threading
import time

import pytest
from conftest import ours_only, resident_megabytes

from raw.resp import Connection, encode, plain

PROTOCOL_ERRORS = {
    b"*1\r\n$629145600\r\n": b"invalid bulk length",
    b"*1\r\n$536870913\r\n": b"invalid bulk length",
    b"*1\r\n$-1\r\n": b"invalid bulk length",
    b"*1\r\n$-5\r\n": b"invalid bulk length",
    b"*1\r\n$x\r\n": b"invalid bulk length",
    b"*1\r\n$\r\n": b"invalid bulk length",
    b"*1\r\n$99999999999999999999\r\n": b"invalid bulk length",
    b"*1\r\n$ 4\r\n": b"invalid bulk length",
    b"*99999999999\r\n": b"invalid multibulk length",
    b"*x\r\n": b"invalid multibulk length",
    b"*1x\r\n": b"invalid multibulk length",
    b"*\r\n": b"invalid multibulk length",
    b"*1\r\n:1\r\n": b"expected '$', got ':'",
    b"*1\r\nPING\r\n": b"expected '$', got 'P'",
    b"*2\r\n$4\r\nECHO\r\n*1\r\n": b"expected '$', got '*'",
    b'"unbalanced\r\n': b"unbalanced quotes in request",
    b"GET 'unbalanced\r\n": b"unbalanced quotes in request",
    b'GET "closed"open\r\n': b"unbalanced quotes in request",
    b"x" * 70_000: b"too big inline request",
    b"*" + b"1" * 70_000: b"too big mbulk count string",
    b"*1\r\n$" + b"1" * 70_000: b"too big bulk count string",
}


@pytest.mark.parametrize("data", PROTOCOL_ERRORS, ids=lambda data: repr(data[:32]))
def test_protocol_errors(connection, data):
    connection.send_raw(data)
    kind, text = connection.read()
    assert (kind, text) == ("-", b"ERR Protocol error: " + PROTOCOL_ERRORS[data])
    assert connection.closed_by_peer()


def test_what_came_before_a_protocol_error_is_answered(connection, key):
    connection.send_raw(encode(("SET", key, "1")) + encode(("GET", key)) + b"*1\r\n$-7\r\n")
    assert connection.read() == ("+", b"OK")
    assert connection.read() == ("$", b"1")
    assert connection.read()[0] == "-"
    assert connection.closed_by_peer()


def test_empty_requests_are_no_requests(connection):
    connection.send_raw(b"\r\n\r\n*0\r\n*-1\r\n*-10\r\n\n" + encode(("PING",)))
    assert connection.read() == ("+", b"PONG")


def test_inline_commands(connection, key):
    connection.send_raw(f"SET {key} \"a b\\x00\\n\"\r\nGET {key}\nget '{key}'\r\n   PING   \r\n".encode())
    assert connection.read() == ("+", b"OK")
    assert connection.read() == ("$", b"a b\0\n")
    assert connection.read() == ("$", b"a b\0\n")
    assert connection.read() == ("+", b"PONG")


def test_nul_bytes_are_bytes(connection, key):
    key = key.encode() + b"\0\r\n\xff"
    assert connection.ask("SET", key, b"\0") == b"OK"
    assert connection.ask("GET", key) == b"\0"
    assert connection.ask("STRLEN", key) == 1
    error = connection.ask(b"GET\0", key)
    assert error[0] == "error" and "unknown command 'GET" in error[1]
    assert connection.ask(b"", b"")[1] == "ERR unknown command '', with args beginning with: '' "


def test_an_error_never_breaks_the_line(connection):
    kind, text = connection.call(b"NO\r\nSUCH", b"a\r\n+OK\r\n")
    assert kind == "-" and b"\n" not in text and b"\r" not in text
    assert connection.call("PING") == ("+", b"PONG")


def test_a_byte_at_a_time(connection, key):
    for byte in encode(("SET", key, "slowly")) + encode(("GET", key)):
        connection.send_raw(bytes([byte]))
    assert connection.read() == ("+", b"OK")
    assert connection.read() == ("$", b"slowly")


def test_half_requests_hold_up_nobody(key):
    request = encode(("SET", key, "x" * 1000))
    halves = [Connection() for _ in range(200)]
    for at, half in enumerate(halves):
        half.send_raw(request[: 1 + at % (len(request) - 2)])
    with Connection() as other:
        began = time.monotonic()
        assert other.ask("PING") == b"PONG"
        assert time.monotonic() - began < 1
        assert other.ask("EXISTS", key) == 0
    for half in halves:
        half.close()


def test_connections_that_end_abruptly(key):
    for _ in range(50):
        connection = Connection()
        connection.send_raw(encode(("SET", key, "x")) * 100)
        # RST instead of FIN, with replies unread.
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def test_a_million_commands_at_once(connection, key):
    count = 1_000_000
    writer = threading.Thread(target=connection.send_raw, args=(encode(("INCR", key)) * count,))
    writer.start()
    last = None
    for _ in range(count):
        last = connection.read()
    writer.join()
    assert last == (":", b"%d" % count)


def test_a_million_arguments(connection, key):
    keys = [b"%d" % at for at in range(1_000_000)]
    threading.Thread(target=connection.send, args=("EXISTS", *keys)).start()
    assert connection.read() == (":", b"0")
    threading.Thread(target=connection.send, args=("SADD", key, *keys)).start()
    assert connection.read() == (":", b"1000000")
    assert connection.ask("SCARD", key) == 1_000_000
    assert connection.ask("UNLINK", key) == 1


@ours_only
def test_a_promised_length_costs_nothing():
    before = resident_megabytes()
    liars = [Connection() for _ in range(100)]
    for liar in liars:
        liar.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nonly this")
    for liar in liars[:20]:
        liar.send_raw(b"")
    time.sleep(0.3)
    assert resident_megabytes() - before < 200
    for liar in liars:
        liar.close()


@ours_only
def test_a_reader_who_does_not_read_costs_little(connection, key):
    connection.ask("SET", key, b"x" * (8 << 20))
    before = resident_megabytes()
    lazy = [Connection() for _ in range(4)]
    for one in lazy:
        one.send_raw(encode(("GET", key)) * 100)
    time.sleep(1)
    grown = resident_megabytes() - before
    for one in lazy:
        one.close()
    connection.ask("DEL", key)
    assert grown < 400, f"{grown} MB for 3200 MB of replies that nobody takes"


class TestBeforeAuthentication:
    @pytest.mark.parametrize("argv", [("GET", "x"), ("PING",), ("MULTI",), ("SUBSCRIBE", "c"), ("EVAL", "return 1", "0"), ("NOSUCH",)], ids=str)
    def test_nothing_is_served(self, stranger, argv):
        text = plain(stranger.call(*argv))[1]
        assert text == "NOAUTH Authentication required." or "unknown command" in text

    def test_hello_says_what_to_do(self, stranger):
        assert plain(stranger.call("HELLO", "3"))[1].startswith("NOAUTH HELLO must be called with the client already authenticated")

    def test_large_requests_are_refused_unread(self, stranger):
        stranger.send_raw(b"*11\r\n")
        assert stranger.read() == ("-", b"ERR Protocol error: unauthenticated multibulk length")
        assert stranger.closed_by_peer()

    def test_large_arguments_too(self, stranger):
        stranger.send_raw(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n")
        assert stranger.read() == ("-", b"ERR Protocol error: unauthenticated bulk length")
        assert stranger.closed_by_peer()

    def test_wrong_passwords(self, stranger):
        expected = ("error", "WRONGPASS invalid username-password pair or user is disabled.")
        assert stranger.ask("AUTH", "wrong") == expected
        assert stranger.ask("AUTH", "default", "wrong") == expected
        assert stranger.ask("AUTH", "nobody", stranger.password) == expected
        assert stranger.ask("HELLO", "3", "AUTH", "default", "wrong") == expected
        assert stranger.ask("AUTH", stranger.password) == b"OK"
        assert stranger.ask("PING") == b"PONG"

    def test_quit_is_polite(self, stranger):
        assert stranger.ask("QUIT") == b"OK"
        assert stranger.closed_by_peer()


def test_http_on_the_wrong_port_is_cut_off(stranger):
    stranger.send_raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nFLUSHALL\n")
    assert stranger.closed_by_peer()


def test_numbers_at_the_edges(connection, key):
    connection.ask("SET", key, "9223372036854775807")
    assert connection.ask("INCR", key)[1] == "ERR increment or decrement would overflow"
    assert connection.ask("INCRBY", key, "-9223372036854775808") == -1
    assert connection.ask("DECRBY", key, "-9223372036854775808")[1] == "ERR decrement would overflow"
    assert connection.ask("INCRBY", key, "9223372036854775808")[1] == "ERR value is not an integer or out of range"
    # Eighty bits reach further than sixty-four.
    assert len(connection.ask("INCRBYFLOAT", key, "1e400")) == 401
    assert connection.ask("INCRBYFLOAT", key, "1e5000000000000")[1] == "ERR value is not a valid float"
    assert connection.ask("INCRBYFLOAT", key, "9" * 6000)[0] == "error"
    assert connection.ask("SETRANGE", key, "536870912", "x")[1] == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert connection.ask("SETBIT", key, "4294967296", "1")[1] == "ERR bit offset is not an integer or out of range"
    assert connection.ask("EXPIRE", key, "9223372036854775807")[1] == "ERR invalid expire time in 'expire' command"
    assert connection.ask("SETEX", key, "-1", "x")[1] == "ERR invalid expire time in 'setex' command"
    connection.ask("SET", key, "short")
    assert connection.ask("GETRANGE", key, "-9223372036854775808", "9223372036854775807") == b"short"
    assert connection.ask("ZADD", f"{key}z", "nan", "m")[1] == "ERR value is not a valid float"
    assert connection.ask("ZADD", f"{key}z", "inf", "m") == 1
    assert connection.ask("ZINCRBY", f"{key}z", "-inf", "m")[1] == "ERR resulting score is not a number (NaN)"


class TestHostileScripts:
    @ours_only
    @pytest.mark.parametrize(
        "script",
        [
            "local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end",
            "return string.rep('x', 2 ^ 31)",
            "local s = 'x' while true do s = s .. s end",
            "local t = {} for i = 1, 1e9 do t[i] = i end",
            "return table.concat({string.rep('x', 5e8), string.rep('y', 5e8)})",
            "return cjson.encode({string.rep('x', 9e8)})",
            "return string.format('%' .. '99999999d', 1)",
        ],
    )
    def test_allocation_ends_in_an_error(self, connection, script):
        connection.socket.settimeout(60)
        assert connection.call("EVAL", script, "0")[0] == "-"
        assert connection.ask("EVAL", "return 1", "0") == 1
        assert resident_megabytes() < 2000

    @pytest.mark.parametrize("name", ["io", "require", "dofile", "loadfile", "package", "debug", "os.execute", "os.getenv", "os.exit", "print"])
    def test_the_world_is_out_of_reach(self, connection, name):
        reply = connection.call("EVAL", f"return tostring({name})", "0")
        assert reply[0] == "-" or reply[1] == b"nil", reply

    def test_recursion_ends(self, connection):
        assert connection.call("EVAL", "local function f() return f() + 1 end return f()", "0")[0] == "-"
        assert connection.call("EVAL", "local t = {} t = setmetatable(t, {__index = function(t, k) return t[k] end}) return t.x", "0")[0] == "-"
        assert connection.call("EVAL", "local f f = function() return pcall(f) end return tostring(f())", "0")[0] in "$-"
        assert connection.call("EVAL", "return string.rep('(', 100000)", "0")[0] == "$"
        assert connection.call("EVAL", "return " + "(" * 100_000 + "1" + ")" * 100_000, "0")[0] == "-"
        assert connection.call("EVAL", "local t = {} for i = 1, 100000 do t = {t} end return t", "0")[0] in "*-"

    def test_patterns_end(self, connection):
        assert connection.call("EVAL", "return string.find(string.rep('a', 200000), string.rep('(a', 40))", "0")[0] == "-"

    def test_bytecode_is_refused(self, connection):
        assert connection.call("EVAL", "return loadstring(string.dump(function() return 1 end))()", "0")[0] == "-"
        assert connection.call("EVAL", b"\x1bLua\x51\0\1\4\4\4\x08\0" + os.urandom(64), "0")[0] == "-"

    def test_globals_stay_as_they_are(self, connection):
        for script in ("x = 1", "redis.call = nil", "string.rep = nil", "getmetatable('').__index = nil", "_G.string = nil", "rawset(_G, 'y', 1) return y"):
            connection.call("EVAL", script, "0")
        assert connection.ask("EVAL", "return redis.call('PING').ok .. string.rep('x', 2) .. ('y'):rep(2)", "0") == b"PONGxxyy"


def test_a_stored_reply_is_deep(connection):
    """An array nested as deep as a script likes is written, or refused, not crashed on."""
    reply = connection.call("EVAL", "local t = {1} for i = 1, 60 do t = {t} end return t", "0")
    assert reply[0] in "*-"
