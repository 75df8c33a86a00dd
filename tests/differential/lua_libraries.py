"""The lua family: what the libraries of scripts make of random values.

`struct`, `cjson`, `cmsgpack` and `bit` are asked for random formats, values, texts
and bytes. A table with several fields has no order that both servers share, so
what is encoded has lists and tables of one field, and what is decoded is walked in
an order of its own.
"""

import random as chance

# What a script sees of a value, in one order.
SHOW = """
local function show(v,d)
  local t=type(v)
  if v==cjson.null then return 'null' end
  if t=='number' then return string.format('%.17g',v) end
  if t=='string' then return string.format('%q',v) end
  if t~='table' then return tostring(v) end
  if d>20 then return '...' end
  local names={}
  for k,x in pairs(v) do names[#names+1]=show(k,d+1)..'='..show(x,d+1) end
  table.sort(names)
  return '{'..table.concat(names,',')..'}'
end
local function all(...)
  local out={}
  for i=1,select('#',...) do out[i]=show((select(i,...)),0) end
  return out
end
""".replace("\n", " ")


def quoted(data):
    """A Lua string of these bytes."""
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


def number(rng):
    return rng.choice(
        [
            str(rng.randrange(-300, 300)),
            str(rng.randrange(256)),
            f"2^{rng.randrange(70)}",
            f"-2^{rng.randrange(70)}",
            f"2^{rng.randrange(70)}-1",
            f"2^{rng.randrange(70)}+1",
            f"{rng.uniform(-10, 10):.6g}",
            f"{rng.uniform(-1, 1):.17g}",
            f"{rng.uniform(-1, 1) * 10.0 ** rng.randrange(-310, 300):.17g}",
            "0.1",
            "-0",
            "1e15",
            "123456789012345",
            "1/0",
            "-1/0",
            "0/0",
            "'12'",
            "'0x10'",
            "'x'",
        ]
    )


def data(rng, most=12):
    kinds = [
        lambda: bytes(rng.randrange(256) for _ in range(rng.randrange(most))),
        lambda: bytes(rng.choice(b"ab\\\"/\0\n\r\t\x1f\x7f\x80\xc3\xa9") for _ in range(rng.randrange(most))),
        lambda: b"x" * rng.choice((0, 1, 15, 16, 31, 32, 33, 255, 256, 300)),
        lambda: "é€😀".encode(),
    ]
    return rng.choice(kinds)()


def value(rng, depth=4):
    """A Lua expression."""
    form = rng.randrange(14)
    if depth == 0 or form < 4:
        return number(rng)
    if form < 6:
        return quoted(data(rng))
    if form < 8:
        return rng.choice(["true", "false", "nil", "cjson.null", "{}", "function() end"][: 5 if rng.random() < 0.95 else 6])
    items = [value(rng, depth - 1) for _ in range(rng.randrange(5))]
    if form < 10:
        return "{" + ",".join(items) + "}"
    if form < 12:
        key = rng.choice(["'a'", "'a b'", "1", "2", "1.5", "true", "-1", "0", "12", "100", "{}", quoted(data(rng))])
        return "{[" + key + "]=" + (items or ["1"])[0] + "}"
    # A sparse list.
    return "{" + ",".join(f"[{at}]={item}" for at, item in zip(sorted(rng.sample(range(1, 14), len(items))), items)) + "}"


def nested(rng, deepest):
    depth = rng.randrange(deepest)
    if rng.random() < 0.5:
        return "(function() local t={} for i=1,%d do t={t} end return t end)()" % depth
    return "(function() local t={} for i=1,%d do t={a=t} end return t end)()" % depth


# ---- struct

CODES = "bBhHiIlLTfdsx"


def struct_format(rng):
    parts = []
    for _ in range(rng.randrange(6)):
        if rng.random() < 0.35:
            parts.append(rng.choice(["<", ">", "=", "!", "!1", "!2", "!4", "!8", "!16", " ", "!3", "!0", "!32"]))
        code = rng.choice(CODES + "c" * 2)
        if code in "iI" and rng.random() < 0.7:
            code += str(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 12, 16, 17, 32, 33, 0]))
        if code == "c":
            code += rng.choice(["", "0", "1", "3", "10"])
        parts.append(code)
    if rng.random() < 0.08:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(["z", "q", "\\000", "X", "c99999999999", "i2147483648", "*", "-", "i99999999999999999999"]))
    return "".join(parts)


def struct_script(rng):
    form = struct_format(rng)
    count = max(0, sum(c in "bBhHiIlLTfdsc" for c in form) + rng.choice((0, 0, 0, 0, -1, 1)))
    values = [number(rng) if c not in "sc" else quoted(data(rng)) for c in (form.replace(" ", "") + "d" * 9) if c in CODES.replace("x", "") + "c"][:count]
    if rng.random() < 0.15:
        values = [value(rng, 1) for _ in range(count)]
    arguments = "".join("," + one for one in values)
    packed = f"struct.pack('{form}'{arguments})"
    return rng.choice(
        [
            f"return {packed}",
            f"return {packed}",
            f"return all(struct.unpack('{form}',{packed}))",
            f"return all(struct.unpack('{form}',{quoted(data(rng, 40))}))",
            f"return all(struct.unpack('{form}',{quoted(data(rng, 40))},{rng.choice([-1, 0, 1, 2, 5, 41, 300, 1.5])}))",
            f"return struct.size('{form}')",
        ]
    )


