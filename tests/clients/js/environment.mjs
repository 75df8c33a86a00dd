// Where the server is, and keys that no other test uses.
import { randomBytes } from "node:crypto";

export const rest = {
  url: process.env.UPSTASH_REDIS_REST_URL,
  token: process.env.UPSTASH_REDIS_REST_TOKEN,
  readonly: process.env.UPSTASH_REDIS_REST_READONLY_TOKEN,
};
export const resp = process.env.REDIS_URL;

let last = 0;
const run = randomBytes(4).toString("hex");

/** A fresh name; the tests of one run share a server. */
export const name = (label = "key") => `${label}:${run}:${process.pid}:${++last}`;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `condition` holds, at most `ms`. */
export async function until(condition, ms = 5000) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not so within ${ms} ms: ${condition}`);
    await sleep(5);
  }
}
