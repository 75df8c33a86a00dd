// Socket.IO's Redis adapters, unchanged: two servers share rooms, by pub/sub and
// by a stream, and a process without sockets emits into them.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { name, resp, sleep, until } from "../environment.mjs";

const ends = [];
after(async () => {
  for (const end of ends.reverse()) await end();
});

const ioredis = async () => {
  const redis = new Redis(resp);
  ends.push(() => redis.disconnect());
  return redis;
};
const nodeRedis = async () => {
  const redis = createClient({ url: resp });
  await redis.connect();
  // What waits for the stream has its answer first.
  ends.push(() => redis.close());
  return redis;
};

async function serverWith(adapter) {
  const http = createServer();
  const server = new Server(http, { adapter });
  server.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
  });
  http.listen(0);
  await once(http, "listening");
  ends.push(() => server.close());
  return { server, url: `http://127.0.0.1:${http.address().port}` };
}

async function clientOf(url) {
  const socket = io(url, { transports: ["websocket"] });
  ends.push(() => socket.disconnect());
  await once(socket, "connect");
  const got = [];
  socket.on("news", (text) => got.push(text));
  return { socket, got };
}

const kinds = [
  ["redis-adapter on ioredis", async (key) => createAdapter(await ioredis(), await ioredis(), { key })],
  ["redis-adapter on node-redis", async (key) => createAdapter(await nodeRedis(), await nodeRedis(), { key })],
  ["redis-streams-adapter on ioredis", async (key) => createStreamsAdapter(await ioredis(), { streamName: key, channelPrefix: key })],
  ["redis-streams-adapter on node-redis", async (key) => createStreamsAdapter(await nodeRedis(), { streamName: key, channelPrefix: key })],
];

for (const [kind, make] of kinds) {
  describe(kind, () => {
    test("rooms span servers", async () => {
      const key = name("io");
      const [one, two] = [await serverWith(await make(key)), await serverWith(await make(key))];
      const [a, b] = [await clientOf(one.url), await clientOf(two.url)];
      await until(async () => (await one.server.serverCount?.()) ?? true);
      await sleep(100);
      one.server.emit("news", "to all");
      await until(() => a.got.length === 1 && b.got.length === 1);
      await b.socket.emitWithAck("join", "blue");
      one.server.to("blue").emit("news", "to blue");
      await until(() => b.got.length === 2);
      assert.deepEqual(a.got, ["to all"]);
      assert.deepEqual(b.got, ["to all", "to blue"]);

      await until(async () => (await one.server.fetchSockets()).length === 2);
      const inBlue = await one.server.in("blue").fetchSockets();
      assert.deepEqual(inBlue.map((socket) => socket.id), [b.socket.id]);

      two.server.on("greeting", (text, reply) => reply(`${text} to you`));
      assert.deepEqual(await one.server.serverSideEmitWithAck("greeting", "hello"), ["hello to you"]);

      one.server.in("blue").socketsLeave("blue");
      await until(async () => (await two.server.in("blue").fetchSockets()).length === 0);
      two.server.disconnectSockets(true);
      await until(() => !a.socket.connected && !b.socket.connected);
    });
  });
}

test("an emitter without a server", async () => {
  const key = name("io");
  const one = await serverWith(createAdapter(await ioredis(), await ioredis(), { key }));
  const a = await clientOf(one.url);
  const emitter = new Emitter(await ioredis(), { key });
  // The server may not have subscribed yet.
  await until(async () => {
    emitter.emit("news", "from outside");
    await sleep(20);
    return a.got.length > 0;
  });
  assert.equal(a.got[0], "from outside");
});
