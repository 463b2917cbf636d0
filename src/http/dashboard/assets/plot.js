// Plots as SVG, each with what it shows in words, and with its numbers as a table.

import { el, svg, table } from "./dom.js";
import { millis, number } from "./format.js";

const LEFT = 56, RIGHT = 4, TOP = 8, BOTTOM = 20;
const HOUR = 36e5;
const hourOf = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayOf = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const bothOf = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** One point for every hour, or for every day where that would be too many; hours without a request are zero. */
export function points(byHour, hours, now = Date.now()) {
  const size = hours > 24 * 8 ? 24 * HOUR : HOUR;
  const offset = size === HOUR ? 0 : new Date(now).getTimezoneOffset() * 6e4;
  const slot = (time) => Math.floor((time - offset) / size) * size + offset;
  const last = slot(now);
  const length = Math.round((hours * HOUR) / size);
  const made = Array.from({ length }, (_, at) => ({ at: last - (length - 1 - at) * size, requests: 0, failures: 0, sum: 0 }));
  const first = made[0].at;
  for (const row of byHour) {
    const point = made[Math.round((slot(Date.parse(row.hour)) - first) / size)];
    if (!point) continue;
    point.requests += row.requests;
    point.failures += row.failures ?? row.errors ?? 0;
    point.sum += row.requests * (row.mean_ms ?? row.average_response_time_ms ?? 0);
  }
  return { size, list: made.map((point) => ({ ...point, mean: point.requests ? point.sum / point.requests : null })) };
}

/** The next round number above. */
function round(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 4, 5, 10].find((step) => step * power >= most) * power;
}

const sayRequests = (requests, failures) => `${number(requests)} ${requests === 1 ? "request" : "requests"}, ${number(failures)} failed`;
const named = (point, size) => (size === HOUR ? bothOf : dayOf).format(point.at);

/** Calls `draw` with the width that there is, now and whenever it changes. */
function sized(place, draw) {
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now === width || now === 0) return;
    width = now;
    draw(width);
  }).observe(place);
}

/** Where the points stand, with the lines and names around them. */
function axes(width, height, { list, size }, top, unit) {
  const step = (width - LEFT - RIGHT) / list.length;
  const x = (at) => LEFT + at * step;
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / top);
  const parts = [0, top / 2, top].map((value) => svg("g", null,
    svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, unit(value))));
  const daily = size !== HOUR || list.length > 48;
  const most = Math.max(2, Math.floor((width - LEFT) / 72));
  const starts = list.map((point, at) => at).filter((at) => !daily || size !== HOUR || new Date(list[at].at).getHours() === 0);
  const every = Math.ceil(starts.length / most);
  for (const at of starts.filter((_, place) => place % every === 0)) {
    const text = (daily ? dayOf : hourOf).format(list[at].at);
    parts.push(svg("text", { x: Math.min(x(at) + (daily && size === HOUR ? 0 : step / 2), width - 24), y: height - 4, "text-anchor": "middle" }, text));
  }
  return { step, x, y, parts };
}

const shortly = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });

/** A plot with its words around it; `draw` fills the drawing for a width. */
function plot({ title, keys, summary, height, data, told, draw }) {
  const readout = el("span", { class: "soft number" }, told(null));
  const drawing = svg("svg", { role: "img", "aria-label": summary, height });
  const show = (width) => {
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { parts, x, step } = draw(width);
    const bands = data.list.map((point, at) => svg("rect", {
      class: "at", x: x(at), y: TOP, width: step, height: height - TOP - BOTTOM,
      on: { pointerenter: () => { readout.textContent = told(point); }, pointerleave: () => { readout.textContent = told(null); } },
    }));
    drawing.replaceChildren(...parts, ...bands);
  };
  sized(drawing, show);
  return el("figure", null, el("figcaption", null, el("span", null, el("strong", null, title), " ", keys), readout), drawing);
}

