// The table of methods in docs/upstash-redis.md; run by itself, it writes it.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { FAMILIES } from "./methods.mjs";

const source = (call) => {
  const text = String(call).replace(/\s+/g, " ");
  return text.replace(/^(async )?\((r|r, k)\) => /, "").replaceAll(/\br\./g, "redis.").replaceAll("|", "\\|");
};
const shown = (expected) => {
  if (typeof expected !== "function") return `\`${JSON.stringify(expected).replaceAll("|", "\\|")}\``;
  return "checked";
};

export function table() {
  const version = JSON.parse(readFileSync(new URL("../package.json", import.meta.url))).dependencies["@upstash/redis"];
  const lines = [
    "# The methods of @upstash/redis",
    "",
    "<!-- made by tests/clients/js/upstash-redis/table.mjs; edit methods.mjs there -->",
    "",
    `Each method that \`@upstash/redis\` ${version} exposes, with the call that the tests make and`,
    "what it resolved to (\"checked\": the result has a time, an id or no fixed order). JSON,",
    "SEARCH, VECTOR and arrays are not served.",
  ];
  for (const [family, examples] of Object.entries(FAMILIES)) {
    lines.push("", `## ${family}`, "", "| method | call | result |", "|---|---|---|");
    for (const [method, , call, expected] of examples) {
      lines.push(`| ${method} | \`\` ${source(call)} \`\` | ${shown(expected)} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(new URL("../../../../docs/upstash-redis.md", import.meta.url), table());
}
