// Makes elements. Texts become text nodes, so nothing that comes from a server is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Of attributes `null` and `false` are left out; `on` holds listeners. */
function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const el = (name, attributes, ...children) => made(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => made(document.createElementNS(SVG, name), attributes, children);

const ICONS = {
  overview: "M2.5 13.5v-4M6.2 13.5v-8M9.8 13.5v-6M13.5 13.5v-11",
  keys: "M7.2 8.8a3 3 0 1 0-4.2 0 3 3 0 0 0 4.2 0zm0-4.2 6.3 0M11 4.6v2.6M13.5 4.6v1.8",
  live: "M1.5 8h3l2-5 3 10 2-5h3",
  audit: "M4 2.5h8v11H4zM6.2 5.5h3.6M6.2 8h3.6M6.2 10.5h2",
  instances: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
};

export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

export function mark() {
  return svg("svg", { width: 20, height: 20, viewBox: "0 0 20 20", "aria-hidden": "true" },
    svg("path", { fill: "currentColor", d: "M10 1 2.5 4v5.2c0 4.6 3.1 8.2 7.5 9.8 4.4-1.6 7.5-5.2 7.5-9.8V4zm-1.1 12.2L5.6 9.9 7 8.5l1.9 1.9 4.1-4.2 1.4 1.4z" }));
}

export function card(title, beside, ...children) {
  const id = `h-${Math.random().toString(36).slice(2)}`;
  return el("section", { class: "card", "aria-labelledby": id }, el("header", null, el("h2", { id }, title), beside), children);
}

/** A table; `columns` are titles, or {title, right}; rows are lists of cells. */
export function table(caption, columns, rows, attributes) {
  const titles = columns.map((column) => (typeof column === "string" ? { title: column } : column));
  const cell = (content, at) =>
    el("td", { class: titles[at].right ? "right" : content === null ? "none" : null, "data-label": titles[at].title }, content);
  return el("table", attributes, el("caption", { class: "unseen" }, caption),
    el("thead", null, el("tr", null, titles.map(({ title, right }) => el("th", { scope: "col", class: right ? "right" : null }, title)))),
    el("tbody", null, rows.map((row) => el("tr", null, row.map(cell)))));
}

export const facts = (pairs) =>
  el("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, told, whole]) => el("div", { class: whole ? "whole" : null }, el("dt", null, term), el("dd", null, told))));

let forgetting;

/** Says something at the bottom of the page, to everybody and to screen readers. */
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(forgetting);
  forgetting = setTimeout(() => place.replaceChildren(), 4000);
}

/** Radio buttons side by side. */
export function choice(legend, name, options, chosen, change) {
  return el("fieldset", { class: "choice" }, el("legend", { class: "unseen" }, legend), options.map(([value, label]) =>
    el("label", null, el("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => change(value) } }), label)));
}

export function select(label, name, options, chosen, change) {
  return el("select", { name, "aria-label": label, on: { change: (event) => change(event.target.value) } },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
}
