import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, describe, test } from "node:test";
import { createClient, defineScript, RESP_TYPES, WatchError } from "redis";
import { name, resp, until } from "../environment.mjs";

const scripts = {
  addTwice: defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: "redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[1], ARGV[1])",
    parseCommand(parser, key, by) {
      parser.pushKey(key);
      parser.push(String(by));
    },
    transformReply: (reply) => reply,
  }),
};

for (const RESP of [2, 3]) {
  describe(`RESP${RESP}`, async () => {
    const clients = [];
    const connect = async () => {
      const client = createClient({ url: resp, RESP, scripts });
      client.on("error", () => {});
      clients.push(client);
      return client.connect();
    };
    const redis = await connect();
    after(() => clients.forEach((client) => client.isOpen && client.destroy()));

    test("strings and binary", async () => {
      const key = name();
      assert.equal(await redis.set(key, "😀", { expiration: { type: "EX", value: 100 } }), "OK");
      assert.equal(await redis.get(key), "😀");
      const bytes = randomBytes(3000);
      await redis.set(key, bytes);
      const raw = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
      assert.ok(bytes.equals(await raw.get(key)));
    });

    test("8 MB there and back", async () => {
      const key = name();
      const value = "x".repeat(8 << 20);
      await redis.set(key, value);
      assert.equal(await redis.get(key), value);
      await redis.del(key);
    });

    test("every shape of reply", async () => {
      const key = name();
      assert.equal(await redis.hSet(`${key}:h`, { a: "1", b: "2" }), 2);
      assert.deepEqual({ ...(await redis.hGetAll(`${key}:h`)) }, { a: "1", b: "2" });
      await redis.sAdd(`${key}:s`, ["x", "y"]);
      assert.deepEqual((await redis.sMembers(`${key}:s`)).sort(), ["x", "y"]);
      assert.equal(await redis.sIsMember(`${key}:s`, "x"), 1);
      await redis.zAdd(`${key}:z`, [{ score: 1, value: "one" }, { score: 2.5, value: "two" }]);
      assert.deepEqual(await redis.zRangeWithScores(`${key}:z`, 0, -1), [
        { value: "one", score: 1 },
        { value: "two", score: 2.5 },
      ]);
      assert.equal(await redis.zScore(`${key}:z`, "two"), 2.5);
      assert.equal(await redis.zScore(`${key}:z`, "nope"), null);
      assert.deepEqual(await redis.mGet([key, `${key}:nope`]), [null, null]);
      assert.ok((await redis.configGet("maxmemory")).maxmemory !== undefined);
      await assert.rejects(redis.incr(`${key}:h`), /WRONGTYPE/);
    });

    test("a burst is pipelined and stays in order", async () => {
      const key = name();
      const replies = await Promise.all(Array.from({ length: 5000 }, () => redis.incr(key)));
      assert.deepEqual(replies, Array.from({ length: 5000 }, (_, i) => i + 1));
    });

    test("MULTI, EXEC", async () => {
      const key = name();
      assert.deepEqual(await redis.multi().set(key, "1").incr(key).get(key).exec(), ["OK", 2, "2"]);
      assert.deepEqual(await redis.multi().set(key, "5").get(key).execAsPipeline(), ["OK", "5"]);
    });

    test("WATCH sees another's write", async () => {
      const key = name();
      const mine = await connect();
      await mine.watch(key);
      await redis.set(key, "theirs");
      await assert.rejects(mine.multi().set(key, "mine").exec(), WatchError);
      await mine.watch(key);
      assert.deepEqual(await mine.multi().set(key, "mine").exec(), ["OK"]);
    });

    test("pub/sub", async () => {
      const subscriber = await connect();
      const [channel, prefix] = [name("channel"), name("pattern")];
      const got = [];
      const listener = (text, from) => got.push([from, text]);
      await subscriber.subscribe(channel, listener);
      await subscriber.pSubscribe(`${prefix}*`, listener);
      assert.equal(await redis.publish(channel, "hello"), 1);
      assert.equal(await redis.publish(`${prefix}x`, "you"), 1);
      await until(() => got.length === 2);
      assert.deepEqual(got, [[channel, "hello"], [`${prefix}x`, "you"]]);
      if (RESP === 3) assert.equal(await subscriber.get(name()), null);
      await subscriber.unsubscribe(channel);
      await subscriber.pUnsubscribe();
      assert.equal(await redis.publish(channel, "nobody"), 0);
    });

    test("scan iterators", async () => {
      const prefix = name("scan");
      await redis.mSet(Array.from({ length: 400 }, (_, i) => [`${prefix}:${i}`, "v"]));
      const keys = new Set();
      for await (const page of redis.scanIterator({ MATCH: `${prefix}:*`, COUNT: 100 })) page.forEach((key) => keys.add(key));
      assert.equal(keys.size, 400);
      await redis.zAdd(prefix, Array.from({ length: 300 }, (_, i) => ({ score: i, value: `m${i}` })));
      const members = new Map();
      for await (const page of redis.zScanIterator(prefix)) page.forEach(({ value, score }) => members.set(value, score));
      assert.equal(members.size, 300);
      for (const [value, score] of members) assert.equal(value, `m${score}`);
    });

    test("scripts by hash, loaded when missing", async () => {
      const key = name();
      assert.equal(await redis.addTwice(key, 5), 10);
      await redis.scriptFlush();
      assert.equal(await redis.addTwice(key, 5), 20);
      assert.equal(await redis.eval("return ARGV[1]", { arguments: ["x"] }), "x");
    });

    test("the connection has a name", async () => {
      assert.equal(await redis.clientSetName("tests"), "OK");
      assert.equal(await redis.clientGetName(), "tests");
      const info = await redis.clientInfo();
      assert.equal(info.name, "tests");
      assert.ok(info.id > 0);
    });
  });
}
