// Starts the dashboard: who is logged in, the frame around the pages, and which page the address names.

import { logOut, session, whenEnded } from "./api.js";
import { el, icon, mark, say } from "./dom.js";
import { login } from "./login.js";
import { overview } from "./overview.js";
import { keys } from "./keys.js";
import { key } from "./key.js";
import { live } from "./live.js";
import { audit } from "./audit.js";
import { instances } from "./instances.js";

const PAGES = [
  { name: "overview", title: "Overview", show: overview },
  { name: "keys", title: "Keys", show: keys },
  { name: "live", title: "Live", show: live },
  { name: "audit", title: "Audit", show: audit, admin: true },
  { name: "instances", title: "Instances", show: instances, admin: true },
];

// Browsers tell of an unanswered question as of an error, so a browser in which nobody ever logged in does not ask.
const kept = {
  get: (name) => { try { return localStorage.getItem(`heare-auth.${name}`); } catch { return null; } },
  set: (name, value) => { try { value === null ? localStorage.removeItem(`heare-auth.${name}`) : localStorage.setItem(`heare-auth.${name}`, value); } catch { /* Nothing is kept, then. */ } },
};

const page = document.getElementById("page");
let leaving = new AbortController();
let who = null;

function themed(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  kept.set("theme", theme);
}

function nextTheme(event) {
  const order = [null, "light", "dark"];
  const now = document.documentElement.dataset.theme ?? null;
  themed(order[(order.indexOf(now) + 1) % order.length]);
  event.target.textContent = themeName();
}

const themeName = () => ({ light: "Light", dark: "Dark" })[document.documentElement.dataset.theme] ?? "Auto";

function askToLogIn(reason) {
  leaving.abort();
  for (const dialog of document.querySelectorAll("dialog")) dialog.remove();
  who = null;
  kept.set("known", null);
  document.title = "Log in – heare-auth";
  page.replaceChildren(login(reason, (session) => {
    kept.set("known", "yes");
    enter(session);
  }));
  page.querySelector("input:not([type=radio])")?.focus();
}

function enter(session) {
  who = session;
  const visible = PAGES.filter((page) => !page.admin || who.admin);
  const role = who.kind === "user" ? "Account" : who.admin ? "Operator's key" : "Key";
  page.replaceChildren(el("div", { class: "frame" },
    el("a", { class: "skip", href: "#main", on: { click: toMain } }, "To the page"),
    el("div", { class: "side", role: "banner" },
      el("a", { class: "brand", href: "#/overview" }, mark(), "heare-auth"),
      el("nav", { "aria-label": "Pages" }, visible.map(({ name, title }) => el("a", { href: `#/${name}`, "data-page": name }, icon(name), title))),
      el("div", { class: "who" }, el("strong", { title: who.name }, who.name), el("span", { class: "small soft" }, role),
        el("div", null, el("button", { class: "bare", on: { click: leave } }, "Log out"),
          el("button", { class: "bare", "aria-label": "Colours", title: "Colours", on: { click: nextTheme } }, themeName())))),
    el("main", { id: "main" })));
  route(true);
}

function toMain(event) {
  event.preventDefault();
  page.querySelector("h1")?.focus();
}

async function leave() {
  try {
    await logOut();
    askToLogIn();
  } catch (refused) {
    say(refused.message);
  }
}

/** `#/keys/ID?status=expired`: the page, what it is about, and its parameters. */
function address() {
  const [path, parameters] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  return { name: name || "overview", id: id ? decodeURIComponent(id) : null, query: new URLSearchParams(parameters) };
}

async function route(first = false) {
  if (!who) return;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { name, id, query } = address();
  const found = PAGES.find((page) => page.name === name && (!page.admin || who.admin)) ?? PAGES[0];
  const show = found.name === "keys" && id ? key : found.show;
  for (const link of page.querySelectorAll("nav a")) {
    if (link.dataset.page === found.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  const heading = el("h1", { tabindex: "-1" }, found.title);
  const context = {
    who, id, query, signal, main, heading,
    titled(title) { heading.textContent = title; document.title = `${title} – heare-auth`; },
    again: () => route(),
  };
  context.titled(found.title);
  main.replaceChildren(el("div", { class: "head" }, heading));
  if (!first) { heading.focus(); scrollTo(0, 0); }
  try {
    await show(context);
  } catch (error) {
    if (signal.aborted) return;
    main.append(el("p", { class: "refusal", role: "alert" }, error.message));
  }
}

async function start() {
  const theme = kept.get("theme");
  if (theme === "light" || theme === "dark") themed(theme);
  whenEnded(() => who && askToLogIn("Your session has ended. Log in again."));
  addEventListener("hashchange", () => route());
  if (!kept.get("known")) return askToLogIn();
  try {
    const known = await session();
    known ? enter(known) : askToLogIn();
  } catch (refused) {
    askToLogIn(refused.message);
  }
}

start();
