// What happens right now: server-sent events, the newest first, and no more of them than can be read.

import { sessionEnded } from "./api.js";
import { el } from "./dom.js";
import { timeOfDay } from "./format.js";

const SHOWN = 200;
const AGAIN_MS = 2000;
/** Members of a line that say nothing to whoever looks at the feed. */
const DULL = new Set(["event", "time", "name", "hostname", "pid", "level", "v", "msg", "request_id", "traceparent", "trace_id", "span_id", "timestamp"]);

export async function live({ main, signal }) {
  const list = el("ul", { class: "feed", "aria-label": "Events" });
  const state = el("span", { class: "badge off", role: "status" }, "Connecting");
  const none = el("p", { class: "empty" }, "Nothing has happened since this page was opened.");
  let isPaused = false;
  let waiting = [];
  let wanted = "";

  const matches = (line) => !wanted || line.textContent.toLowerCase().includes(wanted);
  function put(line) {
    none.hidden = true;
    line.hidden = !matches(line);
    list.prepend(line);
    while (list.children.length > SHOWN) list.lastElementChild.remove();
  }
  function arrived(event, data) {
    const line = shown(event, data);
    if (isPaused) waiting = [...waiting, line].slice(-SHOWN);
    else put(line);
    pause.textContent = isPaused ? `Go on (${waiting.length})` : "Pause";
  }
  const pause = el("button", { on: { click: () => {
    isPaused = !isPaused;
    if (!isPaused) { waiting.forEach(put); waiting = []; }
    pause.textContent = isPaused ? "Go on" : "Pause";
  } } }, "Pause");
  const filter = el("input", { type: "search", "aria-label": "Show only events with", placeholder: "Show only events with …", on: { input: (event) => {
    wanted = event.target.value.trim().toLowerCase();
    for (const line of list.children) line.hidden = !matches(line);
  } } });

  main.firstElementChild.append(state);
  main.append(el("section", { class: "card", "aria-label": "Live events" }, el("div", { class: "tools" }, filter, pause, el("button", { on: { click: () => { list.replaceChildren(); none.hidden = false; } } }, "Clear")), none, list));
  follow(signal, arrived, (look, word) => { state.className = `badge ${look}`; state.textContent = word; });
}

/** Listens until the page is left, and begins anew where the connection ends. */
async function follow(signal, arrived, told) {
  while (!signal.aborted) {
    try {
      const answer = await fetch("dashboard/events", { signal, headers: { accept: "text/event-stream" }, cache: "no-store" });
      if (answer.status === 401) return sessionEnded();
      if (!answer.ok) throw new Error(`${answer.status}`);
      told("good", "Connected");
      await read(answer.body, arrived);
      told("off", "Connecting again");
    } catch {
      if (signal.aborted) return;
      told("warn", "Connecting again");
    }
    await new Promise((next) => setTimeout(next, AGAIN_MS));
  }
}

/** Takes a stream of events apart. An event ends with an empty line; lines that begin with a colon only keep it alive. */
async function read(body, arrived) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/).map((line) => line.match(/^(\w+): ?(.*)$/)).filter(Boolean);
      const data = lines.filter(([, name]) => name === "data").map(([, , text]) => text).join("\n");
      if (data) arrived(lines.find(([, name]) => name === "event")?.[2] ?? "message", JSON.parse(data));
    }
  }
}

function shown(event, data) {
  const word = data.event ?? event;
  const isBad = data.level >= 40 || /fail|refus|denied|error/.test(word);
  const members = Object.entries(data).filter(([name, value]) => !DULL.has(name) && value !== null && value !== "");
  const told = event === "skipped" ? `${data.exact ? "" : "at least "}${data.events} more events were not shown` : members.map(([name, value]) => [el("span", { class: "soft" }, name), ` ${typeof value === "object" ? JSON.stringify(value) : value}  `]);
  return el("li", null, el("time", { class: "soft" }, timeOfDay(data.time)), el("span", { class: `badge ${isBad ? "bad" : event === "skipped" ? "off" : "good"}` }, word.replaceAll("_", " ")), el("span", { class: "what" }, told));
}
