// connect-redis, unchanged: Express' sessions, on node-redis and on ioredis.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { name, resp } from "../environment.mjs";

const client = createClient({ url: resp });
await client.connect();
const servers = [];
after(async () => {
  servers.forEach((server) => server.close());
  await client.close();
});

async function app(store) {
  const site = express();
  site.use(session({ store, secret: "cat", resave: false, saveUninitialized: false, rolling: true }));
  site.get("/count", (request, response) => {
    request.session.count = (request.session.count ?? 0) + 1;
    response.json(request.session.count);
  });
  site.get("/out", (request, response) => request.session.destroy(() => response.json("out")));
  const server = site.listen(0);
  servers.push(server);
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  let cookie;
  return async (path) => {
    const response = await fetch(url + path, { headers: cookie ? { cookie } : {} });
    cookie = response.headers.get("set-cookie")?.split(";")[0] ?? cookie;
    return response.json();
  };
}

describe("connect-redis", () => {
  test("a session lives from request to request, and ends", async () => {
    const prefix = name("session");
    const store = new RedisStore({ client, prefix, ttl: 100 });
    const [get, other] = [await app(store), await app(store)];
    assert.deepEqual([await get("/count"), await get("/count"), await other("/count")], [1, 2, 1]);
    const keys = await client.keys(`${prefix}*`);
    assert.equal(keys.length, 2);
    const ttl = await client.ttl(keys[0]);
    assert.ok(ttl > 90 && ttl <= 100, String(ttl));
    await get("/out");
    assert.equal(await get("/count"), 1);
  });

  test("the store's own calls", async () => {
    const store = new RedisStore({ client, prefix: name("session"), scanCount: 10 });
    const call = (method, ...args) => promisify(store[method].bind(store))(...args);
    for (let at = 0; at < 30; at++) await call("set", `id${at}`, { cookie: {}, at });
    assert.equal((await call("get", "id7")).at, 7);
    assert.equal(await call("length"), 30);
    assert.deepEqual((await call("ids")).sort()[0], "id0");
    assert.equal((await call("all")).length, 30);
    await call("touch", "id7", { cookie: { expires: new Date(Date.now() + 5000) } });
    await call("destroy", "id7");
    assert.equal(await call("get", "id7"), null);
    await call("clear");
    assert.equal(await call("length"), 0);
  });
});
