// Sangam's limiter in a process of its own (crates/toolkit/examples/shared_budget.rs).
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "../../..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");

/** How long an answer may take. */
const PATIENCE_MS = 20_000;

export class Sangam {
  #process;
  #waiting = new Map();
  #last = 0;

  /** A limiter with this prefix over the store at `url`. */
  constructor(prefix, url, token) {
    const env = { ...process.env, SANGAM_STORE: url, ...(token && { SANGAM_STORE_TOKEN: token }) };
    const program = join(target, "debug/examples/shared_budget");
    this.#process = spawn(program, [prefix], { env, stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      const { tag, ...answer } = JSON.parse(line);
      this.#waiting.get(tag)?.(answer);
      this.#waiting.delete(tag);
    });
  }

  async #ask(verb, { algorithm, limit, window, burst }, id, cost) {
    const tag = `t${++this.#last}`;
    const answered = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${verb} ${id}`)), PATIENCE_MS);
      this.#waiting.set(tag, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
    });
    this.#process.stdin.write(`${[tag, verb, algorithm, id, limit, window, cost, burst].join(" ")}\n`);
    const answer = await answered;
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  check(rule, id, cost = 1) {
    return this.#ask("check", rule, id, cost);
  }

  peek(rule, id) {
    return this.#ask("peek", rule, id, 1);
  }

  reset(rule, id) {
    return this.#ask("reset", rule, id, 0);
  }

  /** Ends the process, which answers what it was asked first. */
  close() {
    const ended = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.stdin.end();
    return ended;
  }
}
