// Every method of @upstash/redis with an example of its documentation: what is
// called, on which data, and what it must resolve to. `k` makes keys that no other
// example uses.
//
// Shape of an example: [method, prepare or null, call, expected]; `expected` is a
// value, or a function that says whether a result is right.
import assert from "node:assert/strict";

const near = (value, most) => (result) => result > value - most && result <= value;
const isId = (result) => /^\d+-\d+$/.test(result);
const oneOf = (...values) => (result) => values.includes(result);
const same = (expected) => (result) => {
  assert.deepEqual([...result].sort(), [...expected].sort());
  return true;
};
const future = () => Math.floor(Date.now() / 1000) + 100;

const strings = [
  ["append", (r, k) => r.set(k, "Hello"), (r, k) => r.append(k, " World"), 11],
  ["decr", (r, k) => r.set(k, 6), (r, k) => r.decr(k), 5],
  ["decrby", (r, k) => r.set(k, 6), (r, k) => r.decrby(k, 4), 2],
  ["get", (r, k) => r.set(k, { id: 1 }), (r, k) => r.get(k), { id: 1 }],
  ["getdel", (r, k) => r.set(k, "v"), (r, k) => r.getdel(k), "v"],
  ["getex", (r, k) => r.set(k, "v"), (r, k) => r.getex(k, { ex: 100 }), "v"],
  ["getrange", (r, k) => r.set(k, "This is a string"), (r, k) => r.getrange(k, 0, 3), "This"],
  ["getset", (r, k) => r.set(k, "old"), (r, k) => r.getset(k, "new"), "old"],
  ["incr", (r, k) => r.set(k, 6), (r, k) => r.incr(k), 7],
  ["incrby", (r, k) => r.set(k, 6), (r, k) => r.incrby(k, 4), 10],
  ["incrbyfloat", (r, k) => r.set(k, 6), (r, k) => r.incrbyfloat(k, 4.5), 10.5],
  ["mget", (r, k) => r.mset({ [k]: 1, [`${k}b`]: "x" }), (r, k) => r.mget(k, `${k}b`, `${k}c`), [1, "x", null]],
  ["mset", null, (r, k) => r.mset({ [k]: 1, [`${k}b`]: 2 }), "OK"],
  ["msetnx", null, (r, k) => r.msetnx({ [k]: 1, [`${k}b`]: 2 }), 1],
  ["psetex", null, (r, k) => r.psetex(k, 100_000, "v"), "OK"],
  ["set", null, (r, k) => r.set(k, "v", { ex: 100, nx: true }), "OK"],
  ["setex", null, (r, k) => r.setex(k, 100, "v"), "OK"],
  ["setnx", (r, k) => r.set(k, "v"), (r, k) => r.setnx(k, "w"), 0],
  ["setrange", (r, k) => r.set(k, "helloworld"), (r, k) => r.setrange(k, 5, "redis"), 10],
  ["strlen", (r, k) => r.set(k, "helloworld"), (r, k) => r.strlen(k), 10],
];

const bitmaps = [
  ["bitcount", (r, k) => r.setbit(k, 7, 1), (r, k) => r.bitcount(k), 1],
  ["bitfield", null, (r, k) => r.bitfield(k).set("u4", "#0", 15).get("u4", "#0").incrby("u4", "#0", 1).exec(), [0, 15, 0]],
  ["bitop", (r, k) => r.mset({ [`${k}a`]: "a", [`${k}b`]: "b" }), (r, k) => r.bitop("and", k, `${k}a`, `${k}b`), 1],
  ["bitpos", (r, k) => r.setbit(k, 9, 1), (r, k) => r.bitpos(k, 1), 9],
  ["getbit", (r, k) => r.setbit(k, 7, 1), (r, k) => r.getbit(k, 7), 1],
  ["setbit", null, (r, k) => r.setbit(k, 7, 1), 0],
];

