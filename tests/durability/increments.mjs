// Clients of the official SDK that count while the server is killed: nothing but
// the SDK's own retry option. Prints what they were told.
import { Redis } from "../clients/js/node_modules/@upstash/redis/nodejs.mjs";

const [turns, clients] = process.argv.slice(2).map(Number);
const redis = () =>
  new Redis({
    url: process.env.UPSTASH_REDIS_REST_URL,
    token: process.env.UPSTASH_REDIS_REST_TOKEN,
    enableTelemetry: false,
    retry: { retries: 200, backoff: () => 50 },
  });

async function count(client) {
  const own = redis();
  const replies = [];
  for (let turn = 0; turn < turns; turn += 1) {
    replies.push(await own.incr(`counter:${client}`));
    if (turn % 10 === 0) console.error(`turn ${turn}`);
    await new Promise((done) => setTimeout(done, 2));
  }
  return replies;
}

const all = await Promise.all(Array.from({ length: clients }, (_, client) => count(client)));
console.log(JSON.stringify(all));
