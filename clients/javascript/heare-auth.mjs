// Asks heare-auth whether API keys are good: one module for Node.js 18 or later, Deno and Bun, without dependencies.
//
//     const client = new Client("https://auth.example.com");
//     try {
//       const key = await client.verify(apiKey, { clientIp: peer, requiredScopes: ["orders:read"] });
//     } catch (refusal) {
//       if (!(refusal instanceof NotAllowed)) throw refusal;
//       answer with refusal.status, and Retry-After when refusal.retryAfter is a number
//     }
//
// Whoever forgets to look at the outcome lets nobody in: what is not a good key is an exception.
//
// Answers are remembered for a few seconds, under a digest that is worth nothing elsewhere; the key itself is not kept.
// Those for keys with limits never are, because each use has to be counted.

import { createHmac, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

// The longest that a good answer may be used, whatever a client is told: a revoked key works no longer than this.
export const LONGEST_MAX_AGE_MS = 60_000;

const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_KEY_CHARACTERS = 1024;
const FIRST_PAUSE_MS = 50;
const HEADERS = { "Content-Type": "application/json", "User-Agent": "heare-auth-javascript" };
const LIMIT_HEADERS = ["X-RateLimit-Limit", "RateLimit-Policy", "RateLimit"];

// What to answer one's own client, by the code of a refusal.
const STATUS_OF_CODE = new Map([
  ["invalid", 401],
  ["revoked", 401],
  ["expired", 401],
  ["malformed", 401],
  ["ip_not_allowed", 403],
  ["insufficient_scope", 403],
  ["rate_limited", 429],
]);
const REMEMBERED_CODES = ["invalid", "revoked", "expired", "ip_not_allowed", "insufficient_scope"];

/** `status` is what to answer one's own client, `code` the reason, `retryAfter` seconds to wait or undefined. */
export class NotAllowed extends Error {
  constructor(code, status, { retryAfter, requiredScopes = [] } = {}) {
    super(`the API key is not let in: ${code}`);
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.requiredScopes = requiredScopes;
  }
}

/** The service said no. */
export class Refused extends NotAllowed {}

/** Nobody could say. That is not a yes. */
export class Unavailable extends NotAllowed {}

/** All times are in milliseconds. `maxAgeMs` is how long a good answer may be used, counted from before it was asked
 * for; 0 remembers nothing. */
export class Client {
  #url;
  #options;
  #digestKey = randomBytes(32);
  #good;
  #refused;
  #limited;
  #flights;

  constructor(url = process.env.HEARE_AUTH_URL ?? "http://localhost:8080", options = {}) {
    this.#url = verifyUrl(url);
    this.#options = checked(options);
    this.forgetAll();
  }

  /** Whose a good key is: an object with the service's own members, such as `key_id`, `name` and `metadata`. Throws
   * `Refused` or `Unavailable` for everything else, at most `totalMs` later. */
  async verify(apiKey, { clientIp, requiredScopes = [], cost = 1, endpoint } = {}) {
    if (!mayBeAKey(apiKey)) throw new Refused("malformed", 401);
    const question = { api_key: apiKey };
    if (clientIp) question.client_ip = String(clientIp);
    if (requiredScopes.length > 0) question.required_scopes = [...new Set(requiredScopes)].sort();
    // Keyed by a number that this process alone knows, so that not even a guess can be checked against it elsewhere.
    const digest = createHmac("sha256", this.#digestKey).update(JSON.stringify(question)).digest("base64");
    if (cost !== 1) question.cost = cost;
    if (endpoint) question.endpoint = endpoint;
    const outcome = await this.#rememberedOrAsked(digest, JSON.stringify(question));
    if (outcome instanceof NotAllowed) throw again(outcome);
    return outcome;
  }

  /** Nothing that was asked before this call is used after it; for who learns of a revocation. */
  forgetAll() {
    const { maxEntries } = this.#options;
    this.#good = new Memory(maxEntries);
    this.#refused = new Memory(maxEntries);
    this.#limited = new Memory(maxEntries);
    this.#flights = new Map();
  }

  async #rememberedOrAsked(digest, body) {
    const deadline = performance.now() + this.#options.totalMs;
    if (this.#limited.get(digest)) return (await this.#ask(body, deadline)).outcome;
    const remembered = this.#good.get(digest) ?? this.#refused.get(digest);
    if (remembered) return remembered;
    const underway = this.#flights.get(digest);
    if (!underway) return (await this.#lead(digest, body, deadline)).outcome;
    const { outcome, isLimited } = await underway;
    // Where limits apply, the answer that was waited for was another's use of the key.
    return isLimited ? (await this.#ask(body, deadline)).outcome : outcome;
  }

  /** Asks for all who want to know the same meanwhile. */
  #lead(digest, body, deadline) {
    const askedAt = now();
    const flights = this.#flights;
    const remembering = (asked) => {
      // If these are not the flights any more, it began before `forgetAll`.
      if (flights === this.#flights) this.#remember(digest, asked, askedAt);
      return asked;
    };
    const flight = this.#ask(body, deadline).then(remembering).finally(() => flights.delete(digest));
    flights.set(digest, flight);
    return flight;
  }

  #remember(digest, { outcome, isLimited }, askedAt) {
    const { maxAgeMs, maxAgeRefusedMs } = this.#options;
    if (isLimited) this.#limited.put(digest, true, askedAt, LONGEST_MAX_AGE_MS);
    else if (!(outcome instanceof NotAllowed)) this.#good.put(digest, outcome, askedAt, maxAgeMs, ends(outcome));
    else if (REMEMBERED_CODES.includes(outcome.code)) this.#refused.put(digest, outcome, askedAt, maxAgeRefusedMs);
  }

  /** The good answer or a `NotAllowed`, and whether limits apply to the key. Never throws. */
  async #ask(body, deadline) {
    const { attempts, attemptMs } = this.#options;
    let retryAfter;
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const answer = await this.#attempt(body, Math.min(attemptMs, deadline - performance.now()));
      if (answer?.outcome) return answer;
      retryAfter = answer?.retryAfter;
      if (answer?.status < 500 || attempt + 1 === attempts) break;
      // Jitter, so that many clients do not come back at the same moment.
      const pause = (retryAfter ?? 0) * 1000 + Math.random() * FIRST_PAUSE_MS * 2 ** attempt;
      if (performance.now() + pause >= deadline) break;
      await sleep(pause);
    }
    return { outcome: new Unavailable("unavailable", 503, { retryAfter }), isLimited: false };
  }

  /** One whole answer, or undefined. A redirect is not followed: it would get the key. */
  async #attempt(body, ms) {
    if (ms < 1) return undefined;
    try {
      // The time holds until the last byte of the answer.
      const signal = AbortSignal.timeout(Math.round(ms));
      const request = { method: "POST", headers: HEADERS, body, signal, redirect: "manual" };
      const response = await fetch(this.#url, request);
      const isLimited = LIMIT_HEADERS.some((name) => response.headers.has(name));
      const retryAfter = seconds(response.headers.get("Retry-After"));
      const outcome = judge(response.status, jsonObject(await text(response)), retryAfter);
      return { status: response.status, outcome, isLimited, retryAfter };
    } catch {
      return undefined;
    }
  }
}

/** The newest answers, each until its time is over. */
class Memory {
  #entries = new Map();
  #maxEntries;

  constructor(maxEntries) {
    this.#maxEntries = maxEntries;
  }

  get(digest) {
    const entry = this.#entries.get(digest);
    if (!entry) return undefined;
    const { value, askedAt, maxAgeMs, endsAt } = entry;
    const here = now();
    // Of two clocks: one stands still while the machine sleeps, the other may be set. A doubt is an age.
    const isYoung = here.every((time, clock) => time >= askedAt[clock] && time - askedAt[clock] < maxAgeMs);
    if (isYoung && here[1] < endsAt) return value;
    this.#entries.delete(digest);
    return undefined;
  }

  put(digest, value, askedAt, maxAgeMs, endsAt = Infinity) {
    if (maxAgeMs <= 0) return;
    this.#entries.delete(digest);
    this.#entries.set(digest, { value, askedAt, maxAgeMs, endsAt });
    // A Map tells its keys in the order in which they came.
    if (this.#entries.size > this.#maxEntries) this.#entries.delete(this.#entries.keys().next().value);
  }
}

/** A good answer, a `Refused`, or undefined where the answer says nothing about the key. */
function judge(status, json, retryAfter) {
  if (status === 200 && json.valid === true && typeof json.key_id === "string") return frozen(json);
  if ((status === 403 || status === 429) && json.valid === false) {
    const code = STATUS_OF_CODE.has(json.code) ? json.code : "invalid";
    const requiredScopes = Array.isArray(json.required_scopes) ? json.required_scopes : [];
    const wait = status === 429 ? retryAfter : undefined;
    return new Refused(code, STATUS_OF_CODE.get(code), { retryAfter: wait, requiredScopes });
  }
  if (status === 422 && json.error) {
    const isAboutTheKey = json.detail?.[0]?.loc?.at?.(-1) === "api_key";
    return isAboutTheKey ? new Refused("malformed", 401) : new Unavailable("bad_question", 500);
  }
  return undefined;
}

/** An equal one for another caller, with a stack of its own. */
function again(refusal) {
  return new refusal.constructor(refusal.code, refusal.status, refusal);
}

function verifyUrl(text) {
  const url = new URL(text);
  const isPlain = url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (!["http:", "https:"].includes(url.protocol) || !isPlain) {
    throw new TypeError("the URL of heare-auth is http:// or https:// with a host, and no user, query or fragment");
  }
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/verify`;
  return url;
}

function checked(options) {
  const usual = { maxAgeMs: 5000, maxAgeRefusedMs: 1000, maxEntries: 10_000, attemptMs: 2000, totalMs: 5000, attempts: 3 };
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(usual, name));
  if (unknown.length > 0) throw new TypeError(`unknown options: ${unknown.join(", ")}`);
  const all = { ...usual, ...options };
  const isBounded = 0 <= all.maxAgeRefusedMs && all.maxAgeRefusedMs <= all.maxAgeMs && all.maxAgeMs <= LONGEST_MAX_AGE_MS;
  if (!isBounded) {
    throw new RangeError(`maxAgeMs is at most ${LONGEST_MAX_AGE_MS}, and maxAgeRefusedMs not above it`);
  }
  if (!(1 <= all.attemptMs && all.attemptMs <= all.totalMs && all.attempts >= 1 && all.maxEntries >= 1)) {
    throw new RangeError("attempts, maxEntries and all times are above 0, and one attempt is not longer than all");
  }
  return all;
}

/** Text that fits. A header may have brought anything. */
function mayBeAKey(apiKey) {
  if (typeof apiKey !== "string" || apiKey === "" || apiKey.length > MAX_KEY_CHARACTERS) return false;
  // Half a surrogate pair is no text that could be sent.
  return !/\p{Surrogate}/u.test(apiKey);
}

/** When the earliest end that the service told is reached, in ms since 1970. One that cannot be read is now. */
function ends(answer) {
  const told = [answer.expires_at, answer.previous_expires_at].filter((end) => end !== undefined && end !== null);
  const times = told.map((end) => (typeof end === "string" ? Date.parse(end) : NaN));
  return times.some(Number.isNaN) ? 0 : Math.min(...times);
}

async function text(response) {
  const pieces = [];
  let size = 0;
  for await (const piece of response.body ?? []) {
    size += piece.length;
    if (size > MAX_ANSWER_BYTES) throw new RangeError("longer than any answer");
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function jsonObject(body) {
  try {
    const value = JSON.parse(body);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

/** All who share an answer find it as it came. */
function frozen(value) {
  if (value !== null && typeof value === "object") Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}

function seconds(header) {
  return /^\d{1,9}$/.test(header ?? "") ? Number(header) : undefined;
}

function now() {
  return [performance.now(), Date.now()];
}