# ---- cjson

CJSON_SETTINGS = [
    "cjson.encode_max_depth(%d)",
    "cjson.decode_max_depth(%d)",
    "cjson.encode_sparse_array(%s)",
    "cjson.encode_number_precision(%d)",
    "cjson.encode_invalid_numbers(%s)",
    "cjson.decode_invalid_numbers(%s)",
    "cjson.encode_keep_buffer(%s)",
]
CJSON_RESET = (
    "cjson.encode_max_depth(1000) cjson.decode_max_depth(1000) cjson.encode_sparse_array(false,2,10) "
    "cjson.encode_number_precision(14) cjson.encode_invalid_numbers(false) cjson.decode_invalid_numbers(true) cjson.encode_keep_buffer(true) "
)


def setting(rng):
    line = rng.choice(CJSON_SETTINGS)
    if "%d" in line:
        return line % rng.choice([0, 1, 2, 3, 5, 10, 14, 16, 17, 1000, -1])
    if "sparse" in line:
        return line % rng.choice(["true", "false", "true,1,2", "false,0", "false,3,3", "nil,4", "'x'", "false,-1", "1"])
    return line % rng.choice(["true", "false", "'null'", "'on'", "nil", "1", "'x'"])


def json_text(rng, depth=4):
    form = rng.randrange(12)
    if depth == 0 or form < 4:
        return rng.choice(
            ["1", "-1", "0", "-0", "1.5", "1e5", "1E-5", "12345678901234567890", "0x1F", "01", "1.", ".5", "-", "+1", "nan", "inf", "-inf", "Infinity", "NaN", "1e400", "true", "false", "null", "tru", "nul", "True"]
        )
    if form < 7:
        inner = rng.choice(["", "a", "a b", "\\n\\t\\\"\\\\\\/", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\u12", "\\x", "é", "\x01", "\\u0000", "\\b\\f\\r", "\\udc00", "\\ud83dx"])
        return '"' + inner + '"'
    items = [json_text(rng, depth - 1) for _ in range(rng.randrange(4))]
    blank = rng.choice(["", " ", "\n", "\t ", "\x0b"]) if rng.random() < 0.3 else ""
    if form < 10:
        return "[" + (blank + ",").join(items) + blank + "]"
    pairs = [f'"k{at}"{blank}:{item}' for at, item in enumerate(items)]
    return "{" + ",".join(pairs) + "}"


def json_script(rng):
    before = setting(rng) + " " if rng.random() < 0.4 else ""
    if rng.random() < 0.1:
        return CJSON_RESET + "return all(" + setting(rng).rstrip() + ")"
    if rng.random() < 0.5:
        what = nested(rng, 1100) if rng.random() < 0.06 else value(rng)
        return CJSON_RESET + before + f"return cjson.encode({what})"
    text = json_text(rng).encode()
    if rng.random() < 0.15 and text:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice([b"", b"x", b"\0", b",", b"]"]) + text[at + 1 :]
    if rng.random() < 0.05:
        count = rng.choice((3, 999, 1000, 1001))
        text = b"[" * count + b"]" * count
    return CJSON_RESET + before + f"return all(cjson.decode({quoted(text)}))"


# ---- cmsgpack


def pack_script(rng):
    values = ",".join(nested(rng, 20) if rng.random() < 0.1 else value(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 3))))
    packed = f"cmsgpack.pack({values})"
    bytes_ = data(rng, 20)
    if rng.random() < 0.5:
        bytes_ = bytes([rng.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC7, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0x81, 0x92, 0xA3, 0xE0])]) + bytes_
    offset = rng.choice([0, 1, 2, 5, -1, 100])
    return rng.choice(
        [
            f"return {packed}",
            f"return {packed}",
            f"return all(cmsgpack.unpack({packed}))",
            f"return all(cmsgpack.unpack({quoted(bytes_)}))",
            f"return all(cmsgpack.unpack_one({quoted(bytes_)},{offset}))",
            f"return all(cmsgpack.unpack_one({packed}))",
            f"return all(cmsgpack.unpack_limit({packed},{rng.choice([0, 1, 2, 5, -1])},{offset}))",
        ]
    )


# ---- bit


def bit_script(rng):
    name = rng.choice(["band", "bor", "bxor", "bnot", "lshift", "rshift", "arshift", "rol", "ror", "bswap", "tobit", "tohex", "nothing"])
    arguments = ",".join(number(rng) for _ in range(rng.choice((0, 1, 2, 2, 2, 3))))
    return f"return all(bit.{name}({arguments}))"


def script(rng):
    body = rng.choice([struct_script, struct_script, json_script, json_script, pack_script, pack_script, bit_script])(rng)
    return (SHOW if "all(" in body else "") + body


def sequence(rng):
    rng = chance.Random(rng.random())
    return [{"argv": [b"EVAL", script(rng).encode("utf-8", "surrogateescape"), b"0"], "who": "a"} for _ in range(40)]
