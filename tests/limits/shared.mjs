// What has to hold for an app that is limited, however it is written: two instances, one
// store. The classes are those of limits.toml beside this file.

import assert from "node:assert/strict";
import test from "node:test";
import { burst, send, sleep, statuses } from "./load.mjs";

const QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/** Declares the tests; `apps()` are the origins of the instances. */
export function limited(apps, path) {
  const login = { method: "POST", path: path("auth") };
  const charge = (user) => ({ method: "POST", path: path("payment"), user });

  test("of 200 logins over two instances 5 pass, and a forged address does not help", async () => {
    const answers = await burst(apps(), 200, (at) => ({
      ...login,
      headers: { "x-forwarded-for": `198.51.100.${at}`, forwarded: `for=198.51.100.${at}` },
    }));
    assert.deepEqual(statuses(answers), { 200: 5, 429: 195 });
    for (const refused of answers.filter(({ status }) => status === 429)) {
      assert.equal(refused.headers["content-type"].split(";")[0], "application/problem+json");
      const problem = JSON.parse(refused.body);
      assert.equal(problem.type, QUOTA_EXCEEDED);
      assert.equal(problem.status, 429);
      const seconds = Number(refused.headers["retry-after"]);
      // What came in a window weighs on the next one too.
      assert.ok(seconds >= 1 && seconds <= 2 * 900, `Retry-After: ${seconds}`);
      assert.equal(problem["retry-after"], seconds);
      assert.match(refused.headers["ratelimit-policy"], /^"auth\.user";q=5;w=900;pk=:[\w+/=]+:, /);
    }
  });

  test("each user has 10 charges, and an address 30 over all of its users", async () => {
    const users = ["ann", "bea", "cyd", "dan"];
    const answers = await burst(apps(), 200, (at) => charge(users[at % users.length]));
    assert.deepEqual(statuses(answers), { 200: 30, 429: 170 });
    for (const [at, user] of users.entries()) {
      const theirs = answers.filter((_, place) => place % users.length === at);
      assert.ok((statuses(theirs)[200] ?? 0) <= 10, `${user} had more than 10`);
    }
    // What was refused for the address took nothing from its user, and the other way
    // round: the 30 were taken by those that passed.
    const first = answers.find(({ status }) => status === 200);
    assert.match(first.headers.ratelimit, /^"payment\.user";r=\d+;t=\d+;pk=.*"payment\.address";r=/);
  });

  test("the 21st request for a token is refused, with a Retry-After", async () => {
    const answers = await burst(apps(), 20, { path: path("livekit-token"), user: "eve" });
    assert.deepEqual(statuses(answers), { 200: 20 });
    const last = await send(apps()[0], { path: path("livekit-token"), user: "eve" });
    assert.equal(last.status, 429);
    const seconds = Number(last.headers["retry-after"]);
    assert.ok(seconds >= 1 && seconds <= 120, `Retry-After: ${seconds}`);
    assert.deepEqual(JSON.parse(last.body)["violated-policies"], ["livekit-token.user"]);
  });

  test("a retry after Retry-After passes", async () => {
    const asked = { path: path("short-token"), user: "fay" };
    for (const round of [1, 2]) {
      let refused;
      const end = Date.now() + 20_000;
      while (!refused && Date.now() < end) {
        const answers = await burst(apps(), 20, asked);
        refused = answers.filter(({ status }) => status === 429).at(-1);
      }
      assert.ok(refused, "nothing was refused");
      await sleep(Number(refused.headers["retry-after"]) * 1000);
      const again = await send(apps()[round % 2], asked);
      assert.equal(again.status, 200, `round ${round}: ${again.body}`);
    }
  });

  test("a window's end lets no double burst through", async () => {
    // 20 in 2 s, in windows that are aligned to the clock. Requests come from shortly
    // before an end on: a fixed window would let 20 through before it and 20 after it.
    const window = 2_000;
    const asked = { path: path("edge"), user: "gil" };
    let end = Math.ceil(Date.now() / window) * window;
    if (end - Date.now() < 500) end += window;
    await sleep(end - 300 - Date.now());
    const passed = [];
    while (Date.now() < end + 600) {
      const answers = await burst(apps(), 40, asked);
      passed.push(...answers.filter(({ status }) => status === 200));
    }
    assert.ok(passed.length >= 20, `only ${passed.length} passed`);
    // After the end, as much as the former window's hits have left: evenly spread.
    const after = Math.max(0, ...passed.map(({ at }) => at - end));
    const most = 20 + Math.ceil((20 * after) / window);
    assert.ok(passed.length <= most, `${passed.length} passed, not ${most}, ${after} ms after`);
  });

  test("hundreds at once: no more than the limit, no less", async () => {
    const answers = await burst(apps(), 600, { path: path("crowd"), user: "hal" });
    assert.deepEqual(statuses(answers), { 200: 100, 429: 500 });
  });
}
