import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest, until } from "../environment.mjs";

const redis = new Redis(rest);

/** A subscriber, the events it has had, and a promise that it is ready. */
function listen(subscriber, types, channels) {
  const events = [];
  let ready = 0;
  subscriber.on("subscribe", () => ready++);
  subscriber.on("psubscribe", () => ready++);
  subscriber.on("error", (error) => events.push({ error }));
  for (const type of types) subscriber.on(type, (data) => events.push({ type, ...data }));
  return { events, ready: until(() => ready >= channels) };
}

test("a message reaches its subscribers, in order and parsed", async () => {
  const channel = name("channel");
  const subscriber = redis.subscribe(channel);
  const { events, ready } = listen(subscriber, ["message"], 1);
  await ready;
  assert.equal(await redis.publish(channel, { a: 1, s: "😀" }), 1);
  assert.equal(await redis.publish(channel, "plain, with a comma"), 1);
  assert.equal(await redis.publish(channel, 42), 1);
  await until(() => events.length === 3);
  assert.deepEqual(events.map((event) => [event.channel, event.message]), [
    [channel, { a: 1, s: "😀" }],
    [channel, "plain, with a comma"],
    [channel, 42],
  ]);
  await subscriber.unsubscribe();
  await until(async () => (await redis.publish(channel, "nobody")) === 0);
});

test("several channels, each with its own stream", async () => {
  const channels = [name("one"), name("two")];
  const subscriber = redis.subscribe(channels);
  const { events, ready } = listen(subscriber, [`message:${channels[1]}`], 2);
  await ready;
  await redis.publish(channels[0], "first");
  await redis.publish(channels[1], "second");
  await until(() => events.length === 1);
  assert.equal(events[0].message, "second");
  assert.deepEqual(subscriber.getSubscribedChannels().sort(), channels.sort());
  await subscriber.unsubscribe([channels[0]]);
  await until(async () => (await redis.publish(channels[0], "x")) === 0);
  assert.equal(await redis.publish(channels[1], "y"), 1);
  await subscriber.unsubscribe();
});

test("patterns", async () => {
  const prefix = name("news");
  const subscriber = redis.psubscribe(`${prefix}.*`);
  const { events, ready } = listen(subscriber, ["pmessage"], 1);
  await ready;
  assert.equal(await redis.publish(`${prefix}.sport`, { goal: 1 }), 1);
  assert.equal(await redis.publish(`${prefix}sport`, "not this"), 0);
  await until(() => events.length === 1);
  assert.deepEqual([events[0].pattern, events[0].channel, events[0].message], [`${prefix}.*`, `${prefix}.sport`, { goal: 1 }]);
  await subscriber.unsubscribe();
});

test("many subscribers do not hold up commands", async () => {
  const channel = name("many");
  const subscribers = Array.from({ length: 30 }, () => redis.subscribe(channel));
  const listening = subscribers.map((subscriber) => listen(subscriber, ["message"], 1));
  try {
    await Promise.all(listening.map((one) => one.ready));
    assert.equal(await redis.publish(channel, "hello"), 30);
    await until(() => listening.every((one) => one.events.length === 1));
    assert.equal(await redis.ping(), "PONG");
  } finally {
    await Promise.all(subscribers.map((subscriber) => subscriber.unsubscribe()));
  }
});
