// Logging in, with an account or with a key.

import { logIn } from "./api.js";
import { choice, el, mark } from "./dom.js";
import { field } from "./form.js";

export function login(reason, entered) {
  const refusal = el("p", { class: "refusal", role: "alert" }, reason ?? "");
  const submit = el("button", { class: "main" }, "Log in");
  const account = el("div", { class: "stack" },
    field("Login", el("input", { name: "login", autocomplete: "username", autocapitalize: "none", spellcheck: "false" })),
    field("Password", el("input", { name: "password", type: "password", autocomplete: "current-password" })));
  const key = el("div", { class: "stack", hidden: true },
    field("API key", el("input", { name: "api_key", type: "password", autocomplete: "off", spellcheck: "false" }), "A key with the scope admin, or a key of yours with keys:manage."));
  let kind = "account";

  function chosen(value) {
    kind = value;
    account.hidden = kind !== "account";
    key.hidden = kind !== "key";
    refusal.textContent = "";
    (kind === "key" ? key : account).querySelector("input").focus();
  }

  async function enter(event) {
    event.preventDefault();
    const { login, password, api_key } = event.target.elements;
    submit.disabled = true;
    refusal.textContent = "";
    try {
      const session = await logIn(kind === "key" ? { api_key: api_key.value.trim() } : { login: login.value, password: password.value });
      event.target.reset();
      entered(session);
    } catch (refused) {
      refusal.textContent = refused.message;
      submit.disabled = false;
      (kind === "key" ? api_key : password).select();
    }
  }

  return el("main", { class: "alone" }, el("div", { class: "login" },
    el("div", { class: "brand" }, mark(), "heare-auth"),
    el("h1", null, "Log in"),
    el("form", { on: { submit: enter } },
      choice("Log in with", "kind", [["account", "Account"], ["key", "API key"]], kind, chosen),
      account, key, refusal, submit)));
}