const generic = [
  ["copy", (r, k) => r.set(k, "v"), (r, k) => r.copy(k, `${k}b`), "COPIED"],
  ["dbsize", (r, k) => r.set(k, "v"), (r) => r.dbsize(), (result) => result >= 1],
  ["del", (r, k) => r.set(k, "v"), (r, k) => r.del(k, `${k}b`), 1],
  ["echo", null, (r) => r.echo("hello"), "hello"],
  ["exists", (r, k) => r.set(k, "v"), (r, k) => r.exists(k, k), 2],
  ["expire", (r, k) => r.set(k, "v"), (r, k) => r.expire(k, 10), 1],
  ["expireat", (r, k) => r.set(k, "v"), (r, k) => r.expireat(k, future()), 1],
  ["keys", (r, k) => r.set(`${k}:x`, "v"), (r, k) => r.keys(`${k}:*`), (result) => result.length === 1],
  ["persist", (r, k) => r.set(k, "v", { ex: 10 }), (r, k) => r.persist(k), 1],
  ["pexpire", (r, k) => r.set(k, "v"), (r, k) => r.pexpire(k, 10_000), 1],
  ["pexpireat", (r, k) => r.set(k, "v"), (r, k) => r.pexpireat(k, future() * 1000), 1],
  ["ping", null, (r) => r.ping(), "PONG"],
  ["pttl", (r, k) => r.set(k, "v", { px: 10_000 }), (r, k) => r.pttl(k), near(10_000, 2000)],
  ["randomkey", (r, k) => r.set(k, "v"), (r) => r.randomkey(), (result) => typeof result === "string"],
  ["rename", (r, k) => r.set(k, "v"), (r, k) => r.rename(k, `${k}b`), "OK"],
  ["renamenx", (r, k) => r.set(k, "v"), (r, k) => r.renamenx(k, `${k}b`), 1],
  ["scan", (r, k) => r.set(`${k}:x`, "v"), (r, k) => r.scan(0, { match: `${k}:*`, count: 100_000 }), (result) => result[1].length === 1],
  ["time", null, (r) => r.time(), (result) => result.length === 2 && result[0] > 1.7e9],
  ["touch", (r, k) => r.set(k, "v"), (r, k) => r.touch(k, `${k}b`), 1],
  ["ttl", (r, k) => r.set(k, "v", { ex: 10 }), (r, k) => r.ttl(k), near(10, 3)],
  ["type", (r, k) => r.lpush(k, "v"), (r, k) => r.type(k), "list"],
  ["unlink", (r, k) => r.set(k, "v"), (r, k) => r.unlink(k), 1],
  ["clientSetinfo", null, (r) => r.clientSetinfo("LIB-NAME", "mine"), "OK"],
];

