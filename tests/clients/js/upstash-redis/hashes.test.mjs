import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);

test("HSET, HGET, HGETALL, HMGET, HMSET, HSETNX", async () => {
  const key = name();
  assert.equal(await redis.hset(key, { a: 1, b: "two", c: { n: [1] }, "😀": "OK" }), 4);
  assert.equal(await redis.hset(key, { a: 2 }), 0);
  assert.equal(await redis.hget(key, "a"), 2);
  assert.equal(await redis.hget(key, "nope"), null);
  assert.deepEqual(await redis.hgetall(key), { a: 2, b: "two", c: { n: [1] }, "😀": "OK" });
  assert.equal(await redis.hgetall(name()), null);
  assert.deepEqual(await redis.hmget(key, "a", "nope"), { a: 2, nope: null });
  assert.equal(await redis.hmset(key, { d: 4 }), "OK");
  assert.equal(await redis.hsetnx(key, "d", 5), 0);
  assert.equal(await redis.hsetnx(key, "e", 5), 1);
});

test("HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN, HDEL", async () => {
  const key = name();
  await redis.hset(key, { a: "1", b: "four" });
  assert.deepEqual((await redis.hkeys(key)).sort(), ["a", "b"]);
  assert.deepEqual(await redis.hvals(key), [1, "four"]);
  assert.equal(await redis.hlen(key), 2);
  assert.equal(await redis.hexists(key, "a"), 1);
  assert.equal(await redis.hexists(key, "z"), 0);
  assert.equal(await redis.hstrlen(key, "b"), 4);
  assert.equal(await redis.hdel(key, "a", "z"), 1);
  assert.equal(await redis.hdel(key, "b"), 1);
  assert.equal(await redis.exists(key), 0);
});

test("HINCRBY, HINCRBYFLOAT", async () => {
  const key = name();
  assert.equal(await redis.hincrby(key, "n", 5), 5);
  assert.equal(await redis.hincrby(key, "n", -7), -2);
  assert.equal(await redis.hincrbyfloat(key, "f", 1.25), 1.25);
  assert.equal(await redis.hincrbyfloat(key, "f", 1), 2.25);
  await redis.hset(key, { t: "text" });
  await assert.rejects(redis.hincrby(key, "t", 1), /ERR hash value is not an integer/);
  await assert.rejects(redis.hincrbyfloat(key, "t", 1), /ERR hash value is not a float/);
});

test("HRANDFIELD", async () => {
  const key = name();
  await redis.hset(key, { a: 1, b: 2, c: 3 });
  assert.ok(["a", "b", "c"].includes(await redis.hrandfield(key)));
  assert.deepEqual((await redis.hrandfield(key, 10)).sort(), ["a", "b", "c"]);
  assert.equal((await redis.hrandfield(key, -10)).length, 10);
  assert.deepEqual(await redis.hrandfield(key, 3, true), { a: 1, b: 2, c: 3 });
  assert.equal(await redis.hrandfield(name()), null);
});

test("HSCAN meets every field of a large hash", async () => {
  const key = name();
  const all = Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`f${i}`, `v${i}`]));
  await redis.hset(key, all);
  const seen = {};
  let cursor = "0";
  do {
    const [next, page] = await redis.hscan(key, cursor, { count: 40 });
    for (let i = 0; i < page.length; i += 2) seen[page[i]] = page[i + 1];
    cursor = next;
  } while (cursor !== "0");
  assert.deepEqual(seen, all);
  const [, some] = await redis.hscan(key, 0, { match: "f69*", count: 10_000 });
  assert.equal(some.length, 22);
});

test("HEXPIRE and its kin", async () => {
  const key = name();
  await redis.hset(key, { a: 1, b: "two", c: 3 });
  assert.deepEqual(await redis.hexpire(key, ["a", "b", "none"], 100), [1, 1, -2]);
  assert.deepEqual(await redis.hexpire(key, ["a", "c"], 50, "NX"), [0, 1]);
  assert.deepEqual(await redis.hexpire(key, "a", 50, "GT"), [0]);
  assert.deepEqual(await redis.hpexpire(key, "a", 50_000, "LT"), [1]);
  assert.deepEqual(await redis.httl(key, ["a", "b", "none"]), [50, 100, -2]);
  const [left] = await redis.hpttl(key, "b");
  assert.ok(left > 90_000 && left <= 100_000, `${left}`);
  assert.deepEqual(await redis.hexpireat(key, "a", 4102444800), [1]);
  assert.deepEqual(await redis.hpexpireat(key, "b", 4102444800001, "XX"), [1]);
  assert.deepEqual(await redis.hexpiretime(key, ["a", "b"]), [4102444800, 4102444801]);
  assert.deepEqual(await redis.hpexpiretime(key, ["a", "b"]), [4102444800000, 4102444800001]);
  assert.deepEqual(await redis.hpersist(key, ["a", "none"]), [1, -2]);
  assert.deepEqual(await redis.hpersist(key, "a"), [-1]);
  assert.deepEqual(await redis.httl(key, "a"), [-1]);
  assert.deepEqual(await redis.hexpire(key, ["a", "b", "c"], 0), [2, 2, 2]);
  assert.equal(await redis.exists(key), 0);
  assert.deepEqual(await redis.httl(key, "a"), [-2]);
  assert.deepEqual(await redis.hexpire(key, "a", 10), [-2]);
});

test("HSETEX, HGETEX, HGETDEL", async () => {
  const key = name();
  assert.equal(await redis.hsetex(key, { conditional: "FNX", expiration: { ex: 100 } }, { a: 1, b: { n: 2 } }), 1);
  assert.equal(await redis.hsetex(key, { conditional: "FNX" }, { b: 3, c: 4 }), 0);
  assert.deepEqual(await redis.httl(key, ["a", "b", "c"]), [100, 100, -2]);
  assert.equal(await redis.hsetex(key, { expiration: { keepttl: true } }, { a: 2 }), 1);
  assert.deepEqual(await redis.httl(key, "a"), [100]);
  assert.deepEqual(await redis.hgetex(key, { persist: true }, "a", "none"), { a: 2, none: null });
  assert.deepEqual(await redis.httl(key, "a"), [-1]);
  assert.deepEqual(await redis.hgetex(key, { pxat: 4102444800000 }, "a"), { a: 2 });
  assert.deepEqual(await redis.hexpiretime(key, "a"), [4102444800]);
  assert.equal(await redis.hgetex(name(), {}, "a"), null);
  assert.deepEqual(await redis.hgetdel(key, "a", "none"), { a: 2, none: null });
  assert.equal(await redis.hgetdel(name(), "a"), null);
  assert.deepEqual(await redis.hgetex(key, { exat: 1 }, "b"), { b: { n: 2 } });
  assert.equal(await redis.exists(key), 0);
});
