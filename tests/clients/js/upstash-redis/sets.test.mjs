import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);
const sorted = async (promise) => (await promise).map(String).sort();

test("SADD, SREM, SCARD, SISMEMBER, SMISMEMBER, SMEMBERS", async () => {
  const key = name();
  assert.equal(await redis.sadd(key, "a", "b", { c: 1 }, 4), 4);
  assert.equal(await redis.sadd(key, "a", "e"), 1);
  assert.equal(await redis.scard(key), 5);
  assert.equal(await redis.sismember(key, "a"), 1);
  assert.equal(await redis.sismember(key, { c: 1 }), 1);
  assert.deepEqual(await redis.smismember(key, ["a", "z", 4]), [1, 0, 1]);
  assert.equal((await redis.smembers(key)).length, 5);
  assert.equal(await redis.srem(key, "a", "z"), 1);
  assert.deepEqual(await redis.smembers(name()), []);
});

test("algebra", async () => {
  const [a, b, to] = [name("a"), name("b"), name("to")];
  await redis.sadd(a, 1, 2, 3, "x");
  await redis.sadd(b, 2, 3, 4);
  assert.deepEqual(await sorted(redis.sinter(a, b)), ["2", "3"]);
  assert.deepEqual(await sorted(redis.sunion(a, b)), ["1", "2", "3", "4", "x"]);
  assert.deepEqual(await sorted(redis.sdiff(a, b)), ["1", "x"]);
  assert.equal(await redis.sinterstore(to, a, b), 2);
  assert.equal(await redis.sunionstore(to, a, b), 5);
  assert.equal(await redis.sdiffstore(to, a, b), 2);
  assert.deepEqual(await sorted(redis.smembers(to)), ["1", "x"]);
  assert.equal(await redis.sintercard([a, b]), 2);
  assert.equal(await redis.sintercard([a, b], { limit: 1 }), 1);
  assert.equal(await redis.smove(a, b, "x"), 1);
  assert.equal(await redis.smove(a, b, "y"), 0);
});

test("SPOP, SRANDMEMBER", async () => {
  const key = name();
  await redis.sadd(key, ...Array.from({ length: 10 }, (_, i) => `m${i}`));
  assert.match(await redis.srandmember(key), /^m\d$/);
  assert.equal((await redis.srandmember(key, 4)).length, 4);
  assert.equal((await redis.srandmember(key, -20)).length, 20);
  assert.match(await redis.spop(key), /^m\d$/);
  assert.equal((await redis.spop(key, 5)).length, 5);
  assert.equal(await redis.scard(key), 4);
  assert.equal(await redis.spop(name()), null);
});

test("SSCAN", async () => {
  const key = name();
  const members = Array.from({ length: 1000 }, (_, i) => `member ${i}`);
  await redis.sadd(key, ...members);
  const seen = new Set();
  let cursor = "0";
  do {
    const [next, page] = await redis.sscan(key, cursor, { count: 100 });
    page.forEach((member) => seen.add(member));
    cursor = next;
  } while (cursor !== "0");
  assert.deepEqual([...seen].sort(), members.sort());
});
