import assert from "node:assert/strict";
import { test } from "node:test";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { name, rest, until } from "../environment.mjs";

const redis = new Redis(rest);

/** A limiter of its own, by default without the client's cache. */
const limiterOf = (limiter, options = {}) => new Ratelimit({ redis, limiter, prefix: name("rl"), ephemeralCache: false, timeout: 0, ...options });

// A window long enough that no test meets its end by accident.
const ALGORITHMS = {
  fixedWindow: () => Ratelimit.fixedWindow(5, "7 d"),
  slidingWindow: () => Ratelimit.slidingWindow(5, "7 d"),
  tokenBucket: () => Ratelimit.tokenBucket(1, "7 d", 5),
};

for (const [algorithm, limiter] of Object.entries(ALGORITHMS)) {
  test(`${algorithm}: so many and no more`, async () => {
    const limit = limiterOf(limiter());
    for (let left = 4; left >= 0; left--) {
      const answer = await limit.limit("somebody");
      assert.equal(answer.success, true);
      assert.equal(answer.limit, 5);
      assert.equal(answer.remaining, left);
      assert.ok(answer.reset > Date.now());
      assert.equal(answer.reason, undefined);
      await answer.pending;
    }
    const refused = await limit.limit("somebody");
    assert.equal(refused.success, false);
    assert.equal(refused.remaining, 0);
    assert.ok(refused.reset > Date.now());
    assert.equal((await limit.limit("somebody else")).success, true);
  });

  test(`${algorithm}: 50 at once`, async () => {
    const limit = limiterOf(limiter());
    const answers = await Promise.all(Array.from({ length: 50 }, () => limit.limit("crowd")));
    assert.equal(answers.filter((answer) => answer.success).length, 5);
    assert.deepEqual(
      answers.filter((answer) => answer.success).map((answer) => answer.remaining).sort(),
      [0, 1, 2, 3, 4],
    );
  });

  test(`${algorithm}: getRemaining and resetUsedTokens`, async () => {
    const limit = limiterOf(limiter());
    assert.equal((await limit.getRemaining("somebody")).remaining, 5);
    await limit.limit("somebody");
    await limit.limit("somebody");
    const left = await limit.getRemaining("somebody");
    assert.equal(left.remaining, 3);
    assert.equal(left.limit, 5);
    assert.ok(left.reset > Date.now());
    await limit.resetUsedTokens("somebody");
    assert.equal((await limit.getRemaining("somebody")).remaining, 5);
    assert.equal((await limit.limit("somebody")).remaining, 4);
  });

  test(`${algorithm}: a rate, and a refund`, async () => {
    const limit = limiterOf(limiter());
    assert.equal((await limit.limit("bulk", { rate: 3 })).remaining, 2);
    assert.equal((await limit.limit("bulk", { rate: -2 })).remaining, 4);
    assert.equal((await limit.limit("bulk", { rate: 4 })).success, true);
    assert.equal((await limit.limit("bulk")).success, false);
  });

  test(`${algorithm}: dynamic limits`, async () => {
    const limit = limiterOf(limiter(), { dynamicLimits: true });
    assert.deepEqual(await limit.getDynamicLimit(), { dynamicLimit: null });
    await limit.setDynamicLimit({ limit: 2 });
    assert.deepEqual(await limit.getDynamicLimit(), { dynamicLimit: 2 });
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await limit.limit("somebody"));
    assert.deepEqual(answers.map((answer) => answer.success), [true, true, false]);
    assert.equal(answers[0].limit, 2);
    await limit.setDynamicLimit({ limit: false });
    assert.deepEqual(await limit.getDynamicLimit(), { dynamicLimit: null });
  });

  test(`${algorithm}: its keys expire`, async () => {
    const prefix = name("rl");
    const limit = limiterOf(limiter(), { prefix });
    await limit.limit("somebody");
    const keys = await redis.keys(`${prefix}:*`);
    assert.equal(keys.length, 1);
    const ttl = await redis.pttl(keys[0]);
    assert.ok(ttl > 0 && ttl <= 2 * 7 * 86_400_000 + 10_000, `${ttl}`);
  });
}