const hash = (r, k) => r.hset(k, { id: 1, name: "ada", at: "x" });
const hashes = [
  ["hdel", hash, (r, k) => r.hdel(k, "id", "name"), 2],
  ["hexists", hash, (r, k) => r.hexists(k, "id"), 1],
  ["hexpire", hash, (r, k) => r.hexpire(k, ["id", "none"], 10), [1, -2]],
  ["hexpireat", hash, (r, k) => r.hexpireat(k, "id", future()), [1]],
  ["hexpiretime", async (r, k) => (await hash(r, k), r.hexpireat(k, "id", 4_000_000_000)), (r, k) => r.hexpiretime(k, "id"), [4_000_000_000]],
  ["hget", hash, (r, k) => r.hget(k, "name"), "ada"],
  ["hgetall", hash, (r, k) => r.hgetall(k), { id: 1, name: "ada", at: "x" }],
  ["hgetdel", hash, (r, k) => r.hgetdel(k, "id", "none"), { id: 1, none: null }],
  ["hgetex", hash, (r, k) => r.hgetex(k, { ex: 10 }, "id", "name"), { id: 1, name: "ada" }],
  ["hincrby", hash, (r, k) => r.hincrby(k, "id", 4), 5],
  ["hincrbyfloat", hash, (r, k) => r.hincrbyfloat(k, "id", 4.5), 5.5],
  ["hkeys", hash, (r, k) => r.hkeys(k), ["id", "name", "at"]],
  ["hlen", hash, (r, k) => r.hlen(k), 3],
  ["hmget", hash, (r, k) => r.hmget(k, "id", "none"), { id: 1, none: null }],
  ["hmset", null, (r, k) => r.hmset(k, { a: 1 }), "OK"],
  ["hpersist", async (r, k) => (await hash(r, k), r.hexpire(k, "id", 10)), (r, k) => r.hpersist(k, ["id", "name"]), [1, -1]],
  ["hpexpire", hash, (r, k) => r.hpexpire(k, "id", 10_000), [1]],
  ["hpexpireat", hash, (r, k) => r.hpexpireat(k, "id", future() * 1000), [1]],
  ["hpexpiretime", async (r, k) => (await hash(r, k), r.hexpireat(k, "id", 4_000_000_000)), (r, k) => r.hpexpiretime(k, "id"), [4e12]],
  ["hpttl", async (r, k) => (await hash(r, k), r.hexpire(k, "id", 10)), (r, k) => r.hpttl(k, "id"), ([result]) => near(10_000, 2000)(result)],
  ["hrandfield", hash, (r, k) => r.hrandfield(k), oneOf("id", "name", "at")],
  ["hscan", hash, (r, k) => r.hscan(k, 0), ["0", ["id", 1, "name", "ada", "at", "x"]]],
  ["hset", null, (r, k) => r.hset(k, { a: 1, b: 2 }), 2],
  ["hsetex", hash, (r, k) => r.hsetex(k, { expiration: { ex: 10 }, conditional: "FXX" }, { id: 2 }), 1],
  ["hsetnx", hash, (r, k) => r.hsetnx(k, "id", 9), 0],
  ["hstrlen", hash, (r, k) => r.hstrlen(k, "name"), 3],
  ["httl", async (r, k) => (await hash(r, k), r.hexpire(k, "id", 10)), (r, k) => r.httl(k, ["id", "name"]), ([id, none]) => near(10, 3)(id) && none === -1],
  ["hvals", hash, (r, k) => r.hvals(k), [1, "ada", "x"]],
];

const list = (r, k) => r.rpush(k, "a", "b", "c");
const lists = [
  ["lindex", list, (r, k) => r.lindex(k, -1), "c"],
  ["linsert", list, (r, k) => r.linsert(k, "before", "b", "x"), 4],
  ["llen", list, (r, k) => r.llen(k), 3],
  ["lmove", list, (r, k) => r.lmove(k, `${k}b`, "left", "right"), "a"],
  ["lmpop", list, (r, k) => r.lmpop(2, [`${k}none`, k], "LEFT", 2), (result) => assert.deepEqual(result[1], ["a", "b"]) ?? true],
  ["lpop", list, (r, k) => r.lpop(k, 2), ["a", "b"]],
  ["lpos", list, (r, k) => r.lpos(k, "b"), 1],
  ["lpush", list, (r, k) => r.lpush(k, "x", "y"), 5],
  ["lpushx", null, (r, k) => r.lpushx(k, "x"), 0],
  ["lrange", list, (r, k) => r.lrange(k, 1, -1), ["b", "c"]],
  ["lrem", list, (r, k) => r.lrem(k, 1, "b"), 1],
  ["lset", list, (r, k) => r.lset(k, 1, "x"), "OK"],
  ["ltrim", list, (r, k) => r.ltrim(k, 0, 1), "OK"],
  ["rpop", list, (r, k) => r.rpop(k), "c"],
  ["rpush", null, (r, k) => r.rpush(k, { a: 1 }, 2), 2],
  ["rpushx", list, (r, k) => r.rpushx(k, "x"), 4],
];

