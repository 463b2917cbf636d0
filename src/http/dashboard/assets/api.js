// Calls of this service, in the name of whoever is logged in by the cookie, which no script can read.

let csrf = null;
let ended = () => {};

/** What to do once the session is over. */
export const whenEnded = (listener) => { ended = listener; };
export const sessionEnded = () => ended();

/** A call that was refused or never arrived, in a sentence for people. */
export class Refused extends Error {
  constructor(status, code, sentence) {
    super(sentence);
    this.status = status;
    this.code = code;
  }
}

function sentence(status, told, headers) {
  const { detail } = told ?? {};
  const faults = Array.isArray(detail) ? detail.map((fault) => `${fault.loc?.at(-1) ?? ""} ${fault.msg ?? ""}`.trim()).join("; ") : detail;
  const wait = Number(headers.get("retry-after"));
  const later = status === 429 && wait ? ` Try again in ${wait} s.` : "";
  const said = faults || told?.error || `The service answered ${status}`;
  return `${said[0].toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? "" : "."}${later}`;
}

/** The answer with its body read, whatever it says. */
async function ask(method, path, { body, headers, signal } = {}) {
  const sent = { accept: "application/json", ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  if (csrf && method !== "GET") sent["x-csrf-token"] = csrf;
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "The service cannot be reached.");
  }
  const told = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  return { answer, told };
}

export async function call(method, path, options) {
  const { answer, told } = await ask(method, path, options);
  if (answer.ok) return { body: told, etag: answer.headers.get("etag") };
  if (answer.status === 401) ended();
  throw new Refused(answer.status, told?.code ?? null, sentence(answer.status, told, answer.headers));
}

export const get = async (path, signal) => (await call("GET", path, { signal })).body;

/** Adds the parameters that are set. */
export function query(path, parameters) {
  const set = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return set.size ? `${path}?${set}` : path;
}

export const KEYS = "api/v1/auth/keys";
export const keyPath = (id, action = "") => `${KEYS}/${encodeURIComponent(id)}${action}`;

/** A header under which a call that was sent twice is carried out once. */
export function once() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return { "idempotency-key": Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

const SESSION = "dashboard/session";

/** Who is logged in, or `null`. */
export async function session() {
  const { answer, told } = await ask("GET", SESSION);
  if (answer.ok) csrf = told.csrf;
  else if (answer.status !== 401) throw new Refused(answer.status, null, sentence(answer.status, told, answer.headers));
  return answer.ok ? told : null;
}

export async function logIn(credentials) {
  const { answer, told } = await ask("POST", SESSION, { body: credentials });
  if (!answer.ok) throw new Refused(answer.status, told?.code ?? null, sentence(answer.status, told, answer.headers));
  csrf = told.csrf;
  return told;
}

export async function logOut() {
  await ask("DELETE", SESSION);
  csrf = null;
}

/** What `/verify` says to a key, just as a backend would ask. */
export async function verify(api_key) {
  const { answer, told } = await ask("POST", "verify", { body: { api_key } });
  return { status: answer.status, told };
}
