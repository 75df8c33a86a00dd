import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);

test("SETBIT, GETBIT, BITCOUNT", async () => {
  const key = name();
  assert.equal(await redis.setbit(key, 7, 1), 0);
  assert.equal(await redis.setbit(key, 7, 0), 1);
  assert.equal(await redis.setbit(key, 100, 1), 0);
  assert.equal(await redis.getbit(key, 100), 1);
  assert.equal(await redis.getbit(key, 99), 0);
  assert.equal(await redis.getbit(key, 100_000), 0);
  assert.equal(await redis.strlen(key), 13);
  await redis.set(key, "foobar");
  assert.equal(await redis.bitcount(key), 26);
  assert.equal(await redis.bitcount(key, 1, 1), 6);
  assert.equal(await redis.bitcount(key, -2, -1), 7);
  await assert.rejects(redis.setbit(key, -1, 1), /ERR bit offset is not an integer or out of range/);
});

test("BITPOS", async () => {
  const key = name();
  await redis.exec(["SETRANGE", key, 1, "x"]);
  assert.equal(await redis.bitpos(key, 1), 9);
  assert.equal(await redis.bitpos(key, 0), 0);
  assert.equal(await redis.bitpos(key, 1, 1), 9);
  assert.equal(await redis.bitpos(name(), 1), -1);
});

test("BITOP", async () => {
  const [a, b, to] = [name("a"), name("b"), name("to")];
  await redis.mset({ [a]: "abc", [b]: "ab" });
  assert.equal(await redis.bitop("and", to, a, b), 3);
  assert.equal(await redis.getrange(to, 0, 1), "ab");
  assert.equal(await redis.bitop("or", to, a, b), 3);
  assert.equal(await redis.get(to), "abc");
  assert.equal(await redis.bitop("xor", to, a, b), 3);
  assert.equal(await redis.bitcount(to), 4);
  assert.equal(await redis.bitop("not", to, a), 3);
  assert.equal(await redis.bitcount(to), 24 - (await redis.bitcount(a)));
});

test("BITFIELD", async () => {
  // The SDK's own proxy for automatic pipelining does not know this builder.
  const redis = new Redis({ ...rest, enableAutoPipelining: false });
  const key = name();
  assert.deepEqual(await redis.bitfield(key).set("u8", 0, 200).get("u8", 0).get("i8", 0).exec(), [0, 200, -56]);
  assert.deepEqual(await redis.bitfield(key).overflow("SAT").incrby("u8", 0, 100).exec(), [255]);
  assert.deepEqual(await redis.bitfield(key).overflow("FAIL").incrby("u8", 0, 1).exec(), [null]);
  assert.deepEqual(await redis.bitfield(key).overflow("WRAP").incrby("u8", "#0", 1).exec(), [0]);
});