const set = (r, k) => r.sadd(k, "a", "b", "c");
const two = async (r, k) => (await r.sadd(`${k}1`, "a", "b"), r.sadd(`${k}2`, "b", "c"));
const sets = [
  ["sadd", null, (r, k) => r.sadd(k, "a", "b", "b"), 2],
  ["scard", set, (r, k) => r.scard(k), 3],
  ["sdiff", two, (r, k) => r.sdiff(`${k}1`, `${k}2`), ["a"]],
  ["sdiffstore", two, (r, k) => r.sdiffstore(k, `${k}1`, `${k}2`), 1],
  ["sinter", two, (r, k) => r.sinter(`${k}1`, `${k}2`), ["b"]],
  ["sintercard", two, (r, k) => r.sintercard([`${k}1`, `${k}2`]), 1],
  ["sinterstore", two, (r, k) => r.sinterstore(k, `${k}1`, `${k}2`), 1],
  ["sismember", set, (r, k) => r.sismember(k, "a"), 1],
  ["smembers", set, (r, k) => r.smembers(k), same(["a", "b", "c"])],
  ["smismember", set, (r, k) => r.smismember(k, ["a", "x"]), [1, 0]],
  ["smove", set, (r, k) => r.smove(k, `${k}b`, "a"), 1],
  ["spop", set, (r, k) => r.spop(k, 3), same(["a", "b", "c"])],
  ["srandmember", set, (r, k) => r.srandmember(k), oneOf("a", "b", "c")],
  ["srem", set, (r, k) => r.srem(k, "a", "x"), 1],
  ["sscan", set, (r, k) => r.sscan(k, 0), ([cursor, found]) => cursor === "0" && same(["a", "b", "c"])(found)],
  ["sunion", two, (r, k) => r.sunion(`${k}1`, `${k}2`), same(["a", "b", "c"])],
  ["sunionstore", two, (r, k) => r.sunionstore(k, `${k}1`, `${k}2`), 3],
];

const zset = (r, k) => r.zadd(k, { score: 1, member: "a" }, { score: 2, member: "b" }, { score: 3, member: "c" });
const pair = async (r, k) => {
  await r.zadd(`${k}1`, { score: 1, member: "a" }, { score: 2, member: "b" });
  await r.zadd(`${k}2`, { score: 5, member: "b" });
};
const zsets = [
  ["zadd", zset, (r, k) => r.zadd(k, { xx: true, ch: true }, { score: 9, member: "a" }), 1],
  ["zcard", zset, (r, k) => r.zcard(k), 3],
  ["zcount", zset, (r, k) => r.zcount(k, 1, "(3"), 2],
  ["zdiffstore", pair, (r, k) => r.zdiffstore(k, 2, `${k}1`, `${k}2`), 1],
  ["zincrby", zset, (r, k) => r.zincrby(k, 2, "a"), 3],
  ["zinterstore", pair, (r, k) => r.zinterstore(k, 2, [`${k}1`, `${k}2`], { aggregate: "sum" }), 1],
  ["zlexcount", zset, (r, k) => r.zlexcount(k, "-", "+"), 3],
  ["zmscore", zset, (r, k) => r.zmscore(k, ["a", "x"]), [1, null]],
  ["zpopmax", zset, (r, k) => r.zpopmax(k), ["c", 3]],
  ["zpopmin", zset, (r, k) => r.zpopmin(k, 2), ["a", 1, "b", 2]],
  ["zrange", zset, (r, k) => r.zrange(k, 0, 1, { rev: true, withScores: true }), ["c", 3, "b", 2]],
  ["zrank", zset, (r, k) => r.zrank(k, "b"), 1],
  ["zrem", zset, (r, k) => r.zrem(k, "a", "x"), 1],
  ["zremrangebylex", zset, (r, k) => r.zremrangebylex(k, "-", "+"), 3],
  ["zremrangebyrank", zset, (r, k) => r.zremrangebyrank(k, 0, 1), 2],
  ["zremrangebyscore", zset, (r, k) => r.zremrangebyscore(k, 2, 3), 2],
  ["zrevrank", zset, (r, k) => r.zrevrank(k, "a"), 2],
  ["zscan", zset, (r, k) => r.zscan(k, 0), ["0", ["a", 1, "b", 2, "c", 3]]],
  ["zscore", zset, (r, k) => r.zscore(k, "b"), 2],
  ["zunion", pair, (r, k) => r.zunion(2, [`${k}1`, `${k}2`], { withScores: true }), ["a", 1, "b", 7]],
  ["zunionstore", pair, (r, k) => r.zunionstore(k, 2, [`${k}1`, `${k}2`]), 2],
];

const sicily = (r, k) =>
  r.geoadd(k, { longitude: 13.361389, latitude: 38.115556, member: "Palermo" }, { longitude: 15.087269, latitude: 37.502669, member: "Catania" });
