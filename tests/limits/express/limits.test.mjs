// examples/express, two instances that ask one Sangam over its HTTP API.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { ROOT, send, start } from "../load.mjs";
import { limited } from "../shared.mjs";

const binary =
  process.env.SANGAM_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${ROOT}/target`}/release/sangam`;
const KEY = "express-key-0123456789";
const instances = [];
let folder;
let server;

function instance(env) {
  return start("node", [`${ROOT}/examples/express/app.mjs`], {
    // Patient: what is tested is the count, on machines however slow.
    env: { PORT: "0", SANGAM_KEY: KEY, SANGAM_TIMEOUT_MS: "30000", ...env },
    pattern: /^(http:\/\/\S+)$/,
  });
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "limits-"));
  const config = join(folder, "sangam.toml");
  const key = `[[service-keys]]\nname = "express"\nkey = "${KEY}"\nscopes = ["limits:check"]\n\n`;
  const classes = await readFile(`${ROOT}/tests/limits/limits.toml`, "utf8");
  await writeFile(config, key + classes, { mode: 0o600 });
  const args = ["serve", "--config", config, "--http", "127.0.0.1:0", "--data", "memory"];
  server = await start(binary, args, { cwd: folder, pattern: /UPSTASH_REDIS_REST_URL="?([^"\s]+)/ });
  const env = { SANGAM_URL: server.found };
  for (let at = 0; at < 2; at += 1) instances.push(await instance(env));
});
after(async () => {
  await Promise.all([...instances, server].filter(Boolean).map((it) => it.stop()));
  await rm(folder, { recursive: true, force: true });
});

const PATHS = { auth: "/auth/login", payment: "/payments/charge" };
limited(
  () => instances.map((it) => it.found),
  (name) => PATHS[name] ?? `/classes/${name}`,
);

test("a class that there is not, and a key that opens nothing, are the app's faults", async () => {
  const none = await send(instances[0].found, { path: "/classes/none" });
  assert.equal(none.status, 500);
  const stranger = await instance({ SANGAM_URL: server.found, SANGAM_KEY: "another-key-0123456789" });
  try {
    const answer = await send(stranger.found, { path: "/classes/crowd", user: "ann" });
    assert.equal(answer.status, 500);
  } finally {
    await stranger.stop();
  }
});

for (const [policy, status] of [["closed", 503], ["open", 200]]) {
  test(`when Sangam cannot be reached the app is ${policy}, and says so`, async () => {
    const cut = await instance({ SANGAM_URL: "http://127.0.0.1:1", ON_UNREACHABLE: policy });
    try {
      const answer = await send(cut.found, { path: "/public" });
      assert.equal(answer.status, status);
      assert.equal(answer.headers["sangam-ruled"], policy);
    } finally {
      await cut.stop();
    }
  });
}
