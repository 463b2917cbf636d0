// Who changed which key: the whole log, or what became of one key.

import { get, query } from "./api.js";
import { el, select, table } from "./dom.js";
import { moment } from "./format.js";

const AUDIT = "api/v1/auth/audit";
const WHAT = ["create", "update", "rotate", "revoke", "reactivate", "delete", "import", "expire"];

export async function audit({ main, signal, query: parameters }) {
  const wish = { key_id: parameters.get("key_id") ?? "", who: parameters.get("who") ?? "", what: parameters.get("what") ?? "" };
  const place = el("div");
  const refusal = el("p", { class: "refusal", role: "alert" });
  async function load() {
    history.replaceState(null, "", query("#/audit", wish));
    refusal.textContent = "";
    try {
      place.replaceChildren(await entries({ ...wish, limit: 50 }, signal, true));
    } catch (error) {
      if (!signal.aborted) refusal.textContent = error.message;
    }
  }
  const input = (name, label) => el("input", { type: "search", "aria-label": label, placeholder: label, value: wish[name], on: { change: (event) => { wish[name] = event.target.value.trim(); load(); } } });
  main.append(el("section", { class: "card", "aria-label": "Changes" },
    el("div", { class: "tools", role: "search" }, input("key_id", "Key id"), input("who", "By whom, such as key:ID, user:ID"),
      select("What", "what", [["", "Any change"], ...WHAT.map((word) => [word, word])], wish.what, (what) => { wish.what = what; load(); })),
    refusal, place));
  await load();
}

/** A page of entries; with `further` there is a button for the next. */
export async function entries(wish, signal, further) {
  const place = el("div");
  const body = [];
  const more = el("button", { on: { click: () => load(more.dataset.next).catch(() => {}) } }, "Show more");
  async function load(cursor) {
    const page = await get(query(AUDIT, { ...wish, cursor }), signal);
    body.push(...page.entries.map((entry) => row(entry, further)));
    const columns = ["When", "What", ...(further ? ["Key"] : []), "By", "From", "Result"];
    const shown = el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table of changes" }, table("Changes of keys", columns, body, { class: "cards" }));
    place.replaceChildren(body.length ? shown : el("p", { class: "empty" }, "Nothing was changed yet."));
    more.dataset.next = page.next ?? "";
    if (further && page.next) place.append(el("div", { class: "more" }, el("span"), more));
  }
  await load("");
  return place;
}

function row(entry, withKey) {
  const isDone = entry.result === "ok";
  const link = (id) => el("a", { class: "mono", href: `#/keys/${encodeURIComponent(id)}` }, id);
  return [moment(entry.when), el("strong", null, entry.what), ...(withKey ? [entry.key_id ? link(entry.key_id) : "–"] : []),
    el("span", { class: "mono" }, entry.who || "–"), entry.from || "–", el("span", { class: `badge ${isDone ? "good" : "bad"}` }, isDone ? "done" : entry.result)];
}