const geo = [
  ["geoadd", null, sicily, 2],
  ["geodist", sicily, (r, k) => r.geodist(k, "Palermo", "Catania", "KM"), 166.2742],
  ["geohash", sicily, (r, k) => r.geohash(k, "Palermo", "Catania"), ["sqc8b49rny0", "sqdtr74hyu0"]],
  ["geopos", sicily, (r, k) => r.geopos(k, "Palermo", "none"), (result) => Math.abs(result[0].lng - 13.361389) < 1e-5],
  [
    "geosearch",
    sicily,
    (r, k) => r.geosearch(k, { type: "FROMLONLAT", coordinate: { lon: 15, lat: 37 } }, { type: "BYRADIUS", radius: 200, radiusType: "KM" }, "ASC"),
    [{ member: "Catania" }, { member: "Palermo" }],
  ],
  [
    "geosearchstore",
    sicily,
    (r, k) => r.geosearchstore(`${k}b`, k, { type: "FROMMEMBER", member: "Palermo" }, { type: "BYBOX", rect: { width: 400, height: 400 }, rectType: "KM" }, "ASC"),
    2,
  ],
];

const hyperloglog = [
  ["pfadd", null, (r, k) => r.pfadd(k, "a", "b"), 1],
  ["pfcount", (r, k) => r.pfadd(k, "a", "b", "c"), (r, k) => r.pfcount(k), 3],
  ["pfmerge", (r, k) => r.pfadd(`${k}b`, "a"), (r, k) => r.pfmerge(k, `${k}b`), "OK"],
];

const stream = async (r, k) => {
  for (const id of ["1-1", "1-2", "2-1"]) await r.xadd(k, id, { field: id });
};
const grouped = async (r, k) => {
  await stream(r, k);
  await r.xgroup(k, { type: "CREATE", group: "g", id: "0" });
  await r.xreadgroup("g", "ada", k, ">");
};
const entries = [["1-1", ["field", "1-1"]], ["1-2", ["field", "1-2"]], ["2-1", ["field", "2-1"]]];
const streams = [
  ["xack", grouped, (r, k) => r.xack(k, "g", ["1-1", "9-9"]), 1],
  ["xackdel", grouped, (r, k) => r.xackdel(k, "g", "DELREF", "1-1", "9-9"), [1, -1]],
  ["xadd", null, (r, k) => r.xadd(k, "*", { a: 1 }, { trim: { type: "MAXLEN", threshold: 10, comparison: "=" } }), isId],
  ["xautoclaim", grouped, (r, k) => r.xautoclaim(k, "g", "bob", 0, "0-0", { count: 2 }), ["2-1", entries.slice(0, 2), []]],
  ["xclaim", grouped, (r, k) => r.xclaim(k, "g", "bob", 0, ["1-1"], { justId: true }), ["1-1"]],
  ["xdel", stream, (r, k) => r.xdel(k, ["1-1", "9-9"]), 1],
  ["xdelex", grouped, (r, k) => r.xdelex(k, "ACKED", "1-1", "9-9"), [2, -1]],
  ["xgroup", stream, (r, k) => r.xgroup(k, { type: "CREATE", group: "g", id: "$" }), "OK"],
  ["xinfo", grouped, (r, k) => r.xinfo(k, { type: "CONSUMERS", group: "g" }), ([consumer]) => consumer[1] === "ada" && consumer[3] === 3],
  ["xlen", stream, (r, k) => r.xlen(k), 3],
  ["xpending", grouped, (r, k) => r.xpending(k, "g", "-", "+", 10), (result) => result.length === 3 && result[0][1] === "ada"],
  ["xrange", stream, (r, k) => r.xrange(k, "1", "1", 1), { "1-1": { field: "1-1" } }],
  ["xread", stream, (r, k) => r.xread(k, "1-1"), (result) => assert.deepEqual(result[0][1], entries.slice(1)) ?? true],
  [
    "xreadgroup",
    async (r, k) => (await stream(r, k), r.xgroup(k, { type: "CREATE", group: "g", id: "0" })),
    (r, k) => r.xreadgroup("g", "ada", k, ">", { count: 1 }),
    (result) => assert.deepEqual(result[0][1], entries.slice(0, 1)) ?? true,
  ],
  ["xrevrange", stream, (r, k) => r.xrevrange(k, "+", "-", 1), { "2-1": { field: "2-1" } }],
  ["xtrim", stream, (r, k) => r.xtrim(k, { strategy: "MAXLEN", threshold: 1, exactness: "=" }), 2],
];