test("cachedFixedWindow answers from its cache", async () => {
  const limit = limiterOf(Ratelimit.cachedFixedWindow(5, "7 d"), { ephemeralCache: new Map() });
  const answers = [];
  for (let i = 0; i < 8; i++) {
    const answer = await limit.limit("somebody");
    await answer.pending;
    answers.push(answer.success);
  }
  assert.deepEqual(answers.slice(0, 5), Array(5).fill(true));
  assert.equal(answers.at(-1), false);
  await limit.resetUsedTokens("somebody");
  assert.equal((await limit.getRemaining("somebody")).remaining, 5);
});

test("the ephemeral cache blocks without asking", async () => {
  const limit = limiterOf(Ratelimit.fixedWindow(1, "7 d"), { ephemeralCache: new Map() });
  assert.equal((await limit.limit("somebody")).success, true);
  assert.equal((await limit.limit("somebody")).reason, undefined);
  const blocked = await limit.limit("somebody");
  assert.equal(blocked.success, false);
  assert.equal(blocked.reason, "cacheBlock");
});

test("blockUntilReady waits for the next window", async () => {
  const limit = limiterOf(Ratelimit.fixedWindow(1, "400 ms"));
  // Begin early in a window, so that the second call falls into the same one.
  await until(() => Date.now() % 400 < 40);
  assert.equal((await limit.blockUntilReady("somebody", 5000)).success, true);
  const began = Date.now();
  assert.equal((await limit.blockUntilReady("somebody", 5000)).success, true);
  assert.ok(Date.now() - began > 100, `${Date.now() - began} ms`);
  const long = limiterOf(Ratelimit.fixedWindow(1, "7 d"));
  await long.limit("somebody");
  assert.equal((await long.blockUntilReady("somebody", 100)).success, false);
});

test("a window ends", async () => {
  const limit = limiterOf(Ratelimit.slidingWindow(2, "300 ms"));
  let admitted = 0;
  for (let i = 0; i < 6; i++) admitted += (await limit.limit("somebody")).success ? 1 : 0;
  assert.ok(admitted >= 2 && admitted <= 4);
  await until(async () => (await limit.limit("somebody")).success, 3000);
});

test("analytics are counted", async () => {
  const prefix = name("rl");
  const limit = limiterOf(Ratelimit.fixedWindow(2, "7 d"), { prefix, analytics: true });
  for (let i = 0; i < 3; i++) await (await limit.limit("somebody", { ip: "1.2.3.4" })).pending;
  const keys = await redis.keys(`${prefix}:events:*`);
  assert.ok(keys.length >= 1);
  const flat = (await Promise.all(keys.map((key) => redis.zrange(key, 0, -1, { withScores: true })))).flat();
  const counts = { true: 0, false: 0 };
  for (let i = 0; i < flat.length; i += 2) {
    assert.equal(flat[i].identifier, "somebody");
    counts[flat[i].success] += flat[i + 1];
  }
  assert.deepEqual(counts, { true: 2, false: 1 });
});

test("the deny list refuses what is on it", async () => {
  const prefix = name("rl");
  // With a status of its own, the client does not fetch the public list.
  await redis.set(`${prefix}:ipDenyListStatus`, "valid", { ex: 1000 });
  await redis.sadd(`${prefix}:denyList:all`, "10.66.66.66");
  const limit = limiterOf(Ratelimit.fixedWindow(100, "7 d"), { prefix, enableProtection: true });
  assert.equal((await limit.limit("somebody", { ip: "10.1.1.1" })).success, true);
  const denied = await limit.limit("somebody", { ip: "10.66.66.66" });
  await denied.pending;
  assert.deepEqual([denied.success, denied.reason, denied.deniedValue], [false, "denyList", "10.66.66.66"]);
});

test("a check is one request once its script is known", async () => {
  let requests = 0;
  const counted = new Redis({ ...rest, enableAutoPipelining: false });
  counted.use(async (request, next) => {
    requests++;
    return next(request);
  });
  const limit = limiterOf(Ratelimit.slidingWindow(100, "7 d"), { redis: counted });
  await limit.limit("somebody");
  requests = 0;
  for (let i = 0; i < 10; i++) await limit.limit("somebody");
  assert.equal(requests, 10);
});
