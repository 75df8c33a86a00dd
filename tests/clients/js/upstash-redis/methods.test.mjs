// Every method that @upstash/redis exposes, called as it is documented.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { Redis } from "@upstash/redis";
import { name, rest } from "../environment.mjs";
import { ELSEWHERE, FAMILIES } from "./methods.mjs";
import { table } from "./table.mjs";

const redis = new Redis({ ...rest, enableAutoPipelining: false });

for (const [family, examples] of Object.entries(FAMILIES)) {
  describe(family, () => {
    for (const [method, prepare, call, expected] of examples) {
      test(method, async () => {
        const key = name(method);
        await prepare?.(redis, key);
        const result = await call(redis, key);
        if (typeof expected === "function") assert.ok(expected(result), JSON.stringify(result));
        else assert.deepEqual(result, expected);
      });
    }
  });
}

test("no method is forgotten", () => {
  const exposed = new Set();
  for (let at = redis; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const property of Object.getOwnPropertyNames(at)) {
      if (/^[a-z]/.test(property) && typeof redis[property] === "function") exposed.add(property);
    }
  }
  for (const method of ["load", "call", "callRo", "list", "stats", "delete", "flush"]) {
    assert.equal(typeof redis.functions[method], "function");
    exposed.add(`functions.${method}`);
  }
  const shown = new Set(Object.values(FAMILIES).flatMap((examples) => examples.map(([method]) => method)));
  assert.deepEqual([...exposed].filter((method) => !shown.has(method) && !ELSEWHERE.test(method)), []);
  assert.deepEqual([...shown].filter((method) => !exposed.has(method)), []);
});

test("docs/upstash-redis.md is this table", () => {
  const file = new URL("../../../../docs/upstash-redis.md", import.meta.url);
  assert.equal(readFileSync(file, "utf8"), table());
});
