import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest, sleep } from "../environment.mjs";

const redis = new Redis(rest);

test("PING, ECHO, TIME, DBSIZE, RANDOMKEY", async () => {
  assert.equal(await redis.ping(), "PONG");
  assert.equal(await redis.ping(["hello"]), "hello");
  assert.equal(await redis.echo("hello 😀"), "hello 😀");
  const [seconds, micros] = await redis.time();
  assert.ok(Math.abs(seconds - Date.now() / 1000) < 5 && micros < 1e6);
  await redis.set(name(), 1);
  assert.ok((await redis.dbsize()) > 0);
  assert.equal(typeof (await redis.randomkey()), "string");
});

test("DEL, UNLINK, EXISTS, TOUCH, TYPE", async () => {
  const [a, b, c] = [name("a"), name("b"), name("c")];
  await redis.mset({ [a]: 1, [b]: 2 });
  assert.equal(await redis.exists(a, b, c, a), 3);
  assert.equal(await redis.touch(a, b, c), 2);
  assert.equal(await redis.type(a), "string");
  assert.equal(await redis.type(c), "none");
  assert.equal(await redis.del(a, c), 1);
  assert.equal(await redis.unlink(b, c), 1);
  await redis.hset(a, { f: 1 });
  await redis.sadd(b, 1);
  await redis.zadd(c, { score: 1, member: "m" });
  assert.deepEqual([await redis.type(a), await redis.type(b), await redis.type(c)], ["hash", "set", "zset"]);
});

test("expiry", async () => {
  const key = name();
  assert.equal(await redis.expire(key, 10), 0);
  await redis.set(key, "v");
  assert.equal(await redis.ttl(key), -1);
  assert.equal(await redis.pttl(name()), -2);
  assert.equal(await redis.expire(key, 100), 1);
  assert.equal(await redis.expire(key, 200, "NX"), 0);
  assert.equal(await redis.expire(key, 200, "GT"), 1);
  assert.equal(await redis.expire(key, 300, "LT"), 0);
  assert.equal(await redis.expire(key, 300, "XX"), 1);
  assert.ok((await redis.ttl(key)) > 290);
  assert.equal(await redis.pexpire(key, 50_000), 1);
  assert.ok((await redis.pttl(key)) > 45_000);
  assert.equal(await redis.expireat(key, Math.floor(Date.now() / 1000) + 1000), 1);
  assert.ok((await redis.ttl(key)) > 990);
  assert.equal(await redis.pexpireat(key, Date.now() + 2_000_000), 1);
  assert.ok((await redis.ttl(key)) > 1990);
  assert.equal(await redis.persist(key), 1);
  assert.equal(await redis.persist(key), 0);
  assert.equal(await redis.pexpire(key, 30), 1);
  await sleep(60);
  assert.equal(await redis.get(key), null);
  assert.equal(await redis.exists(key), 0);
});

test("RENAME, RENAMENX, COPY", async () => {
  const [a, b] = [name("a"), name("b")];
  await redis.set(a, "v", { ex: 100 });
  assert.equal(await redis.rename(a, b), "OK");
  assert.equal(await redis.get(a), null);
  assert.ok((await redis.ttl(b)) > 90);
  await redis.set(a, "w");
  assert.equal(await redis.renamenx(a, b), 0);
  assert.equal(await redis.copy(a, b), "NOT_COPIED");
  assert.equal(await redis.copy(a, b, { replace: true }), "COPIED");
  assert.equal(await redis.get(b), "w");
  assert.equal(await redis.copy(a, a), "NOT_COPIED");
  await assert.rejects(redis.rename(name(), a), /ERR no such key/);
});

test("KEYS and SCAN find every key once there", async () => {
  const prefix = name("scan");
  const keys = Array.from({ length: 300 }, (_, i) => `${prefix}:${i}`);
  await redis.mset(Object.fromEntries(keys.map((key) => [key, "v"])));
  await redis.sadd(`${prefix}:set`, 1);
  assert.equal((await redis.keys(`${prefix}:*`)).length, 301);
  const seen = new Set();
  let cursor = "0";
  do {
    const [next, page] = await redis.scan(cursor, { match: `${prefix}:*`, count: 50 });
    assert.equal(typeof next, "string");
    page.forEach((key) => seen.add(key));
    cursor = next;
  } while (cursor !== "0");
  assert.equal(seen.size, 301);
  const sets = [];
  cursor = "0";
  do {
    const [next, page] = await redis.scan(cursor, { match: `${prefix}:*`, type: "set" });
    sets.push(...page);
    cursor = next;
  } while (cursor !== "0");
  assert.deepEqual(sets, [`${prefix}:set`]);
  const typed = [];
  cursor = "0";
  do {
    const [next, page] = await redis.scan(cursor, { match: `${prefix}:set`, withType: true, count: 1000 });
    typed.push(...page);
    cursor = next;
  } while (cursor !== "0");
  assert.deepEqual(typed, [{ key: `${prefix}:set`, type: "set" }]);
});

test("FLUSHDB and FLUSHALL", async () => {
  await redis.set(name(), 1);
  assert.equal(await redis.flushdb(), "OK");
  assert.equal(await redis.dbsize(), 0);
  await redis.set(name(), 1);
  assert.equal(await redis.flushall({ async: true }), "OK");
  assert.equal(await redis.dbsize(), 0);
  assert.equal(await redis.randomkey(), null);
});

test("what is not there says so", async () => {
  await assert.rejects(
    redis.exec(["NOSUCHCOMMAND", "x"]),
    /ERR Command is not available: 'NOSUCHCOMMAND'\. See https:\/\/upstash\.com\/docs\/redis\/overall\/rediscompatibility for details/,
  );
  await assert.rejects(redis.exec(["MULTI"]), /ERR Command "MULTI" is not allowed in REST or it has a special context path/);
});

test("CLIENT SETINFO is taken", async () => {
  assert.equal(await redis.clientSetinfo("LIB-NAME", "upstash-redis"), "OK");
});
