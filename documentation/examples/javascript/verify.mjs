// Asks heare-auth whether an API key is good. Needs Node.js 18 or later and nothing else.
//
//     echo "$KEY" | HEARE_AUTH_URL=http://localhost:8080 node verify.mjs [CLIENT_IP [SCOPE...]]
//
// Exit code 0: good, the answer is printed. 1: refused. 2: nobody could say, which must be treated like a refusal.
// In a program of your own, import `verify`.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const ATTEMPT_MS = 2000;
const TOTAL_MS = 5000;
const ATTEMPTS = 3;

// What to answer one's own client, by the code of a refusal; any other code is a key that is no good.
const STATUS_OF_CODE = { ip_not_allowed: 403, insufficient_scope: 403, rate_limited: 429 };

/** Never throws for an outage: then `allowed` is false and `status`, which is for one's own client, is 503. */
export async function verify(apiKey, { clientIp, requiredScopes = [] } = {}) {
  const request = { api_key: apiKey };
  if (clientIp) request.client_ip = clientIp;
  if (requiredScopes.length > 0) request.required_scopes = requiredScopes;
  const body = JSON.stringify(request);
  const deadline = performance.now() + TOTAL_MS;
  for (let attempt = 1; ; attempt += 1) {
    const { status, answer, retryAfter } = await ask(body, deadline);
    const verdict = judge(status, answer, retryAfter);
    if (verdict) return verdict;
    const pause = retryAfter === undefined ? 200 : retryAfter * 1000;
    const mayPass = status === undefined || status >= 500;
    if (!mayPass || attempt === ATTEMPTS || performance.now() + pause >= deadline) {
      return { allowed: false, status: 503, code: "unavailable", answer: {}, retryAfter };
    }
    await sleep(pause);
  }
}

function judge(status, answer, retryAfter) {
  if (status === 200 && answer.valid === true) return { allowed: true, status, code: "good", answer };
  if ((status === 403 || status === 429) && answer.valid === false) {
    const code = String(answer.code ?? "invalid");
    return { allowed: false, status: STATUS_OF_CODE[code] ?? 401, code, answer, retryAfter };
  }
  if (status === 413 || status === 422) return { allowed: false, status: 401, code: "malformed", answer: {} };
  return undefined;
}

/** Status, answer and Retry-After of one attempt. A redirect is not followed: it would get the key. */
async function ask(body, deadline) {
  const url = new URL("/verify", process.env.HEARE_AUTH_URL ?? "http://localhost:8080");
  // The time limit holds until the last byte of the answer.
  const signal = AbortSignal.timeout(Math.max(1, Math.round(Math.min(ATTEMPT_MS, deadline - performance.now()))));
  const headers = { "Content-Type": "application/json" };
  try {
    const response = await fetch(url, { method: "POST", headers, body, signal, redirect: "manual" });
    const text = await response.text();
    const wait = response.headers.get("Retry-After") ?? "";
    return { status: response.status, answer: jsonObject(text), retryAfter: /^\d+$/.test(wait) ? Number(wait) : undefined };
  } catch {
    return { answer: {} };
  }
}

function jsonObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

async function main() {
  const [clientIp, ...requiredScopes] = process.argv.slice(2);
  const apiKey = readFileSync(0, "utf8").split("\n")[0].trim();
  const verdict = await verify(apiKey, { clientIp, requiredScopes });
  if (verdict.allowed) {
    console.log(JSON.stringify(verdict.answer));
    return 0;
  }
  const wait = verdict.retryAfter === undefined ? "" : `, Retry-After: ${verdict.retryAfter}`;
  console.log(`not allowed: ${verdict.code} (answer ${verdict.status}${wait})`);
  return verdict.status === 503 ? 2 : 1;
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  process.exitCode = await main();
}
