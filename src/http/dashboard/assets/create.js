// Making and changing keys: the form, and the one time that a secret is shown.

import { call, KEYS, keyPath, once, verify } from "./api.js";
import { el } from "./dom.js";
import { ask, dialog, field, wholeNumber, words } from "./form.js";

const EXPIRIES = [["", "Never"], ["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["180", "In 180 days"], ["365", "In a year"]];

export function createButton(context) {
  return el("button", { class: "main", on: { click: () => create(context) } }, "New key");
}

function options(name, pairs, chosen) {
  return el("select", { name }, pairs.map(([value, label]) => el("option", { value, selected: value === chosen }, label)));
}

/** The fields that can be set at first and changed later. */
function policyFields(key, who) {
  const hint = who.admin ? "With blanks or lines between them" : `You can give ${who.scopes.length ? who.scopes.join(", ") : "none"}`;
  const numberField = (name, label, hint, value) => field(label, el("input", { name, inputmode: "numeric", value: value ?? "", placeholder: "none" }), hint);
  return [
    numberField("rate_limit_per_hour", "Requests per hour", "1 to 100,000", key?.rate_limit_per_hour),
    numberField("burst", "Burst", "Uses on top of the hourly limit", key?.burst),
    field("Scopes", el("textarea", { name: "scopes", rows: 2, spellcheck: "false", placeholder: "orders:read orders:write" }, (key?.scopes ?? []).join("\n")), hint, true),
    field("Allowed addresses", el("textarea", { name: "allowed_ips", rows: 2, spellcheck: "false", placeholder: "192.0.2.0/24" }, (key?.allowed_ips ?? []).join("\n")), "Addresses or networks; none for everywhere", true),
    windowFields(key?.limits ?? []),
  ];
}

function windowFields(limits) {
  const rows = el("div", { class: "rows" });
  const add = (window = {}) => {
    const input = (name, label, value, numeric) => el("input", { "data-window": name, "aria-label": label, placeholder: label, value: value ?? "", inputmode: numeric ? "numeric" : null });
    const remove = el("button", { type: "button", class: "bare", "aria-label": "Remove this limit", on: { click: () => { row.remove(); more.focus(); } } }, "Remove");
    const row = el("div", null, input("name", "Name", window.name), input("limit", "Uses", window.limit, true), input("window_seconds", "Seconds", window.window_seconds, true), remove);
    rows.append(row);
    return row;
  };
  limits.forEach(add);
  const more = el("button", { type: "button", class: "bare", on: { click: () => add().querySelector("input").focus() } }, "Add a limit");
  return el("fieldset", { class: "whole" }, el("legend", null, "Further limits"), rows, more);
}

function windows(form) {
  return [...form.querySelectorAll(".rows > div")].map((row) => {
    const value = (name) => row.querySelector(`[data-window=${name}]`);
    return { name: value("name").value.trim(), limit: wholeNumber(value("limit"), "Uses"), window_seconds: wholeNumber(value("window_seconds"), "Seconds") };
  });
}

/** What the form says, with `null` for what is empty. */
function policy(elements) {
  const list = (name) => { const found = words(elements[name].value); return found.length ? found : null; };
  const limits = windows(elements.name.form);
  return {
    name: elements.name.value.trim(),
    rate_limit_per_hour: wholeNumber(elements.rate_limit_per_hour, "Requests per hour"),
    burst: wholeNumber(elements.burst, "Burst"),
    scopes: list("scopes"),
    allowed_ips: list("allowed_ips"),
    limits: limits.length ? limits : null,
  };
}

function metadata(text) {
  if (text.trim() === "") return null;
  let read;
  try { read = JSON.parse(text); } catch { /* Said below. */ }
  if (read === null || typeof read !== "object" || Array.isArray(read)) throw new Error("Metadata must be a JSON object.");
  return read;
}

const nameField = (value) => field("Name", el("input", { name: "name", required: true, maxlength: 100, autocomplete: "off", value }), null, true);
const metadataField = (value) => field("Metadata", el("textarea", { name: "metadata", rows: 2, spellcheck: "false", placeholder: "{}" }, value && Object.keys(value).length ? JSON.stringify(value, null, 2) : ""), "A JSON object", true);

/** Without what is not set: those members have defaults of their own. */
const given = (members) => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== ""));

