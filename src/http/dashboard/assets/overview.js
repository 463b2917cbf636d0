// The first page: how many keys there are, what they are used for, and which of them need somebody.

import { get, keyPath, query } from "./api.js";
import { card, choice, el, table } from "./dom.js";
import { freshness } from "./instances.js";
import { millis, number, percent, when } from "./format.js";
import { createButton } from "./create.js";
import { every } from "./every.js";
import { points, usagePlots } from "./plot.js";

const AGAIN_MS = 10_000;
const NAMED = 6;
const DAY = "24";
/** What all keys are used for is told to operators alone; everybody else sees their own keys' last two days. */
const RANGES = [[DAY, "24 hours"], ["168", "7 days"], ["720", "30 days"]];
const OWN_RANGES = [[DAY, "24 hours"], ["48", "48 hours"]];

export async function overview(context) {
  const { main, signal, who } = context;
  let hours = DAY;
  let drawn = null;
  let named = null;
  const figures = el("dl", { class: "card figures" });
  const plots = el("div", { class: "inside" });
  const below = el("div", { class: "pair" });
  const fresh = el("div");
  const range = choice("Range", "range", who.admin ? RANGES : OWN_RANGES, hours, (value) => { hours = value; load().catch(() => {}); });

  async function load() {
    const wanted = hours;
    const told = await get("dashboard/overview", signal);
    const isLong = Number(wanted) > 48;
    const long = isLong && told.usage.hours ? (await get(query("api/v1/auth/usage/summary", { hours: wanted }), signal)).by_hour : null;
    // Another range was chosen meanwhile, and is on its way.
    if (wanted !== hours) return;
    const used = long ?? told.usage.hours;
    figures.replaceChildren(...shownFigures(told.keys, used, Number(hours)));
    // Drawn again only where something changed, so that what is being read stays.
    const now = JSON.stringify([hours, used]);
    if (now !== drawn) plots.replaceChildren(used ? usagePlots(used, Number(hours)) : el("p", { class: "soft" }, NO_USE[told.usage.error] ?? NO_USE.usage_unavailable));
    drawn = now;
    await attention(told);
  }

  async function attention(told) {
    const now = JSON.stringify([told.keys, told.instances]);
    if (now === named) return;
    named = now;
    const { expiring_soon: soon, expiring_soon_total: soonTotal, stale, stale_total: staleTotal } = told.keys;
    const [expiring, idle] = await Promise.all([soon, stale ?? []].map((ids) => records(ids, signal)));
    const cards = [
      listed("Expiring soon", expiring, soonTotal, "No key expires within 14 days.", (key) => when(key.expires_at)),
      listed("Stale", idle, staleTotal ?? 0, stale ? "Every key is in use, or new." : "When keys were last used is not known.", (key) => (key.last_used_at ? when(key.last_used_at) : "never used")),
    ];
    below.replaceChildren(...cards);
    fresh.replaceChildren(...(who.admin ? [card("Instances", el("a", { class: "small", href: "#/instances" }, "More about them"), freshness(told))] : []));
  }

  main.firstElementChild.append(el("div", { class: "actions" }, createButton(context)));
  main.append(el("div", { class: "stack" }, figures, card("Use", range, plots), below, fresh));
  await load();
  every(AGAIN_MS, load, signal);
}

const NO_USE = {
  usage_off: "Use is not recorded here: there is no database.",
  usage_unavailable: "What keys are used for cannot be told right now.",
};

function shownFigures(keys, used, hours) {
  const list = used ? points(used, hours).list : [];
  const sum = (member) => list.reduce((sum, point) => sum + point[member], 0);
  const [requests, failures, spent] = [sum("requests"), sum("failures"), sum("sum")];
  const link = (count, status) => el("a", { href: `#/keys?status=${status}` }, number(count));
  return [
    ["Active keys", link(keys.active, "good")],
    ["Expired", link(keys.expired, "expired")],
    ["Revoked", link(keys.revoked, "revoked")],
    keys.defective ? ["Defective", link(keys.defective, "defective")] : null,
    ["Requests", used ? number(requests) : "–"],
    ["Failed", used ? percent(requests ? failures / requests : 0) : "–"],
    ["Mean time", requests ? millis(spent / requests) : "–"],
  ].filter(Boolean).map(([term, told]) => el("div", { "data-figure": term }, el("dt", null, term), el("dd", null, told)));
}

/** The first few of these keys; one that has gone meanwhile is left out. */
async function records(ids, signal) {
  const first = await Promise.all(ids.slice(0, NAMED).map((id) => get(keyPath(id), signal).catch(() => null)));
  return first.filter(Boolean);
}

function listed(title, keys, total, none, told) {
  const rows = keys.map((key) => [[el("a", { href: `#/keys/${encodeURIComponent(key.key_id)}` }, key.name ?? key.key_id), el("span", { class: "under mono" }, key.key_prefix ? `${key.key_prefix}…` : key.key_id)], told(key)]);
  const shown = rows.length ? table(title, ["Key", { title: "When", right: true }], rows) : el("p", { class: "empty" }, none);
  const more = Math.max(total - rows.length, 0);
  return card(title, rows.length ? el("span", { class: "small soft" }, number(total)) : null, shown, more ? el("p", { class: "more small soft" }, `and ${number(more)} more`) : null);
}
