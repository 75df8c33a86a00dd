import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);

async function abcd() {
  const key = name();
  const pairs = ["a", "b", "c", "d"].map((member, i) => ({ score: i + 1, member }));
  assert.equal(await redis.zadd(key, ...pairs), 4);
  return key;
}

test("ZADD's options, ZSCORE, ZMSCORE, ZINCRBY, ZCARD", async () => {
  const key = name();
  assert.equal(await redis.zadd(key, { score: 1.5, member: "a" }, { score: 2, member: { b: 1 } }), 2);
  assert.equal(await redis.zadd(key, { nx: true }, { score: 9, member: "a" }), 0);
  assert.equal(await redis.zadd(key, { xx: true, ch: true }, { score: 9, member: "a" }), 1);
  assert.equal(await redis.zadd(key, { gt: true, ch: true }, { score: 3, member: "a" }), 0);
  assert.equal(await redis.zadd(key, { lt: true, ch: true }, { score: 3, member: "a" }), 1);
  assert.equal(await redis.zadd(key, { incr: true }, { score: 1, member: "a" }), 4);
  assert.equal(await redis.zscore(key, "a"), 4);
  assert.equal(await redis.zscore(key, { b: 1 }), 2);
  assert.equal(await redis.zscore(key, "z"), null);
  assert.deepEqual(await redis.zmscore(key, ["a", "z"]), [4, null]);
  assert.equal(await redis.zincrby(key, 0.25, "a"), 4.25);
  assert.equal(await redis.zcard(key), 2);
  await assert.rejects(redis.zadd(key, { score: Number.NaN, member: "n" }), /ERR (value is not a valid float|null args are not supported)/);
});

test("ranges", async () => {
  const key = await abcd();
  assert.deepEqual(await redis.zrange(key, 0, -1), ["a", "b", "c", "d"]);
  assert.deepEqual(await redis.zrange(key, 1, 2, { rev: true }), ["c", "b"]);
  assert.deepEqual(await redis.zrange(key, 0, 1, { withScores: true }), ["a", 1, "b", 2]);
  assert.deepEqual(await redis.zrange(key, "(1", "+inf", { byScore: true }), ["b", "c", "d"]);
  assert.deepEqual(await redis.zrange(key, "+inf", 2, { byScore: true, rev: true }), ["d", "c", "b"]);
  assert.deepEqual(await redis.zrange(key, "-inf", "+inf", { byScore: true, offset: 1, count: 2 }), ["b", "c"]);
  assert.deepEqual(await redis.zrange(key, "[b", "(d", { byLex: true }), ["b", "c"]);
  assert.equal(await redis.zcount(key, "(1", 3), 2);
  assert.equal(await redis.zlexcount(key, "-", "+"), 4);
  assert.equal(await redis.zrank(key, "c"), 2);
  assert.equal(await redis.zrevrank(key, "c"), 1);
  assert.equal(await redis.zrank(key, "z"), null);
});

test("removal", async () => {
  const key = await abcd();
  assert.equal(await redis.zrem(key, "a", "z"), 1);
  assert.deepEqual(await redis.zpopmin(key), ["b", 2]);
  assert.deepEqual(await redis.zpopmax(key, 5), ["d", 4, "c", 3]);
  assert.equal(await redis.zremrangebyrank(await abcd(), 0, 1), 2);
  assert.equal(await redis.zremrangebyscore(await abcd(), "(1", "+inf"), 3);
  assert.equal(await redis.zremrangebylex(await abcd(), "[a", "[c"), 3);
});

test("algebra", async () => {
  const [a, b, to] = [await abcd(), name("b"), name("to")];
  await redis.zadd(b, { score: 10, member: "c" }, { score: 20, member: "x" });
  assert.equal(await redis.zunionstore(to, 2, [a, b]), 5);
  assert.equal(await redis.zscore(to, "c"), 13);
  assert.equal(await redis.zinterstore(to, 2, [a, b], { aggregate: "max", weights: [2, 3] }), 1);
  assert.equal(await redis.zscore(to, "c"), 30);
  assert.equal(await redis.zdiffstore(to, 2, a, b), 3);
  assert.deepEqual(await redis.zrange(to, 0, -1), ["a", "b", "d"]);
  assert.deepEqual(await redis.zunion(2, [a, b], { withScores: true, aggregate: "min" }), ["a", 1, "b", 2, "c", 3, "d", 4, "x", 20]);
});

test("ZSCAN", async () => {
  const key = name();
  const count = 500;
  await redis.zadd(key, ...Array.from({ length: count }, (_, i) => ({ score: i, member: `m${i}` })));
  const seen = new Map();
  let cursor = "0";
  do {
    const [next, page] = await redis.zscan(key, cursor, { count: 60 });
    for (let i = 0; i < page.length; i += 2) seen.set(page[i], Number(page[i + 1]));
    cursor = next;
  } while (cursor !== "0");
  assert.equal(seen.size, count);
  for (const [member, score] of seen) assert.equal(member, `m${score}`);
});

test("scores at the edges", async () => {
  const key = name();
  await redis.exec(["ZADD", key, "inf", "top", "-inf", "bottom", "1e300", "large", "0.1", "tenth"]);
  assert.deepEqual(await redis.zrange(key, 0, -1), ["bottom", "tenth", "large", "top"]);
  const scores = await redis.exec(["ZRANGE", key, 0, -1, "WITHSCORES"]);
  assert.deepEqual([scores[1], Number(scores[3]), Number(scores[5]), scores[7]], ["-inf", 0.1, 1e300, "inf"]);
});
