import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";

const redis = new Redis(rest);
const sha1 = (text) => createHash("sha1").update(text).digest("hex");

test("EVAL with keys and arguments of every kind", async () => {
  const key = name();
  assert.deepEqual(await redis.eval("return {KEYS[1], ARGV[1], ARGV[2], #ARGV}", [key], ["a", 5]), [key, "a", 5, 2]);
  assert.equal(await redis.eval("return redis.call('SET', KEYS[1], ARGV[1])", [key], [{ a: 1 }]), "OK");
  assert.deepEqual(await redis.get(key), { a: 1 });
  assert.equal(await redis.eval("return nil", [], []), null);
  assert.deepEqual(await redis.eval("return {1, {2, 'three'}, 'OK', {'OK'}}", [], []), [1, [2, "three"], "OK", ["OK"]]);
});

test("EVALSHA of an unknown script says exactly so, in a pipeline too", async () => {
  const unknown = sha1(name());
  await assert.rejects(redis.evalsha(unknown, [], []), /NOSCRIPT No matching script\. Please use EVAL\./);
  const [result] = await redis.pipeline().evalsha(unknown, [], []).exec({ keepErrors: true });
  assert.equal(result.error, "NOSCRIPT No matching script. Please use EVAL.");
});

test("SCRIPT LOAD, EXISTS, FLUSH", async () => {
  const text = `return '${name()}'`;
  const hash = await redis.scriptLoad(text);
  assert.equal(hash, sha1(text));
  assert.deepEqual(await redis.scriptExists(hash, sha1("nope")), [1, 0]);
  assert.equal(await redis.evalsha(hash, [], []), text.slice(8, -1));
  assert.equal(await redis.scriptFlush(), "OK");
  assert.deepEqual(await redis.scriptExists(hash), [0]);
});

test("createScript falls back to EVAL once", async () => {
  const script = redis.createScript(`return ARGV[1] .. '${name()}'`);
  const first = await script.exec([], ["x"]);
  assert.match(first, /^xkey:/);
  assert.deepEqual(await redis.scriptExists(sha1(script.script)), [1]);
  assert.equal(await script.exec([], ["x"]), first);
  assert.equal(await script.evalsha([], ["x"]), first);
});

test("read-only scripts cannot write", async () => {
  const key = name();
  await redis.set(key, "v");
  const script = redis.createScript("return redis.call('GET', KEYS[1])", { readonly: true });
  assert.equal(await script.exec([key], []), "v");
  assert.equal(await redis.evalRo("return redis.call('GET', KEYS[1])", [key], []), "v");
  await assert.rejects(redis.evalRo("return redis.call('SET', KEYS[1], 'w')", [key], []), /commands are not allowed from read-only/);
  const hash = await redis.scriptLoad("return redis.call('GET', KEYS[1])");
  assert.equal(await redis.evalshaRo(hash, [key], []), "v");
});

test("a script's error undoes its writes", async () => {
  const key = name();
  await redis.set(key, "before");
  await assert.rejects(redis.eval("redis.call('SET', KEYS[1], 'after') error('no')", [key], []), /no/);
  assert.equal(await redis.get(key), "before");
});

test("allow-key-locking is accepted, with the caller's own hash", async () => {
  const key = name();
  const text = "#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])";
  assert.equal(await redis.eval(text, [key], []), 1);
  assert.equal(await redis.evalsha(sha1(text), [key], []), 2);
  assert.equal(await redis.scriptLoad(text), sha1(text));
  const dynamic = "#!lua flags=allow-key-locking\nreturn redis.call('GET', ARGV[1])";
  await assert.rejects(
    redis.eval(dynamic, [key], ["undeclared"]),
    /ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set\. Key was: undeclared/,
  );
  await assert.rejects(redis.eval("#!lua flags=allow-key-locking\nreturn redis.call('FLUSHALL')", [], []));
});

test("cjson and errors through pcall", async () => {
  const out = await redis.eval("local t = cjson.decode(ARGV[1]) t.n = t.n + 1 return cjson.encode(t)", [], [JSON.stringify({ n: 1, s: "😀" })]);
  assert.deepEqual(out, { n: 2, s: "😀" });
  const key = name();
  await redis.set(key, "text");
  assert.match(await redis.eval("return redis.pcall('INCR', KEYS[1]).err", [key], []), /not an integer/);
});
