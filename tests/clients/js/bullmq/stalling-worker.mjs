// Takes five jobs, says so, and holds them until it is killed.
import { Worker } from "bullmq";

const { hostname, port, username, password } = new URL(process.env.REDIS_URL);
const connection = {
  host: hostname,
  port: Number(port),
  username: username || undefined,
  password: password || undefined,
  maxRetriesPerRequest: null,
};
let held = 0;
const hold = async () => {
  if (++held === 5) process.send("holding");
  await new Promise(() => {});
};
new Worker(process.argv[2], hold, { connection, concurrency: 5, lockDuration: 1000, stalledInterval: 200 });
