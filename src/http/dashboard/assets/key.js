// One key: what it is and may do, what it is used for, who changed it, and what can be done with it.

import { call, get, keyPath, once, query } from "./api.js";
import { entries } from "./audit.js";
import { edit, showSecret } from "./create.js";
import { card, choice, el, facts, say, table } from "./dom.js";
import { every } from "./every.js";
import { ask, field } from "./form.js";
import { millis, moment, number, percent, span, status, when } from "./format.js";
import { usagePlots } from "./plot.js";

const AGAIN_MS = 5000;
const RANGES = [["24", "24 hours"], ["168", "7 days"], ["720", "30 days"]];
const OVERLAPS = [["0", "It stops working at once"], ["3600", "For an hour"], ["86400", "For a day"], ["604800", "For 7 days"], ["2592000", "For 30 days"]];

export async function key(context) {
  const { main, signal, id, who } = context;
  const path = keyPath(id);
  const record = el("div", { class: "inside" });
  const buttons = el("div", { class: "actions" });
  const figures = el("dl", { class: "card figures" });
  const plots = el("div", { class: "inside" });
  const endpoints = el("div");
  const history = el("div");
  const state = el("span");
  let hours = "24";
  let drawn = null;

  async function loadKey() {
    const { body: found, etag } = await call("GET", path, { signal });
    context.titled(found.name ?? found.key_id);
    state.replaceChildren(status(found));
    record.replaceChildren(shown(found));
    buttons.replaceChildren(...actions(found, etag));
    if (who.admin) history.replaceChildren(await entries({ key_id: id, limit: 20 }, signal, false));
  }

  async function loadUse() {
    const wanted = hours;
    const use = await get(query(`${path}/usage`, { hours: wanted }), signal);
    // Another range was chosen meanwhile, and is on its way.
    if (wanted !== hours) return;
    const now = JSON.stringify([hours, use]);
    if (now === drawn) return;
    drawn = now;
    figures.replaceChildren(...[
      ["Requests", number(use.total_requests)], ["This hour", number(use.requests_this_hour)], ["Today (UTC)", number(use.requests_today)],
      ["Failed", percent(use.error_rate)], ["Mean time", use.total_requests ? millis(use.average_response_time_ms) : "–"], ["Last used", when(use.last_used_at, "never")],
    ].map(([term, told]) => el("div", { "data-figure": term }, el("dt", null, term), el("dd", null, told))));
    plots.replaceChildren(usagePlots(use.by_hour, Number(hours)));
    endpoints.replaceChildren(...(use.top_endpoints.length ? [topEndpoints(use.top_endpoints)] : []));
  }

  function actions(found, etag) {
    const button = (label, press, look) => el("button", { class: look, on: { click: press } }, label);
    const changed = () => loadKey().catch((error) => { if (!signal.aborted) say(error.message); });
    const isGood = found.status === "good";
    return [
      isGood && button("Rotate", () => rotate(found, changed)),
      found.status !== "defective" && button("Edit", () => edit(found, etag, who, changed)),
      found.revoked_at || !found.is_active
        ? button("Reactivate", () => reactivate(found, changed))
        : button("Revoke", () => revoke(found, changed), "danger"),
    ].filter(Boolean);
  }

  const range = choice("Range", "range", RANGES, hours, (value) => { hours = value; loadUse().catch(() => {}); });
  main.firstElementChild.append(buttons, el("p", { class: "about" }, state, " ", el("span", { class: "mono soft" }, id)));
  await loadKey();
  main.append(el("div", { class: "stack" }, card("Key", null, record), figures, card("Use", range, plots), endpoints, who.admin ? card("Changes", null, history) : null));
  await loadUse();
  every(AGAIN_MS, loadUse, signal);
}

function shown(key) {
  const tags = (list) => el("span", { class: "tags" }, list.map((one) => el("span", { class: "tag" }, one)));
  const limits = key.limits.map((window) => `${window.name}: ${number(window.limit)} in ${span(window.window_seconds)}`);
  const hourly = key.rate_limit_per_hour ? `${number(key.rate_limit_per_hour)} per hour${key.burst ? ` + ${number(key.burst)}` : ""}` : "none";
  const hasMetadata = key.metadata && Object.keys(key.metadata).length > 0;
  return facts([
    ["Secret begins", key.key_prefix ? el("code", null, `${key.key_prefix}…`) : "–"],
    ["Environment", key.environment ?? "–"],
    ["Owner", key.user_id ?? "none: an operator’s key"],
    ["Created", moment(key.created_at)],
    ["Changed", moment(key.updated_at)],
    ["Expires", key.expires_at ? [moment(key.expires_at), " (", when(key.expires_at), ")"] : "never"],
    key.revoked_at && ["Revoked", [moment(key.revoked_at), key.revoke_reason ? `: ${key.revoke_reason}` : ""]],
    key.previous_expires_at && ["Earlier secret works until", moment(key.previous_expires_at)],
    key.defect && ["Defect", key.defect],
    ["Limit", hourly],
    limits.length > 0 && ["Further limits", tags(limits)],
    ["Scopes", key.scopes.length ? tags(key.scopes) : "none"],
    ["Allowed addresses", key.allowed_ips?.length ? tags(key.allowed_ips) : "everywhere"],
    hasMetadata && ["Metadata", el("code", null, JSON.stringify(key.metadata)), true],
  ]);
}

function topEndpoints(list) {
  const right = (title) => ({ title, right: true });
  const rows = list.map((one) => [el("span", { class: "mono" }, one.endpoint), number(one.requests), percent(one.error_rate), millis(one.average_response_time_ms)]);
  return card("Endpoints", null, table("Endpoints", ["Endpoint", right("Requests"), right("Failed"), right("Mean time")], rows, { class: "cards" }));
}

function rotate(key, changed) {
  let headers = once();
  ask({
    title: `Rotate ${key.name ?? key.key_id}`,
    button: "Rotate",
    fields: [
      el("p", { class: "soft" }, "The key gets a new secret and keeps everything else."),
      field("The present secret", el("select", { name: "overlap_seconds" }, OVERLAPS.map(([value, label]) => el("option", { value, selected: value === "86400" }, value === "0" ? label : `Works on ${label.toLowerCase()}`)))),
    ],
    // Only what never arrived is sent again under the same header.
    wrong: (refused) => { if (refused.status) headers = once(); },
    async carryOut(elements) {
      const made = await call("POST", keyPath(key.key_id, "/rotate"), { body: { overlap_seconds: Number(elements.overlap_seconds.value) }, headers });
      showSecret(made.body, changed);
    },
  });
}

function revoke(key, changed) {
  ask({
    title: `Revoke ${key.name ?? key.key_id}?`,
    button: "Revoke",
    danger: true,
    fields: el("p", { class: "soft" }, "Whoever uses it is refused from now on. Its record stays, and it can be reactivated."),
    async carryOut() {
      await call("DELETE", keyPath(key.key_id));
      changed();
      return "Revoked.";
    },
  });
}

function reactivate(key, changed) {
  ask({
    title: `Reactivate ${key.name ?? key.key_id}?`,
    button: "Reactivate",
    fields: el("p", { class: "soft" }, "Its secret works again from now on."),
    async carryOut() {
      await call("POST", keyPath(key.key_id, "/reactivate"), { body: {} });
      changed();
      return "Reactivated.";
    },
  });
}