const RETURN = "return ARGV[1]";
const SHA = "098e0f0d1448c0a81dafe820f66d460eb09263da";
const load = (r) => r.scriptLoad(RETURN);
const LIBRARY = (name) =>
  `#!lua name=${name}\nredis.register_function('${name}_put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)\n` +
  `redis.register_function{function_name='${name}_get', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}`;
const library = (k) => k.replaceAll(/[^a-z0-9]/gi, "_");
const loadLibrary = (r, k) => r.functions.load({ code: LIBRARY(library(k)) });
const scripts = [
  ["eval", null, (r) => r.eval(RETURN, [], ["hello"]), "hello"],
  ["evalRo", null, (r) => r.evalRo(RETURN, [], ["hello"]), "hello"],
  ["evalsha", load, (r) => r.evalsha(SHA, [], ["hello"]), "hello"],
  ["evalshaRo", load, (r) => r.evalshaRo(SHA, [], ["hello"]), "hello"],
  ["createScript", null, (r) => r.createScript(RETURN).exec([], ["hello"]), "hello"],
  ["scriptExists", load, (r) => r.scriptExists(SHA, "0".repeat(40)), [1, 0]],
  ["scriptLoad", null, load, SHA],
  ["scriptFlush", null, (r) => r.scriptFlush({ async: true }), "OK"],
  ["functions.load", null, loadLibrary, (result) => typeof result === "string"],
  ["functions.call", loadLibrary, (r, k) => r.functions.call(`${library(k)}_put`, [k], ["v"]), "OK"],
  ["functions.callRo", async (r, k) => (await loadLibrary(r, k), r.set(k, "v")), (r, k) => r.functions.callRo(`${library(k)}_get`, [k]), "v"],
  ["functions.list", loadLibrary, (r, k) => r.functions.list({ libraryName: library(k) }), ([found]) => found.functions.length === 2],
  ["functions.stats", loadLibrary, (r) => r.functions.stats(), (result) => result.engines.LUA.librariesCount >= 1],
  ["functions.delete", loadLibrary, (r, k) => r.functions.delete(library(k)), "OK"],
  ["functions.flush", null, (r) => r.functions.flush(), "OK"],
];

const heard = (method) => async (r, k) => {
  const pattern = method === "psubscribe";
  const subscription = pattern ? r.psubscribe([`${k}*`]) : r.subscribe([k]);
  await new Promise((done) => subscription.on(pattern ? "psubscribe" : "subscribe", done));
  const message = new Promise((done) => subscription.on(pattern ? "pmessage" : "message", done));
  await r.publish(k, { hello: 1 });
  const got = (await message).message;
  await subscription.unsubscribe();
  return got;
};
const connections = [
  ["publish", null, (r, k) => r.publish(k, "hello"), 0],
  ["subscribe", null, heard("subscribe"), { hello: 1 }],
  ["psubscribe", null, heard("psubscribe"), { hello: 1 }],
  ["pipeline", null, (r, k) => r.pipeline().set(k, 1).incr(k).exec(), ["OK", 2]],
  ["multi", null, (r, k) => r.multi().set(k, 1).incr(k).exec(), ["OK", 2]],
  ["autoPipeline", null, (r, k) => Promise.all([r.autoPipeline().set(k, 1), r.autoPipeline().incr(k)]), ["OK", 2]],
  ["exec", null, (r, k) => r.exec(["SET", k, "v"]), "OK"],
  ["flushdb", null, (r) => r.flushdb(), "OK"],
  ["flushall", null, (r) => r.flushall({ async: true }), "OK"],
];

export const FAMILIES = { strings, bitmaps, generic, hashes, lists, sets, zsets, geo, hyperloglog, streams, scripts, connections };

/** Not of the data plane, or of another product. */
export const ELSEWHERE = /^(constructor|use|addTelemetry|ar[a-z]+|json|search|vector)$/;