/** Requests as bars, the failed ones in them; and how long they took as a line. */
export function usagePlots(byHour, hours) {
  const data = points(byHour, hours);
  const { list, size } = data;
  const per = size === HOUR ? "hour" : "day";
  const total = list.reduce((sum, point) => sum + point.requests, 0);
  const failed = list.reduce((sum, point) => sum + point.failures, 0);
  const busiest = list.reduce((best, point) => (point.requests > best.requests ? point : best));
  const slowest = list.reduce((worst, point) => ((point.mean ?? 0) > (worst.mean ?? 0) ? point : worst));
  const most = total ? ` Most at ${named(busiest, size)}, with ${number(busiest.requests)}.` : "";
  const requests = plot({
    title: `Requests by ${per}`, data, height: 176,
    keys: el("span", null, el("span", { class: "key" }, "answered"), el("span", { class: "key failed" }, "failed")),
    summary: `Requests by ${per}: ${number(total)} in all, ${number(failed)} of them failed.${most}`,
    told: (point) => point ? `${named(point, size)}: ${sayRequests(point.requests, point.failures)}` : sayRequests(total, failed),
    draw: (width) => bars(width, 176, data, busiest.requests),
  });
  const latency = plot({
    title: "Mean time to answer", data, height: 120,
    summary: `Mean time to answer by ${per}.${slowest.mean === null ? "" : ` Longest at ${named(slowest, size)}, with ${millis(slowest.mean)}.`}`,
    told: (point) => point ? `${named(point, size)}: ${millis(point.mean)}` : slowest.mean === null ? "" : `at most ${millis(slowest.mean)}`,
    draw: (width) => line(width, 120, data, slowest.mean ?? 0),
  });
  const rows = list.filter((point) => point.requests).reverse().map((point) => [named(point, size), number(point.requests), number(point.failures), millis(point.mean)]);
  const right = (title) => ({ title, right: true });
  const numbers = el("details", null, el("summary", null, "As a table"), rows.length
    ? el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Use by ${per}` }, table(`Use by ${per}`, [per === "hour" ? "Hour" : "Day", right("Requests"), right("Failed"), right("Mean time")], rows))
    : el("p", { class: "soft" }, "Nothing was asked in this time."));
  return el("div", { class: "plots" }, requests, latency, numbers);
}

function bars(width, height, data, most) {
  const { step, x, y, parts } = axes(width, height, data, Math.max(round(most), 2), (value) => shortly.format(value));
  const gap = step > 6 ? Math.min(step * 0.22, 6) : step > 3 ? 1 : 0;
  const floor = y(0);
  data.list.forEach((point, at) => {
    if (!point.requests) return;
    const box = (from, to, name) => svg("rect", { class: name, x: x(at) + gap / 2, width: step - gap, y: Math.min(y(to), y(from) - 1), height: Math.max(y(from) - y(to), 1), rx: step > 10 ? 1.5 : 0 });
    parts.push(box(0, point.requests, "bar"));
    if (point.failures) parts.push(box(0, point.failures, "failed"));
  });
  parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: floor, y2: floor }));
  return { parts, x, step };
}

function line(width, height, data, most) {
  const { step, x, y, parts } = axes(width, height, data, round(most), (value) => (value === 0 ? "0" : `${shortly.format(value)} ms`));
  const at = (place) => x(place) + step / 2;
  let run = [];
  const drawn = () => {
    if (run.length === 1) parts.push(svg("circle", { class: "dot", cx: at(run[0]), cy: y(data.list[run[0]].mean), r: 2.5 }));
    if (run.length > 1) {
      const path = run.map((place) => `${at(place).toFixed(1)},${y(data.list[place].mean).toFixed(1)}`).join("L");
      parts.push(svg("path", { class: "area", d: `M${at(run[0])},${y(0)}L${path}L${at(run.at(-1))},${y(0)}Z` }), svg("path", { class: "line", d: `M${path}` }));
    }
    run = [];
  };
  data.list.forEach((point, place) => (point.mean === null ? drawn() : run.push(place)));
  drawn();
  return { parts, x, step };
}
