import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);

test("a pipeline answers in order, with each command's own type", async () => {
  const key = name();
  const results = await redis.pipeline().set(key, { a: 1 }).get(key).incr(`${key}:n`).hset(`${key}:h`, { f: "OK" }).hgetall(`${key}:h`).exec();
  assert.deepEqual(results, ["OK", { a: 1 }, 1, 1, { f: "OK" }]);
});

test("one command's error leaves the others alone", async () => {
  const key = name();
  const results = await redis.pipeline().set(key, "text").incr(key).get(key).exec({ keepErrors: true });
  assert.equal(results[0].result, "OK");
  assert.match(results[1].error, /ERR value is not an integer or out of range/);
  assert.equal(results[2].result, "text");
  await assert.rejects(redis.pipeline().set(key, "text").incr(key).exec(), /Command 2 \[ incr \] failed: ERR value is not an integer/);
});

test("a thousand commands", async () => {
  const key = name();
  const pipeline = redis.pipeline();
  for (let i = 0; i < 1000; i++) pipeline.incr(key);
  assert.deepEqual(await pipeline.exec(), Array.from({ length: 1000 }, (_, i) => i + 1));
});

test("automatic pipelining keeps replies with their calls", async () => {
  const prefix = name();
  const writes = Array.from({ length: 200 }, (_, i) => redis.set(`${prefix}:${i}`, `value ${i}`));
  assert.deepEqual(await Promise.all(writes), Array(200).fill("OK"));
  const reads = Array.from({ length: 200 }, (_, i) => redis.get(`${prefix}:${i}`));
  assert.deepEqual(await Promise.all(reads), Array.from({ length: 200 }, (_, i) => `value ${i}`));
  const mixed = await Promise.allSettled([redis.incr(`${prefix}:0`), redis.incr(`${prefix}:n`), redis.hget(`${prefix}:1`, "f")]);
  assert.deepEqual(mixed.map((one) => one.status), ["rejected", "fulfilled", "rejected"]);
});

test("automatic pipelining off", async () => {
  const plain = new Redis({ ...rest, enableAutoPipelining: false });
  const key = name();
  assert.deepEqual(await Promise.all([plain.incr(key), plain.incr(key), plain.incr(key)]).then((all) => all.sort()), [1, 2, 3]);
});

test("a transaction is atomic and answers in order", async () => {
  const key = name();
  assert.deepEqual(await redis.multi().set(key, 1).incr(key).get(key).exec(), ["OK", 2, 2]);
  const runtime = await redis.multi().set(key, "text").incr(key).get(key).exec({ keepErrors: true });
  assert.match(runtime[1].error, /not an integer/);
  assert.equal(runtime[2].result, "text");
});

test("a transaction with a malformed command is discarded whole", async () => {
  const key = name();
  const transaction = redis.multi().set(key, "written");
  transaction.getrange(key);
  await assert.rejects(transaction.exec(), /ERR|EXECABORT/);
  assert.equal(await redis.get(key), null);
});

test("transactions never interleave", async () => {
  const key = name();
  const all = await Promise.all(
    Array.from({ length: 40 }, (_, i) => redis.multi().set(key, `mine ${i}`).get(key).incr(`${key}:n`).get(key).exec()),
  );
  all.forEach((one, i) => assert.deepEqual([one[0], one[1], one[3]], ["OK", `mine ${i}`, `mine ${i}`]));
  assert.deepEqual(all.map((one) => one[2]).sort((a, b) => a - b), Array.from({ length: 40 }, (_, i) => i + 1));
});

test("the sync token changes with every write", async () => {
  const fresh = new Redis({ ...rest, enableAutoPipelining: false });
  const key = name();
  const seen = new Set();
  const moved = () => {
    const token = fresh.readYourWritesSyncToken;
    assert.ok(token, "there is a token");
    assert.ok(!seen.has(token), `${token} is new`);
    seen.add(token);
  };
  await fresh.set(key, 1);
  moved();
  await fresh.incr(key);
  moved();
  await fresh.pipeline().set(key, 2).incr(key).exec();
  moved();
  await fresh.multi().set(key, 3).exec();
  moved();
  await fresh.eval("return redis.call('set', KEYS[1], ARGV[1])", [key], ["4"]);
  moved();
});
