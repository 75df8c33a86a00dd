// examples/axum, two instances over one Sangam (its RESP port) and over whatever
// REDIS_URL names.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { ROOT, send, start } from "../load.mjs";
import { limited } from "../shared.mjs";

const binary =
  process.env.EXAMPLE_BIN ??
  `${process.env.CARGO_TARGET_DIR ?? `${ROOT}/target`}/debug/sangam-example-axum`;
const instances = [];

function instance(...args) {
  const limits = `${ROOT}/tests/limits/limits.toml`;
  return start(binary, ["--listen", "127.0.0.1:0", "--limits", limits, ...args], {
    pattern: /^(http:\/\/\S+)$/,
  });
}

before(async () => {
  const store = process.env.REDIS_URL;
  assert.ok(store, "REDIS_URL names the store: tests/with-sangam tests/limits/axum/run");
  for (let at = 0; at < 2; at += 1) instances.push(await instance("--store", store));
});
after(() => Promise.all(instances.map((it) => it.stop())));

const PATHS = { auth: "/auth/login", payment: "/payments/charge" };
limited(
  () => instances.map((it) => it.found),
  (name) => PATHS[name] ?? `/classes/${name}`,
);

test("without its store the app refuses what its class says, and says who ruled", async () => {
  const cut = await instance("--store", "redis://127.0.0.1:1");
  try {
    const answer = await send(cut.found, { method: "POST", path: "/auth/login" });
    assert.equal(answer.status, 503);
    assert.equal(answer.headers["sangam-ruled"], "closed");
    const { type } = JSON.parse(answer.body);
    assert.equal(type, "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
  } finally {
    await cut.stop();
  }
});
