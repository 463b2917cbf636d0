// The instances of the service: which document each has, and how old that is.

import { get } from "./api.js";
import { card, el, facts, table } from "./dom.js";
import { every } from "./every.js";
import { moment, number, span, when } from "./format.js";

const AGAIN_MS = 5000;
/** One that has said nothing for so long may be gone. */
const SILENT_SECONDS = 20;

export async function instances({ main, signal }) {
  const place = el("div", { class: "stack" });
  main.append(place);
  async function load() {
    const told = await get("dashboard/overview", signal);
    place.replaceChildren(card("All", null, freshness(told, true)), own(told.instance));
  }
  await load();
  every(AGAIN_MS, load, signal);
}

const seenBefore = (told, one) => (one.seen_at ? (Date.parse(told.now) - Date.parse(one.seen_at)) / 1000 : 0);

function state(told, one, newest) {
  const [look, word] = seenBefore(told, one) > SILENT_SECONDS ? ["off", "Silent"] : (one.generation ?? newest) < newest ? ["warn", "Behind"] : one.loaded_at ? ["good", "Fresh"] : ["bad", "Empty"];
  return el("span", { class: `badge ${look}` }, word);
}

/** Who stands at which generation. */
export function freshness(told, whole = false) {
  const all = told.instances;
  const newest = Math.max(...all.map((one) => one.generation ?? 0));
  const right = (title) => ({ title, right: true });
  const columns = ["Instance", "State", right("Generation"), right("Document’s age")];
  if (whole) columns.push(right("Keys"), "Loaded", "Seen", "Version");
  const rows = all.map((one) => {
    const name = one.own ? [el("strong", null, one.name), el("span", { class: "under" }, "answers this page")] : one.name;
    const row = [name, state(told, one, newest), one.generation === null ? "–" : number(one.generation), one.age_seconds === null ? "–" : span(one.age_seconds)];
    if (whole) row.push(number(one.keys), when(one.loaded_at), when(one.seen_at, "now"), one.version ?? "–");
    return row;
  });
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table of instances" }, table("Instances", columns, rows, { class: whole ? "cards" : null }));
}

function own(one) {
  return card("The one that answers this page", null, el("div", { class: "inside" }, facts([
    ["Name", one.name],
    ["Version", one.version],
    ["Started", moment(one.started_at)],
    ["Document loaded", one.loaded_at ? moment(one.loaded_at) : "not yet"],
    ["Generation", one.generation === null ? "–" : number(one.generation)],
    ["Keys", number(one.keys)],
    ["Ready", el("span", { class: `badge ${one.ready ? "good" : "bad"}` }, one.ready ? "Ready" : "Not ready")],
    one.degraded && ["Last load failed", el("span", { class: "badge warn" }, one.degraded)],
  ])));
}
