// BullMQ, unchanged: its queues are lists, sorted sets, streams and long scripts,
// its workers wait with BZPOPMIN.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } from "bullmq";
import { Redis } from "ioredis";
import { name, resp, sleep, until } from "../environment.mjs";

const open = [];
const keep = (thing) => (open.push(thing), thing);
const connection = () => {
  const { hostname, port, username, password } = new URL(resp);
  return { host: hostname, port: Number(port), username: username || undefined, password: password || undefined };
};
const queueOf = (label) => keep(new Queue(name(label).replaceAll(":", "-"), { connection: connection() }));
const workerOf = (queue, work, options = {}) =>
  keep(new Worker(queue.name, work, { connection: { ...connection(), maxRetriesPerRequest: null }, ...options }));
const ended = async (queue, count, ms = 20_000) => {
  await until(async () => {
    const { completed, failed } = await queue.getJobCounts("completed", "failed");
    return completed + failed >= count;
  }, ms);
};

after(async () => {
  await Promise.all(open.map((thing) => thing.close()));
});

describe("bullmq", () => {
  test("a worker waits, works and answers", async () => {
    const queue = queueOf("simple");
    const events = keep(new QueueEvents(queue.name, { connection: connection() }));
    await events.waitUntilReady();
    workerOf(queue, async (job) => job.data.a + job.data.b);
    await sleep(50);
    const job = await queue.add("sum", { a: 2, b: 3 });
    assert.equal(await job.waitUntilFinished(events, 10_000), 5);
    assert.equal(await job.getState(), "completed");
  });

  test("delays are kept", async () => {
    const queue = queueOf("delay");
    const begun = new Map();
    workerOf(queue, async (job) => void begun.set(job.name, Date.now()));
    const added = Date.now();
    await queue.add("late", {}, { delay: 900 });
    await queue.add("soon", {}, { delay: 300 });
    await queue.add("now", {});
    await ended(queue, 3);
    assert.deepEqual([...begun.keys()], ["now", "soon", "late"]);
    assert.ok(begun.get("soon") - added >= 295, "soon came early");
    assert.ok(begun.get("late") - added >= 895, "late came early");
  });

  test("retries with backoff, and gives up", async () => {
    const queue = queueOf("retry");
    const attempts = [];
    workerOf(queue, async (job) => {
      if (job.name === "hopeless") throw new UnrecoverableError("no");
      attempts.push(Date.now());
      if (attempts.length < 3) throw new Error("not yet");
      return "at last";
    });
    const job = await queue.add("flaky", {}, { attempts: 3, backoff: { type: "exponential", delay: 50 } });
    const hopeless = await queue.add("hopeless", {}, { attempts: 5 });
    await ended(queue, 2);
    assert.equal(await job.getState(), "completed");
    assert.equal(await hopeless.getState(), "failed");
    assert.equal(attempts.length, 3);
    assert.ok(attempts[1] - attempts[0] >= 45 && attempts[2] - attempts[1] >= 95, String(attempts));
  });

  test("priorities", async () => {
    const queue = queueOf("priority");
    await queue.addBulk([5, 1, 3, 2, 4].map((priority) => ({ name: `p${priority}`, data: {}, opts: { priority } })));
    await queue.add("first", {});
    const order = [];
    workerOf(queue, async (job) => void order.push(job.name), { concurrency: 1 });
    await ended(queue, 6);
    assert.deepEqual(order, ["first", "p1", "p2", "p3", "p4", "p5"]);
  });

  test("a rate limit", async () => {
    const queue = queueOf("rate");
    await queue.addBulk(Array.from({ length: 12 }, (_, at) => ({ name: `j${at}`, data: {} })));
    const begun = [];
    workerOf(queue, async () => void begun.push(Date.now()), {
      concurrency: 12,
      limiter: { max: 4, duration: 300 },
    });
    await ended(queue, 12);
    begun.sort((a, b) => a - b);
    // Twelve in fours: the last four can't begin before two windows are over.
    assert.ok(begun[8] - begun[0] >= 550, String(begun.map((at) => at - begun[0])));
  });

  test("a flow: parents wait for their children", async () => {
    const queue = queueOf("flow");
    const flows = keep(new FlowProducer({ connection: connection() }));
    workerOf(queue, async (job) => {
      if (job.name !== "parent") return job.data.value;
      const values = Object.values(await job.getChildrenValues());
      return values.reduce((sum, value) => sum + value, 0);
    });
    const children = [1, 2, 3, 4].map((value) => ({ name: "child", queueName: queue.name, data: { value } }));
    const { job } = await flows.add({ name: "parent", queueName: queue.name, data: {}, children });
    await until(async () => (await job.getState()) === "completed", 10_000);
    const parent = await queue.getJob(job.id);
    assert.equal(parent.returnvalue, 10);
  });

  test("a repeated job comes again and again", async () => {
    const queue = queueOf("repeat");
    let runs = 0;
    workerOf(queue, async () => void runs++);
    await queue.upsertJobScheduler("every", { every: 100 }, { name: "tick" });
    await until(() => runs >= 3, 10_000);
    assert.equal((await queue.getJobSchedulers()).length, 1);
    assert.ok(await queue.removeJobScheduler("every"));
  });

  test("pause, resume, drain, obliterate", async () => {
    const queue = queueOf("pause");
    let runs = 0;
    workerOf(queue, async () => void runs++);
    await queue.pause();
    await queue.addBulk([1, 2, 3].map((data) => ({ name: "job", data })));
    await sleep(100);
    assert.equal(runs, 0);
    await queue.resume();
    await ended(queue, 3);
    assert.equal(runs, 3);
    await queue.pause();
    await queue.add("never", {});
    await queue.drain();
    assert.equal(await queue.count(), 0);
    await queue.obliterate({ force: true });
    const redis = keep(new Redis(resp));
    redis.close = () => redis.disconnect();
    assert.deepEqual(await redis.keys(`bull:${queue.name}:*`), []);
  });

  test("jobs of a worker that was killed are taken up by another", async () => {
    const queue = queueOf("stalled");
    const child = fork(new URL("stalling-worker.mjs", import.meta.url), [queue.name], { env: process.env });
    try {
      await queue.addBulk(Array.from({ length: 5 }, (_, at) => ({ name: "held", data: { at } })));
      await once(child, "message");
      assert.equal(await queue.getActiveCount(), 5);
    } finally {
      child.kill("SIGKILL");
    }
    await once(child, "exit");
    const seen = [];
    const stalled = [];
    const worker = workerOf(queue, async (job) => void seen.push(job.data.at), { stalledInterval: 200, lockDuration: 1000 });
    worker.on("stalled", (id) => stalled.push(id));
    await ended(queue, 5);
    assert.deepEqual(seen.sort(), [0, 1, 2, 3, 4]);
    assert.equal(stalled.length, 5);
  });

  test("10,000 jobs, none lost and none twice", async () => {
    const queue = queueOf("many");
    const total = 10_000;
    const runs = new Uint8Array(total);
    for (let worker = 0; worker < 4; worker++) {
      workerOf(queue, async (job) => void runs[job.data.at]++, { concurrency: 50, removeOnComplete: { count: 0 } });
    }
    for (let at = 0; at < total; at += 500) {
      const bulk = Array.from({ length: 500 }, (_, next) => ({ name: "job", data: { at: at + next } }));
      await queue.addBulk(bulk);
    }
    await until(async () => (await queue.count()) + (await queue.getActiveCount()) === 0, 120_000);
    assert.equal(runs.filter((count) => count !== 1).length, 0);
    assert.equal(await queue.getFailedCount(), 0);
  });
});