function create(context) {
  let headers = once();
  ask({
    title: "New key",
    button: "Create",
    fields: el("div", { class: "form" },
      nameField(""),
      field("Environment", options("environment", [["production", "Production"], ["test", "Test"], ["development", "Development"]], "production"), "Decides how the secret begins"),
      field("Expires", options("expires_in_days", EXPIRIES, "90")),
      context.who.admin ? field("Owner", el("input", { name: "user_id", maxlength: 256, autocomplete: "off", placeholder: "none" }), "Empty for an operator’s key", true) : null,
      policyFields(null, context.who),
      metadataField(null)),
    // Only what never arrived is sent again under the same header.
    wrong: (refused) => { if (refused.status) headers = once(); },
    async carryOut(elements) {
      const body = given({
        ...policy(elements),
        environment: elements.environment.value,
        user_id: elements.user_id?.value.trim() ?? "",
        expires_in_days: wholeNumber(elements.expires_in_days, "Expires"),
        metadata: metadata(elements.metadata.value),
      });
      const made = await call("POST", KEYS, { body, headers });
      showSecret(made.body, () => { location.hash = `#/keys/${encodeURIComponent(made.body.key_id)}`; });
    },
  });
}

export function edit(key, etag, who, changed) {
  ask({
    title: "Edit key",
    button: "Save",
    fields: el("div", { class: "form" },
      nameField(key.name ?? ""),
      field("Expires", options("expires_in_days", [["keep", "As it is"], ...EXPIRIES], "keep"), null, true),
      policyFields(key, who),
      metadataField(key.metadata)),
    async carryOut(elements) {
      const wanted = { ...policy(elements), metadata: metadata(elements.metadata.value) };
      const body = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => !isSame(value, key[name])));
      if (elements.expires_in_days.value !== "keep") body.expires_in_days = wholeNumber(elements.expires_in_days, "Expires");
      if (Object.keys(body).length) await call("PATCH", keyPath(key.key_id), { body, headers: { "if-match": etag } });
      changed();
      return "Saved.";
    },
    wrong: (refused) => { if (refused.status === 412) refused.message = "Somebody else has changed this key meanwhile. Close this, and look at it again."; },
  });
}

/** Nothing, an empty list and an empty object are all nothing. */
function isSame(one, other) {
  const plain = (value) => JSON.stringify(value && typeof value === "object" && Object.keys(value).length === 0 ? null : value ?? null);
  return plain(one) === plain(other);
}

/** Shows a secret once. It is in this dialog and nowhere else, and gone with it. */
export function showSecret(made, closed) {
  const shown = el("input", { readonly: true, value: made.key, "aria-label": "Secret", spellcheck: "false" });
  const verdict = el("p", { class: "small", role: "status" });
  const copy = el("button", { type: "button", class: "main", on: { click: () => copied(shown, copy, verdict) } }, "Copy");
  const check = el("button", { type: "button", on: { click: async () => {
    const { status, told } = await verify(made.key);
    verdict.textContent = told?.valid ? "It verifies: 200, valid." : `It does not verify: ${status}, ${told?.code ?? told?.error ?? told?.detail ?? "no answer"}.`;
  } } }, "Verify it");
  const opened = dialog(`The secret of ${made.name ?? made.key_id}`, el("div", { class: "body" },
    el("p", { class: "note" }, "Save it now: it is shown this once, and nobody can show it again."),
    el("div", { class: "secret" }, shown, copy),
    verdict,
    el("div", { class: "actions" }, check, el("button", { type: "button", on: { click: () => opened.close() } }, "I have saved it"))));
  opened.addEventListener("close", () => { shown.value = ""; closed(); });
  shown.select();
  copy.focus();
}

/** Where pages are not served over HTTPS there is no clipboard for scripts, but what is selected can be copied. */
async function copied(input, button, told) {
  try {
    await navigator.clipboard.writeText(input.value);
    told.textContent = "Copied.";
  } catch {
    input.select();
    const isCopied = document.execCommand("copy");
    told.textContent = isCopied ? "Copied." : "It is selected: copy it from there.";
    if (isCopied) button.focus();
  }
}
