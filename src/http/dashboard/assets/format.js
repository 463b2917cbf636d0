// Numbers and times as people read them.

import { el } from "./dom.js";

const whole = new Intl.NumberFormat();
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const UNITS = [["year", 31536e6], ["month", 2592e6], ["day", 864e5], ["hour", 36e5], ["minute", 6e4]];

export const number = (value) => whole.format(value ?? 0);

export function percent(part) {
  if (!part) return "0 %";
  return part < 0.001 ? "< 0.1 %" : `${(part * 100).toLocaleString(undefined, { maximumFractionDigits: 1 })} %`;
}

export function millis(value) {
  if (value === null || value === undefined) return "–";
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 0.1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0 })} ms`;
}

export function distance(milliseconds) {
  const [unit, size] = UNITS.find(([, size]) => Math.abs(milliseconds) >= size) ?? ["second", 1000];
  return relative.format(Math.trunc(milliseconds / size), unit);
}

/** How long something takes, in the largest unit that fits. */
export function span(seconds) {
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = seconds / size;
    if (count >= 1) return `${number(Math.round(count * 10) / 10)} ${unit}${count === 1 ? "" : "s"}`;
  }
  return `${number(Math.round(seconds))} s`;
}

/** A time, said by how far away it is; when exactly stands in its title. */
export function when(text, none = "–") {
  if (!text) return none;
  const time = new Date(text);
  return el("time", { datetime: text, title: exact.format(time) }, distance(time - Date.now()));
}

export function date(text, none = "–") {
  if (!text) return none;
  const time = new Date(text);
  return el("time", { datetime: text, title: exact.format(time) }, day.format(time));
}

export const moment = (text) => (text ? el("time", { datetime: text }, exact.format(new Date(text))) : "–");
export const timeOfDay = (text) => clock.format(text ? new Date(text) : new Date());

const STATUS = { good: ["good", "Active"], expired: ["warn", "Expired"], revoked: ["bad", "Revoked"], defective: ["bad", "Defective"] };

export function status(key) {
  const [look, word] = STATUS[key.status] ?? ["off", key.status];
  return el("span", { class: `badge ${look}` }, word);
}
