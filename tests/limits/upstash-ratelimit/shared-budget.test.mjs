// npm @upstash/ratelimit over the REST gateway and Sangam's limiter, over the gateway
// and over RESP, count together: same admissions, same readings, same values.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { Sangam } from "./sangam.mjs";

const rest = { url: process.env.UPSTASH_REDIS_REST_URL, token: process.env.UPSTASH_REDIS_REST_TOKEN };
const redis = new Redis(rest);
const prefix = `shared:${randomBytes(4).toString("hex")}`;

// A window long enough that no test meets its end by accident.
const WINDOW = 7 * 24 * 3600 * 1000;
const duration = `${WINDOW} ms`;

const RULES = {
  fixedWindow: { algorithm: "fixed", limit: 10, window: WINDOW },
  slidingWindow: { algorithm: "sliding", limit: 10, window: WINDOW },
  tokenBucket: { algorithm: "bucket", limit: 3, window: WINDOW, burst: 10 },
};
const THEIRS = {
  fixedWindow: Ratelimit.fixedWindow(10, duration),
  slidingWindow: Ratelimit.slidingWindow(10, duration),
  tokenBucket: Ratelimit.tokenBucket(3, duration, 10),
};
const LIMIT = 10;

const theirs = Object.fromEntries(
  Object.entries(THEIRS).map(([name, limiter]) => [
    name,
    new Ratelimit({ redis, limiter, prefix, ephemeralCache: false, timeout: 0, enableTelemetry: false }),
  ]),
);
const places = { REST: [rest.url, rest.token], RESP: [process.env.REDIS_URL] };
const sangams = Object.fromEntries(
  Object.entries(places).map(([place, [url, token]]) => [place, new Sangam(prefix, url, token)]),
);

after(async () => {
  await Promise.all(Object.values(sangams).map((sangam) => sangam.close()));
  const keys = await redis.keys(`${prefix}:*`);
  assert.ok(keys.length > 0);
  for (const key of keys) assert.ok((await redis.pttl(key)) > 0, `${key} has no time to live`);
});

let last = 0;
const fresh = (label) => `${label}-${++last}`;
const window = () => Math.floor(Date.now() / WINDOW);

/** The keys of an identifier, as the package spells them. */
const keysOf = (name, id) =>
  name === "tokenBucket" ? [`${prefix}:${id}`] : [`${prefix}:${id}:${window()}`, `${prefix}:${id}:${window() - 1}`];

/** Everything that is kept about an identifier. */
async function stateOf(name, id) {
  if (name === "tokenBucket") return (await redis.hgetall(keysOf(name, id)[0])) ?? {};
  return redis.mget(...keysOf(name, id));
}

/** Copies all that is kept about one identifier to another. */
async function copy(name, from, to) {
  const [sources, targets] = [keysOf(name, from), keysOf(name, to)];
  for (const [at, source] of sources.entries()) {
    await redis.del(targets[at]);
    if (await redis.exists(source)) assert.equal(await redis.copy(source, targets[at]), "COPIED");
  }
}

