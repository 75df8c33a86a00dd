// Limits for Express by Sangam's HTTP API: one POST for each request that has a class.
//
//   const limits = sangam({ url, key, onUnreachable: "closed" });
//   app.post("/auth/login", limits("auth"), login);

import { request as plain, Agent as PlainAgent } from "node:http";
import { request as secure, Agent as SecureAgent } from "node:https";

/**
 * @param {object} options
 * @param {string} options.url where Sangam listens, such as http://127.0.0.1:8585
 * @param {string} options.key a service key with the scope limits:check
 * @param {"open" | "closed"} [options.onUnreachable] what happens when Sangam cannot be
 *   reached: requests go on, or are refused with 503 (the default)
 * @param {number} [options.timeout] milliseconds that an answer may take; 5000. Sangam
 *   itself gives a store that stalls 3 s before the class's policy decides: with less
 *   than that, `onUnreachable` would decide in its place
 * @param {number} [options.connections] connections that are kept at most; 64
 * @param {(request: import("express").Request) => string | undefined} [options.user] who
 *   is signed in: an id that the client cannot choose
 * @param {(request: import("express").Request) => number} [options.cost] what a request
 *   takes; 1
 */
export function sangam(options) {
  const { key, onUnreachable = "closed", timeout = 5000, connections = 64 } = options;
  const { user = () => undefined, cost = () => 1 } = options;
  const base = new URL(options.url);
  const isSecure = base.protocol === "https:";
  const agent = new (isSecure ? SecureAgent : PlainAgent)({
    keepAlive: true,
    maxSockets: connections,
    // Idle connections end here before Sangam ends them (after 75 s): one that is closed
    // while a check goes out would break it off.
    timeout: 60_000,
  });

  /** What Sangam answers; rejects when it cannot be reached in time. */
  function check(name, question) {
    return new Promise((resolve, reject) => {
      const body = JSON.stringify(question);
      const sent = (isSecure ? secure : plain)(
        new URL(`/v1/limits/${encodeURIComponent(name)}/check`, base),
        {
          method: "POST",
          agent,
          signal: AbortSignal.timeout(timeout),
          headers: {
            authorization: `Bearer ${key}`,
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
          },
        },
        (answer) => {
          const chunks = [];
          answer.on("data", (chunk) => chunks.push(chunk));
          answer.on("error", reject);
          answer.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            if (answer.statusCode !== 200) {
              const error = new Error(`Sangam answers ${answer.statusCode}: ${text.slice(0, 300)}`);
              // 4xx is a mistake in this app's settings, no outage.
              error.isSetting = answer.statusCode < 500;
              return reject(error);
            }
            try {
              resolve(JSON.parse(text));
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      // Not asked again: a connection that broke does not say whether Sangam has counted.
      sent.on("error", reject);
      sent.end(body);
    });
  }

  /** Middleware that checks requests against the class of this name. */
  return function limits(name) {
    return async (request, response, next) => {
      let verdict;
      try {
        const question = {
          user: user(request),
          // As Express' `trust proxy` has it.
          address: request.ip,
          user_agent: request.get("user-agent"),
          cost: cost(request),
        };
        verdict = await check(name, question);
      } catch (error) {
        if (error.isSetting) return next(error);
        response.set("sangam-ruled", onUnreachable);
        if (onUnreachable === "open") return next();
        return refuse(response, {
          type: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
          title: "Temporary Reduced Capacity",
          status: 503,
          detail: `Limits of class ${name} cannot be checked at the moment.`,
        });
      }
      response.set(verdict.headers);
      if (verdict.allowed) return next();
      return refuse(response, verdict.problem);
    };
  };
}

function refuse(response, problem) {
  response
    .status(problem.status)
    .set("cache-control", "no-store")
    .type("application/problem+json")
    .send(JSON.stringify(problem));
}
