// The list of keys: searched, filtered and sorted by the service, page by page.

import { get, KEYS, query as withQuery } from "./api.js";
import { card, el, select } from "./dom.js";
import { createButton } from "./create.js";
import { date, number, status, when } from "./format.js";

const PAGE = 50;
const STATUS = [["", "Any status"], ["good", "Active"], ["expired", "Expired"], ["revoked", "Revoked"], ["defective", "Defective"]];
const ENVIRONMENT = [["", "Any environment"], ["production", "Production"], ["test", "Test"], ["development", "Development"]];
/** Columns by which the service sorts, and the words for both directions. */
const SORTS = { Key: ["name", "-name"], Created: ["created", "-created"], Expires: ["expires", "-expires"] };
const ORDERS = [["-created", "Newest first"], ["created", "Oldest first"], ["name", "Names from A"], ["-name", "Names from Z"], ["expires", "Expiring first"], ["-expires", "Expiring last"]];

export async function keys(context) {
  const { main, signal, query, who } = context;
  const wish = Object.fromEntries(["q", "status", "environment", "sort"].map((name) => [name, query.get(name) ?? ""]));
  wish.sort ||= ORDERS[0][0];
  const columns = ["Key", ...(who.admin ? ["Owner"] : []), "Environment", "Status", "Created", "Expires", "Last used"];
  const head = el("tr");
  const body = el("tbody");
  const told = el("p", { class: "small soft", role: "status" });
  const more = el("button", { hidden: true, on: { click: () => load(true).catch(refused) } }, "Show more");
  const refusal = el("p", { class: "refusal", role: "alert" });
  const order = select("Order", "sort", ORDERS, wish.sort, (sort) => changed({ sort }));
  let next = null;
  let asked = 0;

  async function load(further = false) {
    const own = (asked += 1);
    const page = await get(withQuery(KEYS, { ...wish, limit: PAGE, cursor: further ? next : "" }), signal);
    if (own !== asked) return;
    refusal.textContent = "";
    const rows = page.keys.map((key) => row(key, who.admin));
    further ? body.append(...rows) : body.replaceChildren(...rows);
    if (further) rows[0]?.querySelector("a").focus();
    next = page.next;
    more.hidden = !next;
    told.textContent = page.total ? `${number(body.children.length)} of ${number(page.total)} keys` : wish.q || wish.status || wish.environment ? "No key is like that." : "There is no key yet.";
  }

  const refused = (error) => { if (!signal.aborted) refusal.textContent = error.message; };

  function changed(change) {
    Object.assign(wish, change);
    history.replaceState(null, "", withQuery("#/keys", wish));
    titles();
    load().catch(refused);
  }

  function titles() {
    const [by, descending] = [wish.sort.replace("-", ""), wish.sort.startsWith("-")];
    order.value = wish.sort;
    // The focus stays on the title that was pressed.
    const held = head.contains(document.activeElement) ? document.activeElement.textContent : null;
    head.replaceChildren(...columns.map((title) => {
      const words = SORTS[title];
      if (!words) return el("th", { scope: "col" }, title);
      const isOwn = words[0] === by;
      const press = () => changed({ sort: isOwn ? words[descending ? 0 : 1] : words[0] });
      return el("th", { scope: "col", "aria-sort": isOwn ? (descending ? "descending" : "ascending") : "none" }, el("button", { class: "sort", on: { click: press } }, title));
    }));
    if (held) [...head.querySelectorAll("button")].find((button) => button.textContent === held)?.focus();
  }

  let typing;
  const search = el("input", { type: "search", "aria-label": "Search keys", placeholder: "Search by name, id, prefix, owner or scope", value: wish.q, on: { input: (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => changed({ q: event.target.value.trim() }), 200);
  } } });
  titles();
  main.firstElementChild.append(el("div", { class: "actions" }, createButton(context)));
  main.append(el("section", { class: "card", "aria-label": "Keys" },
    el("div", { class: "tools", role: "search" }, search,
      select("Status", "status", STATUS, wish.status, (status) => changed({ status })),
      select("Environment", "environment", ENVIRONMENT, wish.environment, (environment) => changed({ environment })),
      order),
    refusal,
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "List of keys" },
      el("table", { class: "cards" }, el("caption", { class: "unseen" }, "Keys"), el("thead", null, head), body)),
    el("div", { class: "more" }, told, more)));
  await load();
}

function row(key, isAdmin) {
  const name = [el("a", { href: `#/keys/${encodeURIComponent(key.key_id)}` }, key.name ?? key.key_id), el("span", { class: "under mono" }, key.key_prefix ? `${key.key_prefix}…` : key.key_id)];
  const cells = [["Key", name], ...(isAdmin ? [["Owner", key.user_id]] : []), ["Environment", key.environment], ["Status", status(key)],
    ["Created", date(key.created_at)], ["Expires", key.expires_at ? when(key.expires_at) : null], ["Last used", key.last_used_at ? when(key.last_used_at) : null]];
  return el("tr", { "data-key": key.key_id }, cells.map(([title, content]) => el("td", { "data-label": title, class: content ? null : "none" }, content ?? el("span", { class: "soft" }, title === "Expires" ? "never" : "–"))));
}
