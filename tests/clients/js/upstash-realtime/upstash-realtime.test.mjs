// @upstash/realtime, unchanged: a stream and a channel of the same name, over REST.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CursorUnavailableError, Realtime, handle } from "@upstash/realtime";
import { Redis } from "@upstash/redis";
import { z } from "zod";
import { name, rest, until } from "../environment.mjs";

// The package leaves its timer of pings running when a subscription ends.
const { setInterval } = globalThis;
globalThis.setInterval = (...call) => setInterval(...call).unref();

const redis = new Redis({ url: rest.url, token: rest.token });
const schema = { chat: { message: z.object({ text: z.string() }), gone: z.string() } };
const texts = (events) => events.map((event) => event.data.text);

test("events come live, in order, and history is kept", async () => {
  const channel = new Realtime({ schema, redis }).channel(name("room"));
  await channel.emit("chat.message", { text: "before" });
  const got = [];
  const stop = await channel.subscribe({
    events: ["chat.message"],
    history: true,
    onData: (event) => got.push(event),
  });
  for (const text of ["one", "two", "three"]) await channel.emit("chat.message", { text });
  await channel.emit("chat.gone", "not asked for");
  await until(() => got.length === 4);
  assert.deepEqual(texts(got), ["before", "one", "two", "three"]);
  await stop();
  const history = await channel.history();
  assert.deepEqual(texts(history.filter((event) => event.event === "chat.message")), texts(got));
  assert.equal((await channel.history({ limit: 2 })).length, 2);

  const again = [];
  const stopAgain = await channel.subscribe({
    events: ["chat.message"],
    after: got[1].cursor,
    onData: (event) => again.push(event),
  });
  await until(() => again.length === 2);
  assert.deepEqual(texts(again), ["two", "three"]);
  await stopAgain();
  const unknown = channel.subscribe({ events: ["chat.message"], after: "1-1", onData() {} });
  await assert.rejects(unknown, CursorUnavailableError);
});

test("a refused event is not written", async () => {
  const channel = new Realtime({ schema, redis }).channel(name("room"));
  await assert.rejects(channel.emit("chat.message", { text: 5 }));
  assert.deepEqual(await channel.history(), []);
});

test("history has a length and a time", async () => {
  const key = name("room");
  const channel = new Realtime({ schema, redis, history: { maxLength: 3, expireAfterSecs: 60 } }).channel(key);
  for (let at = 0; at < 10; at++) await channel.emit("chat.message", { text: String(at) });
  assert.deepEqual(texts(await channel.history()), ["7", "8", "9"]);
  const ttl = await redis.ttl(key);
  assert.ok(ttl > 50 && ttl <= 60, String(ttl));
});

test("a browser's stream: connected, what it missed, then live", async () => {
  const key = name("room");
  const realtime = new Realtime({ schema, redis });
  const channel = realtime.channel(key);
  await channel.emit("chat.message", { text: "seen" });
  const [seen] = await channel.history();
  await channel.emit("chat.message", { text: "missed" });
  const abort = new AbortController();
  const url = `http://app.test/api/realtime?channel=${encodeURIComponent(key)}&last_ack_${encodeURIComponent(key)}=${seen.id}`;
  const response = await handle({ realtime })(new Request(url, { signal: abort.signal }));
  assert.match(response.headers.get("content-type"), /text\/event-stream/);
  const events = [];
  const reader = response.body.getReader();
  const reading = (async () => {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += new TextDecoder().decode(value);
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) events.push(JSON.parse(part.replace(/^data: /, "")));
    }
  })();
  await until(() => events.length === 2);
  await channel.emit("chat.message", { text: "live" });
  await until(() => events.length === 3);
  assert.deepEqual(events.map((event) => event.type ?? event.data.text), ["connected", "missed", "live"]);
  await reader.cancel();
  await reading;
  abort.abort();
});
