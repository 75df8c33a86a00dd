import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const UNAUTHORIZED =
  /WRONGPASS invalid or missing auth token\. See https:\/\/docs\.upstash\.com\/redis\/troubleshooting\/http_unauthorized for details\./;

test("fromEnv", async () => {
  assert.equal(await Redis.fromEnv().ping(), "PONG");
});

test("a wrong token is refused", async () => {
  const wrong = new Redis({ ...rest, token: "wrong" });
  await assert.rejects(wrong.get("x"), UNAUTHORIZED);
  await assert.rejects(wrong.pipeline().get("x").exec(), UNAUTHORIZED);
  await assert.rejects(wrong.multi().get("x").exec(), UNAUTHORIZED);
});

test("the read-only token reads and does not write", { skip: !rest.readonly }, async () => {
  const key = name();
  await new Redis(rest).set(key, "v");
  const reader = new Redis({ url: rest.url, token: rest.readonly });
  assert.equal(await reader.get(key), "v");
  assert.equal(await reader.exists(key), 1);
  for (const [command, call] of [
    ["set", () => reader.set(key, "w")],
    ["del", () => reader.del(key)],
    ["scan", () => reader.scan(0)],
    ["keys", () => reader.keys("*")],
    ["flushall", () => reader.flushall()],
    ["evalsha", () => reader.evalsha("0".repeat(40), [], [])],
  ]) {
    await assert.rejects(call(), new RegExp(`NOPERM this user has no permissions to run the '${command}' command`));
  }
  const results = await reader.pipeline().get(key).set(key, "w").exec({ keepErrors: true });
  assert.equal(results[0].result, "v");
  assert.match(results[1].error, /NOPERM/);
  assert.equal(await reader.get(key), "v");
});

test("a large value goes there and back", async () => {
  const redis = new Redis(rest);
  const key = name();
  const value = "0123456789abcdef".repeat(256 * 1024);
  assert.equal(await redis.set(key, value), "OK");
  assert.equal(await redis.strlen(key), value.length);
  assert.equal(await redis.get(key), value);
  await redis.del(key);
});
