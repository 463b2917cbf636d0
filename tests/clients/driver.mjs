// Uses the JavaScript client as the tests say: the first line of stdin is its settings, each further one a list of
// questions that are asked all at once, or "forget". Each list is answered by a line.

import { createInterface } from "node:readline";
import { Client, NotAllowed } from "../../clients/javascript/heare-auth.mjs";

const TIMES = ["max_age", "max_age_refused", "attempt", "total"];

function client({ url, ...settings }) {
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase()) + (TIMES.includes(name) ? "Ms" : "");
  return new Client(url, Object.fromEntries(Object.entries(settings).map(([name, value]) => [camel(name), value])));
}

async function ask({ api_key, client_ip, required_scopes, cost, endpoint }) {
  try {
    return await asking.verify(api_key, { clientIp: client_ip, requiredScopes: required_scopes, cost, endpoint });
  } catch (refusal) {
    if (!(refusal instanceof NotAllowed)) throw refusal;
    const { code, status, retryAfter, requiredScopes } = refusal;
    return { code, status, retry_after: retryAfter ?? null, required_scopes: requiredScopes };
  }
}

let asking;
for await (const line of createInterface({ input: process.stdin })) {
  const said = JSON.parse(line);
  if (!asking) {
    asking = client(said);
  } else if (said === "forget") {
    asking.forgetAll();
    console.log("[]");
  } else {
    console.log(JSON.stringify(await Promise.all(said.map(ask))));
  }
}
