// What the suites stand on: a server, instances of an app, and requests in numbers.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const running = new Set();

/**
 * Starts a process and waits for a line that `pattern` fits, at most 30 s; what the
 * line says is `found`.
 */
export async function start(command, args, { env = {}, cwd = ROOT, pattern }) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const said = [];
  const ended = once(child, "exit").then(([status]) => {
    running.delete(child);
    return status;
  });
  const found = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${command} says nothing in 30 s`)), 30_000);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        said.push(line);
        const match = pattern.exec(line);
        if (match) {
          clearTimeout(late);
          resolve(match[1]);
        }
      });
    }
    child.on("error", reject);
    ended.then((status) => {
      clearTimeout(late);
      reject(new Error(`${command} ended with ${status}:\n${said.join("\n")}`));
    });
  });
  return {
    found,
    async stop() {
      if (!running.has(child)) return;
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(late);
    },
  };
}

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** One request; status, fields, body, and when it was answered. */
export function send(origin, { method = "GET", path, user, headers = {} }) {
  return new Promise((resolve, reject) => {
    const sent = request(
      new URL(path, origin),
      {
        method,
        agent,
        signal: AbortSignal.timeout(60_000),
        headers: { ...headers, ...(user && { authorization: `Bearer demo-${user}` }) },
      },
      (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          resolve({
            status: answer.statusCode,
            headers: answer.headers,
            body: Buffer.concat(chunks).toString(),
            at: Date.now(),
          });
        });
      },
    );
    sent.on("error", reject);
    sent.end();
  });
}

/** So many requests at once, in turns over the instances. */
export function burst(origins, count, wanted) {
  const each = typeof wanted === "function" ? wanted : () => wanted;
  const all = Array.from({ length: count }, (_, at) =>
    send(origins[at % origins.length], each(at)),
  );
  return Promise.all(all);
}

/** How many answers have each status, such as `{ 200: 5, 429: 195 }`. */
export function statuses(answers) {
  const counts = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

export const sleep = (millis) => new Promise((done) => setTimeout(done, millis));
