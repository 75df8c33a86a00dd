import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);
/** A name that a library or a function may have. */
const word = () => name().replaceAll(/\W/g, "_");
const library = (lib, fn, body, more = "") =>
  `#!lua name=${lib}\nredis.register_function{function_name='${fn}', callback=function(keys, args) ${body} end${more}}`;

test("load, call, replace and delete a library", async () => {
  const [lib, fn, key] = [word(), word(), name()];
  const code = library(lib, fn, "return redis.call('SET', keys[1], args[1])");
  assert.equal(await redis.functions.load({ code }), lib);
  assert.equal(await redis.functions.call(fn, [key], ["v"]), "OK");
  assert.equal(await redis.get(key), "v");
  await assert.rejects(redis.functions.load({ code }), new RegExp(`ERR Library '${lib}' already exists`));
  const other = library(lib, fn, "return {#keys, args[1]}");
  assert.equal(await redis.functions.load({ code: other, replace: true }), lib);
  assert.deepEqual(await redis.functions.call(fn, [], ["a"]), [0, "a"]);
  assert.equal(await redis.functions.delete(lib), "OK");
  await assert.rejects(redis.functions.call(fn, [], []), /ERR Function not found/);
});

test("list with patterns and code, stats, flush", async () => {
  await redis.functions.flush();
  const [lib, fn] = [word(), word()];
  const code = library(lib, fn, "return 1", ", description='answers', flags={'no-writes', 'allow-oom'}");
  await redis.functions.load({ code });
  const functions = [{ name: fn, description: "answers", flags: ["no-writes", "allow-oom"] }];
  const [listed, ...rest] = await redis.functions.list({ libraryName: `${lib}*`, withCode: true });
  assert.deepEqual(listed, { libraryName: lib, engine: "LUA", functions, libraryCode: code });
  assert.deepEqual(rest, []);
  assert.deepEqual(await redis.functions.list({ libraryName: "none*" }), []);
  assert.equal((await redis.functions.list())[0].libraryCode, undefined);
  const stats = await redis.functions.stats();
  assert.deepEqual(stats, { engines: { LUA: { librariesCount: 1, functionsCount: 1 } } });
  assert.equal(await redis.functions.flush(), "OK");
  assert.deepEqual(await redis.functions.list(), []);
});

test("callRo runs what reads, flagged or not, and refuses what writes", async () => {
  const [lib, fn, key] = [word(), word(), name()];
  await redis.set(key, "v");
  const load = (body, more) => redis.functions.load({ code: library(lib, fn, body, more), replace: true });
  await load("return redis.call('GET', keys[1])", ", flags={'no-writes'}");
  assert.equal(await redis.functions.callRo(fn, [key], []), "v");
  await load("return redis.call('GET', keys[1])");
  assert.equal(await redis.functions.callRo(fn, [key], []), "v");
  await load("return redis.call('SET', keys[1], 'w')");
  await assert.rejects(redis.functions.callRo(fn, [key], []), /commands are not allowed from read-only/);
  assert.equal(await redis.get(key), "v");
});

test("a function's error undoes its writes", async () => {
  const [lib, fn, key] = [word(), word(), name()];
  await redis.set(key, "before");
  await redis.functions.load({ code: library(lib, fn, "redis.call('SET', keys[1], 'after') error('no')") });
  await assert.rejects(redis.functions.call(fn, [key], []), /no/);
  assert.equal(await redis.get(key), "before");
});

test("libraries and their functions in one transaction", async () => {
  const [lib, fn, key] = [word(), word(), name()];
  const code = library(lib, fn, "return redis.call('INCR', keys[1])");
  const transaction = redis.multi();
  transaction.functions.load({ code });
  transaction.functions.call(fn, [key], []);
  transaction.functions.call(fn, [key], []);
  transaction.functions.delete(lib);
  assert.deepEqual(await transaction.exec(), [lib, 1, 2, "OK"]);
});
