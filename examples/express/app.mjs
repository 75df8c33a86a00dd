// A small app whose routes are limited by Sangam.
//
//   SANGAM_URL=http://127.0.0.1:8585 SANGAM_KEY=... node app.mjs
//
// All instances that ask the same Sangam share the limits.

import express from "express";
import { sangam } from "./sangam.mjs";

const limits = sangam({
  url: process.env.SANGAM_URL ?? "http://127.0.0.1:8585",
  key: process.env.SANGAM_KEY ?? "",
  onUnreachable: process.env.ON_UNREACHABLE ?? "closed",
  timeout: Number(process.env.SANGAM_TIMEOUT_MS ?? 5000),
  user: signedIn,
});

// Who is signed in. A real app looks the session up; here the token is `demo-` and the
// user's name.
function signedIn(request) {
  const header = request.get("authorization") ?? "";
  return header.startsWith("Bearer demo-") ? header.slice("Bearer demo-".length) : undefined;
}

const app = express();
app.disable("x-powered-by");
// Behind a proxy: app.set("trust proxy", "10.0.0.0/8"). Without it nobody's
// X-Forwarded-For is believed.

app.post("/auth/login", limits("auth"), (_, response) => response.send("welcome\n"));
app.post("/payments/charge", limits("payment"), (_, response) => response.send("charged\n"));
app.get("/api/sensitive", limits("sensitive"), (_, response) => response.send("sensitive\n"));
app.get("/public", limits("public"), (_, response) => response.send("public\n"));
// Classes of one's own are asked for in the same way: this one takes any name.
app.get("/classes/:class", (request, response, next) => {
  limits(request.params.class)(request, response, (error) =>
    error ? next(error) : response.send("done\n"),
  );
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
