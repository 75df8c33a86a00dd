import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { Redis } from "ioredis";
import { name, resp, sleep, until } from "../environment.mjs";

for (const protocol of [2, 3]) {
  describe(`RESP${protocol}`, () => {
    const clients = [];
    const connect = (options = {}) => {
      const client = new Redis(resp, { protocol, maxRetriesPerRequest: 2, ...options });
      clients.push(client);
      return client;
    };
    const redis = connect();
    after(() => clients.forEach((client) => client.disconnect()));

    test("strings and binary", async () => {
      const key = name();
      assert.equal(await redis.set(key, "😀", "EX", 100), "OK");
      assert.equal(await redis.get(key), "😀");
      const bytes = randomBytes(2000);
      await redis.set(key, bytes);
      assert.deepEqual(await redis.getBuffer(key), bytes);
      assert.equal(await redis.getBuffer(name()), null);
    });

    test("8 MB there and back", async () => {
      const key = name();
      const bytes = randomBytes(8 << 20);
      assert.equal(await redis.set(key, bytes), "OK");
      assert.ok(bytes.equals(await redis.getBuffer(key)));
      assert.equal(await redis.del(key), 1);
    });

    test("hashes, sets, sorted sets", async () => {
      const key = name();
      await redis.hset(`${key}:h`, { a: "1", b: "2" });
      assert.deepEqual(await redis.hgetall(`${key}:h`), { a: "1", b: "2" });
      await redis.sadd(`${key}:s`, "x", "y");
      assert.deepEqual((await redis.smembers(`${key}:s`)).sort(), ["x", "y"]);
      await redis.zadd(`${key}:z`, 1, "one", 2.5, "two");
      assert.deepEqual(await redis.zrange(`${key}:z`, 0, -1, "WITHSCORES"), ["one", "1", "two", "2.5"]);
      await assert.rejects(redis.incr(`${key}:h`), /WRONGTYPE/);
    });

    test("a pipeline of ten thousand", async () => {
      const key = name();
      const pipeline = redis.pipeline();
      for (let i = 0; i < 10_000; i++) pipeline.incr(key);
      const replies = await pipeline.exec();
      replies.forEach(([error, value], i) => assert.deepEqual([error, value], [null, i + 1]));
    });

    test("automatic pipelining", async () => {
      const auto = connect({ enableAutoPipelining: true });
      const key = name();
      const replies = await Promise.all(Array.from({ length: 500 }, (_, i) => auto.set(`${key}:${i}`, i)));
      assert.ok(replies.every((reply) => reply === "OK"));
      const values = await Promise.all(Array.from({ length: 500 }, (_, i) => auto.get(`${key}:${i}`)));
      assert.deepEqual(values, Array.from({ length: 500 }, (_, i) => String(i)));
    });

    test("MULTI, EXEC, and their errors", async () => {
      const key = name();
      assert.deepEqual(await redis.multi().set(key, "1").incr(key).get(key).exec(), [
        [null, "OK"],
        [null, 2],
        [null, "2"],
      ]);
      const [, [error]] = await redis.multi().set(key, "x").incr(key).exec();
      assert.match(error.message, /not an integer/);
      await assert.rejects(redis.multi().set(key, "y").call("GET").exec(), /EXECABORT/);
      assert.equal(await redis.get(key), "x");
    });

    test("WATCH sees another's write", async () => {
      const key = name();
      const [mine, other] = [connect(), connect()];
      await mine.watch(key);
      await other.set(key, "theirs");
      assert.equal(await mine.multi().set(key, "mine").exec(), null);
      assert.equal(await mine.get(key), "theirs");
      await mine.watch(key);
      assert.deepEqual(await mine.multi().set(key, "mine").exec(), [[null, "OK"]]);
    });

    test("pub/sub", async () => {
      const subscriber = connect();
      const [channel, prefix] = [name("channel"), name("pattern")];
      const got = [];
      subscriber.on("message", (from, text) => got.push([from, text]));
      subscriber.on("pmessage", (pattern, from, text) => got.push([pattern, from, text]));
      subscriber.on("messageBuffer", (from, bytes) => got.push(bytes.length));
      assert.equal(await subscriber.subscribe(channel), 1);
      assert.equal(await subscriber.psubscribe(`${prefix}*`), 2);
      assert.equal(await redis.publish(channel, "hello"), 1);
      assert.equal(await redis.publish(`${prefix}x`, "you"), 1);
      await until(() => got.length === 3);
      assert.deepEqual(got.filter(Array.isArray), [[channel, "hello"], [`${prefix}*`, `${prefix}x`, "you"]]);
      assert.deepEqual(await redis.pubsub("NUMSUB", channel), [channel, 1]);
      if (protocol === 2) await assert.rejects(subscriber.get("x"), /subscriber mode/);
      else assert.equal(await subscriber.get(name()), null);
      assert.equal(await subscriber.unsubscribe(channel), 1);
      assert.equal(await subscriber.punsubscribe(), 0);
      assert.equal(await subscriber.get(name()), null);
    });

    test("scan streams meet every key and member", async () => {
      const prefix = name("scan");
      const pipeline = redis.pipeline();
      for (let i = 0; i < 500; i++) pipeline.set(`${prefix}:${i}`, i).hset(`${prefix}:h`, `f${i}`, i);
      await pipeline.exec();
      const keys = new Set();
      for await (const page of redis.scanStream({ match: `${prefix}:*`, count: 100 })) page.forEach((key) => keys.add(key));
      assert.equal(keys.size, 501);
      const fields = new Set();
      for await (const page of redis.hscanStream(`${prefix}:h`)) page.forEach((item, i) => i % 2 || fields.add(item));
      assert.equal(fields.size, 500);
    });

    test("defineCommand loads and runs scripts", async () => {
      const key = name();
      redis.defineCommand("addTwice", {
        numberOfKeys: 1,
        lua: "redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[1], ARGV[1])",
      });
      assert.equal(await redis.addTwice(key, 5), 10);
      await redis.script("FLUSH");
      assert.equal(await redis.addTwice(key, 5), 20);
      const replies = await redis.pipeline().addTwice(key, 1).get(key).exec();
      assert.deepEqual(replies, [[null, 22], [null, "22"]]);
    });

    test("it comes back after its connection was killed", async () => {
      const client = connect({ retryStrategy: () => 20 });
      client.on("error", () => {});
      const id = await client.client("ID");
      const closed = once(client, "close");
      assert.equal(await redis.client("KILL", "ID", id), 1);
      await closed;
      await sleep(50);
      assert.equal(await client.ping(), "PONG");
      assert.notEqual(await client.client("ID"), id);
    });

    test("a wrong password is refused", async () => {
      const url = new URL(resp);
      const client = new Redis({ host: url.hostname, port: Number(url.port), password: "wrong", protocol, retryStrategy: null, maxRetriesPerRequest: 0 });
      client.on("error", () => {});
      await assert.rejects(client.get("x"), /WRONGPASS|NOAUTH|closed/);
      client.disconnect();
    });
  });
}
