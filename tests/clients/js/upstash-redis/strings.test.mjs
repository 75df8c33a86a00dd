import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);

test("values come back as they went in", async () => {
  const values = [
    "plain", "", "OK", "T0s=", "null", "ümlaut €", "😀👩‍👩‍👧", "a\u0000b", "line\r\nbreak", '"quoted"', "\\",
    "a".repeat(70_000), " leading and trailing ", "not{json", "[1,2", "0x10", "00", "-", "١٢٣",
  ];
  for (const value of values) {
    const key = name();
    assert.equal(await redis.set(key, value), "OK");
    const expected = value === "null" ? null : value === '"quoted"' ? "quoted" : value === "00" ? await redis.get(key) : value;
    assert.deepEqual(await redis.get(key), expected, JSON.stringify(value.slice(0, 40)));
    assert.equal(await redis.strlen(key), Buffer.byteLength(value));
  }
});

test("JSON values are serialized and parsed by the client", async () => {
  const values = [{ a: 1, b: [true, null, "x"], c: { d: "😀" } }, [1, "2", [3]], 42, -1.5, true, false, 1e21, Number.MAX_SAFE_INTEGER];
  for (const value of values) {
    const key = name();
    assert.equal(await redis.set(key, value), "OK");
    assert.deepEqual(await redis.get(key), value);
  }
  const big = name();
  await redis.set(big, "9223372036854775807");
  assert.equal(await redis.get(big), "9223372036854775807");
});

test("without automatic deserialization all is text", async () => {
  const plain = new Redis({ ...rest, automaticDeserialization: false });
  const key = name();
  await plain.set(key, JSON.stringify({ a: 1 }));
  assert.equal(await plain.get(key), '{"a":1}');
  await plain.set(key, 5);
  assert.equal(await plain.get(key), "5");
});

test("without base64 too", async () => {
  const plain = new Redis({ ...rest, responseEncoding: false });
  const key = name();
  for (const value of ["OK", "T0s=", "😀", { a: ["OK"] }, "a\u0000b\t"]) {
    await plain.set(key, value);
    assert.deepEqual(await plain.get(key), value);
  }
});

test("SET's options", async () => {
  const key = name();
  assert.equal(await redis.set(key, "1", { xx: true }), null);
  assert.equal(await redis.set(key, "1", { nx: true }), "OK");
  assert.equal(await redis.set(key, "2", { nx: true }), null);
  assert.equal(await redis.set(key, "2", { get: true }), 1);
  assert.equal(await redis.set(key, "3", { ex: 100 }), "OK");
  const ttl = await redis.ttl(key);
  assert.ok(ttl > 95 && ttl <= 100, `${ttl}`);
  assert.equal(await redis.set(key, "4", { keepTtl: true }), "OK");
  assert.ok((await redis.ttl(key)) > 95);
  assert.equal(await redis.set(key, "5", { px: 50_000 }), "OK");
  assert.ok((await redis.pttl(key)) > 45_000);
  assert.equal(await redis.set(key, "6", { exat: Math.floor(Date.now() / 1000) + 500 }), "OK");
  assert.ok((await redis.ttl(key)) > 490);
  assert.equal(await redis.set(key, "7", { pxat: Date.now() + 900_000 }), "OK");
  assert.ok((await redis.ttl(key)) > 890);
  assert.equal(await redis.set(key, "8"), "OK");
  assert.equal(await redis.ttl(key), -1);
});

test("SETEX, PSETEX, SETNX, GETSET, GETDEL, GETEX", async () => {
  const key = name();
  assert.equal(await redis.setex(key, 100, "a"), "OK");
  assert.ok((await redis.ttl(key)) > 95);
  assert.equal(await redis.psetex(key, 100_000, "b"), "OK");
  assert.ok((await redis.pttl(key)) > 95_000);
  assert.equal(await redis.setnx(key, "c"), 0);
  assert.equal(await redis.getset(key, "d"), "b");
  assert.equal(await redis.getex(key, { ex: 50 }), "d");
  assert.ok((await redis.ttl(key)) > 45);
  assert.equal(await redis.getex(key, { persist: true }), "d");
  assert.equal(await redis.ttl(key), -1);
  assert.equal(await redis.getdel(key), "d");
  assert.equal(await redis.get(key), null);
  assert.equal(await redis.setnx(key, "c"), 1);
  await assert.rejects(redis.setex(key, 0, "a"), /ERR invalid expire time in 'setex' command/);
});

test("APPEND, GETRANGE, SETRANGE, STRLEN", async () => {
  const key = name();
  assert.equal(await redis.append(key, "Hello"), 5);
  assert.equal(await redis.append(key, " World"), 11);
  assert.equal(await redis.getrange(key, 0, 4), "Hello");
  assert.equal(await redis.getrange(key, -5, -1), "World");
  assert.equal(await redis.setrange(key, 6, "Redis"), 11);
  assert.equal(await redis.get(key), "Hello Redis");
  assert.equal(await redis.strlen(key), 11);
  assert.equal(await redis.strlen(name()), 0);
});

test("counters", async () => {
  const key = name();
  assert.equal(await redis.incr(key), 1);
  assert.equal(await redis.incrby(key, 41), 42);
  assert.equal(await redis.decr(key), 41);
  assert.equal(await redis.decrby(key, 40), 1);
  assert.equal(await redis.incrbyfloat(key, 0.5), 1.5);
  await assert.rejects(redis.incr(key), /ERR value is not an integer or out of range/);
  const max = name();
  await redis.set(max, "9223372036854775807");
  await assert.rejects(redis.incr(max), /ERR increment or decrement would overflow/);
});

test("MSET, MGET, MSETNX", async () => {
  const [a, b, c] = [name("a"), name("b"), name("c")];
  assert.equal(await redis.mset({ [a]: { n: 1 }, [b]: "two" }), "OK");
  assert.deepEqual(await redis.mget(a, b, c), [{ n: 1 }, "two", null]);
  assert.deepEqual(await redis.mget([a, c]), [{ n: 1 }, null]);
  assert.equal(await redis.msetnx({ [b]: "x", [c]: "y" }), 0);
  assert.equal(await redis.get(c), null);
  assert.equal(await redis.msetnx({ [name()]: "x", [c]: "y" }), 1);
});

test("a string is no number, a number is no hash", async () => {
  const key = name();
  await redis.set(key, "text");
  await assert.rejects(redis.hget(key, "f"), /WRONGTYPE Operation against a key holding the wrong kind of value/);
});