/** Numbers of a fixed sequence below `bound`: what failed fails again. */
function dice(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** What an earlier window or hour left, so that weights and refills are met too. */
async function leave(name, id, roll) {
  const [key, former] = keysOf(name, id);
  if (name === "slidingWindow") await redis.set(former, roll(40), { px: WINDOW });
  if (name === "tokenBucket") {
    const refilledAt = Date.now() - WINDOW * roll(3) - roll(WINDOW / 2);
    await redis.hset(key, { refilledAt, tokens: roll(8) });
    await redis.pexpire(key, 4 * WINDOW);
  }
}

for (const [place, sangam] of Object.entries(sangams)) {
  for (const name of Object.keys(RULES)) {
    const [rule, package_] = [RULES[name], theirs[name]];

    test(`${name} over ${place}: from one state, both admit and write alike`, async () => {
      for (let seed = 1; seed <= 6; seed++) {
        const roll = dice(seed);
        let id = fresh(`twin-${name}`);
        if (seed % 2 === 0) await leave(name, id, roll);
        for (let step = 0; step < 12; step++) {
          const [mine, yours] = [fresh(`mine-${name}`), fresh(`theirs-${name}`)];
          await copy(name, id, mine);
          await copy(name, id, yours);
          const cost = 1 + roll(3);
          const answer = await package_.limit(yours, { rate: cost });
          const decision = await sangam.check(rule, mine, cost);
          const told = `seed ${seed}, step ${step}, cost ${cost}`;
          assert.equal(decision.allowed, answer.success, told);
          assert.equal(decision.limit, answer.limit, told);
          // A bucket that was never used begins with its first hit, a moment apart.
          assert.ok(Math.abs(decision.reset - answer.reset) < (name === "tokenBucket" ? 10_000 : 1), told);
          const [before, after_] = [await stateOf(name, id), await stateOf(name, mine)];
          if (!decision.allowed) {
            assert.deepEqual(after_, before, `${told}: a refusal took something`);
          } else {
            assert.equal(decision.remaining, answer.remaining, told);
            const written = await stateOf(name, yours);
            if (before.refilledAt === undefined && name === "tokenBucket") {
              delete after_.refilledAt;
              delete written.refilledAt;
            }
            assert.deepEqual(after_, written, told);
          }
          // Also from what the package burns by refusing.
          id = roll(2) ? mine : yours;
          for (const key of keysOf(name, id)) {
            if (await redis.exists(key)) assert.ok((await redis.pttl(key)) > 0, `${told}: ${key}`);
          }
        }
      }
    });

    test(`${name} over ${place}: in turns, so many and no more`, async () => {
      const id = fresh(`turns-${name}`);
      for (let used = 1; used <= LIMIT; used++) {
        const remaining = LIMIT - used;
        if (used % 2) {
          const answer = await package_.limit(id);
          assert.deepEqual([answer.success, answer.remaining], [true, remaining]);
        } else {
          const answer = await sangam.check(rule, id);
          assert.deepEqual([answer.allowed, answer.remaining], [true, remaining]);
        }
        const [ours, read] = [await sangam.peek(rule, id), await package_.getRemaining(id)];
        assert.deepEqual(
          { limit: ours.limit, remaining: ours.remaining, reset: ours.reset },
          { limit: read.limit, remaining: read.remaining, reset: read.reset },
        );
        assert.equal(ours.remaining, remaining);
      }
      const refused = await sangam.check(rule, id);
      assert.deepEqual([refused.allowed, refused.ruled], [false, "store"]);
      assert.ok(refused.retryAfter > 0);
      assert.equal((await package_.limit(id)).success, false);
      assert.equal((await sangam.check(rule, id)).ruled, "remembered");
    });

    test(`${name} over ${place}: 60 at once, half of each`, async () => {
      const id = fresh(`crowd-${name}`);
      const calls = Array.from({ length: 60 }, (_, at) =>
        at % 2 ? package_.limit(id).then((answer) => answer.success) : sangam.check(rule, id).then((answer) => answer.allowed),
      );
      const admitted = (await Promise.all(calls)).filter((it) => it);
      assert.equal(admitted.length, LIMIT);
    });

    test(`${name} over ${place}: a reset is of one identifier, whoever makes it`, async () => {
      const [star, other] = ["*", fresh(`other-${name}`)];
      await package_.limit(star);
      await package_.limit(other);
      assert.equal((await sangam.reset(rule, star)).removed, true);
      assert.equal((await package_.getRemaining(star)).remaining, LIMIT);
      assert.equal((await package_.getRemaining(other)).remaining, LIMIT - 1);
      await package_.resetUsedTokens(other);
      assert.equal((await sangam.peek(rule, other)).remaining, LIMIT);
    });

    test(`${name} over ${place}: what it costs in commands`, async () => {
      const id = fresh(`cost-${name}`);
      await sangam.check(rule, id);
      await sangam.check(rule, id);
      const check = { fixed: 2, sliding: 3, bucket: 4 }[rule.algorithm];
      assert.equal(await called(() => sangam.check(rule, id)), check);
      assert.equal(await called(() => sangam.peek(rule, id)), 1);
      assert.equal(await called(() => sangam.reset(rule, id)), 1);
    });
  }

  test(`cachedFixedWindow over ${place}: its count is the fixed window's, and gets a time to live`, async () => {
    const id = fresh("cached");
    const cached = new Ratelimit({
      redis, prefix, limiter: Ratelimit.cachedFixedWindow(LIMIT, duration), ephemeralCache: new Map(), timeout: 0, enableTelemetry: false,
    });
    for (let used = 1; used <= 4; used++) await (await cached.limit(id)).pending;
    const [key] = keysOf("fixedWindow", id);
    assert.equal(await redis.pttl(key), -1);
    assert.equal((await sangam.peek(RULES.fixedWindow, id)).remaining, LIMIT - 4);
    assert.equal((await sangam.check(RULES.fixedWindow, id, 6)).remaining, 0);
    assert.ok((await redis.pttl(key)) > 0);
    assert.equal((await sangam.check(RULES.fixedWindow, id)).allowed, false);
  });
}

/** How many billed commands the server ran for it. */
async function called(work) {
  const count = async () => {
    const answer = await fetch(rest.url, {
      method: "POST",
      headers: { Authorization: `Bearer ${rest.token}` },
      body: JSON.stringify(["INFO", "commandstats"]),
    });
    const { result } = await answer.json();
    const rows = [...result.matchAll(/^cmdstat_(\w+):calls=(\d+)/gm)];
    const counted = rows.filter(([, name]) => !["info", "ping", "time"].includes(name));
    return counted.reduce((sum, [, , calls]) => sum + Number(calls), 0);
  };
  const before = await count();
  await work();
  return (await count()) - before;
}
