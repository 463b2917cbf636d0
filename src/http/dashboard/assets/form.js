// Fields, and dialogs that ask before something is done.

import { Refused } from "./api.js";
import { el, say } from "./dom.js";

let count = 0;

/** An input with its label, and a hint that is read out with it. */
export function field(label, input, hint, whole) {
  const id = `f${(count += 1)}`;
  input.id = id;
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  return el("div", { class: whole ? "field whole" : "field" }, el("label", { for: id }, label), input, hint && el("p", { class: "hint", id: `${id}-hint` }, hint));
}

/** A dialog that is gone once it is closed, and the focus is back where it was. */
export function dialog(title, ...content) {
  const id = `d${(count += 1)}`;
  const opened = el("dialog", { "aria-labelledby": id, on: { close: () => opened.remove() } }, content);
  const heading = el("h2", { id }, title);
  (opened.firstElementChild ?? opened).prepend(heading);
  document.body.append(opened);
  opened.showModal();
  return opened;
}

/** A dialog with a form: `carryOut` gives what is to be said, or throws what is wrong. */
export function ask({ title, fields = [], button, danger, carryOut, wrong }) {
  const refusal = el("p", { class: "refusal", role: "alert" });
  const submit = el("button", { class: danger ? "danger" : "main" }, button);
  async function done(event) {
    event.preventDefault();
    submit.disabled = true;
    refusal.textContent = "";
    try {
      const told = await carryOut(event.target.elements);
      opened.close();
      if (told) say(told);
    } catch (error) {
      if (error instanceof Refused) wrong?.(error);
      refusal.textContent = error.message;
      submit.disabled = false;
    }
  }
  const opened = dialog(title, el("form", { on: { submit: done } }, fields, refusal,
    el("div", { class: "actions" }, el("button", { type: "button", on: { click: () => opened.close() } }, "Cancel"), submit)));
  opened.querySelector("input, select, textarea")?.focus();
  return opened;
}

/** The entries of a list that was written with blanks, commas or lines between them. */
export const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/** A whole number, or `null` for nothing. */
export function wholeNumber(input, name) {
  const text = input.value.trim();
  if (text === "") return null;
  if (!/^\d+$/.test(text)) throw new Error(`${name} must be a whole number.`);
  return Number(text);
}
