// The page of `edge ui`. It asks for the overview of the server again and again, and shows what has changed between two answers.
"use strict";

const kept = 180; // looks that the charts show
const $ = (id) => document.getElementById(id);

const page = { looks: [], samples: [], paused: false, timer: 0, session: "", lost: "" };

// ---- numbers ----

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const count = (n) => (Number.isInteger(n ?? 0) ? number : decimal).format(n ?? 0);
const rate = (n) => (n >= 1000 ? number : decimal).format(n);

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i > 0 && n < 100 ? decimal.format(n) : number.format(n)} ${units[i]}`;
}

// seconds is a duration for people; Infinity is beyond the last bound of the histogram.
function seconds(s) {
  if (!Number.isFinite(s)) return "> 10 s";
  if (s <= 0) return "–";
  if (s < 0.001) return `${number.format(s * 1e6)} µs`;
  if (s < 1) return `${s < 0.1 ? decimal.format(s * 1e3) : number.format(s * 1e3)} ms`;
  if (s < 60) return `${decimal.format(s)} s`;
  return age(s * 1e9);
}

function age(ns) {
  let s = Math.max(0, Math.round((ns ?? 0) / 1e9));
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    if (s >= size || (unit === "s" && parts.length === 0)) parts.push(`${Math.floor(s / size)}${unit}`);
    s %= size;
  }
  return parts.slice(0, 2).join(" ");
}

const sum = (list, of) => (list ?? []).reduce((total, item) => total + of(item), 0);

// quantile is where a share q of the counted requests lies, drawn straight through the bucket it is in.
function quantile(counts, bounds, q) {
  const total = sum(counts, (n) => n);
  if (total === 0) return 0;
  const rank = q * total;
  let seen = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0 || seen + counts[i] < rank) {
      seen += counts[i];
      continue;
    }
    if (i >= bounds.length) return Infinity;
    const low = i > 0 ? bounds[i - 1] : 0;
    return low + ((bounds[i] - low) * (rank - seen)) / counts[i];
  }
  return Infinity;
}

// ---- what happened between two looks ----

const nothing = { classes: [0, 0, 0, 0, 0], counts: [], bounds: [], rate: 0, errors: 0, p50: 0, p90: 0, p99: 0 };

function change(route, old, passed) {
  if (!(passed > 0)) return nothing;
  const less = (n, before) => Math.max(0, n - (before ?? 0)); // a route that counts anew has no past
  const classes = route.classes.map((n, i) => less(n, old?.classes[i]) / passed);
  const counts = (route.buckets ?? []).map((n, i) => less(n, old?.buckets?.[i]));
  return { classes, counts, bounds: route.bounds ?? [], rate: sum(classes, (n) => n), errors: classes[4], ...quantiles(counts, route.bounds ?? []) };
}

const quantiles = (counts, bounds) => ({ p50: quantile(counts, bounds, 0.5), p90: quantile(counts, bounds, 0.9), p99: quantile(counts, bounds, 0.99) });

// sample is one point of every chart, and the changes of each route.
function sample(before, now) {
  const restarted = before && (before.status.pid !== now.status.pid || before.status.started !== now.status.started);
  const passed = before && !restarted ? (Date.parse(now.time) - Date.parse(before.time)) / 1000 : 0;
  const old = new Map((before?.routes ?? []).map((r) => [r.name, r]));
  const routes = new Map((now.routes ?? []).map((r) => [r.name, change(r, old.get(r.name), passed)]));
  const classes = [0, 0, 0, 0, 0], counts = [];
  let bounds = [];
  for (const r of routes.values()) {
    r.classes.forEach((n, i) => (classes[i] += n));
    r.counts.forEach((n, i) => (counts[i] = (counts[i] ?? 0) + n));
    if (r.bounds.length > 0) bounds = r.bounds;
  }
  const workers = (now.workers ?? []).flatMap((pool) => pool.workers ?? []);
  return {
    time: Date.parse(now.time), passed, routes, classes, rate: sum(classes, (n) => n), errors: classes[4], ...quantiles(counts, bounds),
    inFlight: sum(now.routes, (r) => r.in_flight),
    workers: workers.length, busy: workers.filter((w) => w.state === "busy").length, memory: sum(workers, (w) => w.memory),
    queued: sum(now.workers, (pool) => pool.queued ?? 0),
    clients: sum(now.connections.listeners, (l) => l.open), sockets: sum(now.connections.websockets, (s) => s.open), rpc: now.connections.rpc,
  };
}

// ---- elements ----

// make builds an element; texts are always texts, whatever a name of the server contains.
function make(name, attributes = {}, ...children) {
  const e = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function tiles(s) {
  const shown = [
    ["rate", "Requests / s", rate(s.rate)], ["errors", "Errors (5xx) / s", rate(s.errors)], ["p50", "Median", seconds(s.p50)], ["p99", "99 of 100 within", seconds(s.p99)],
    ["running", "In flight", count(s.inFlight)], ["open", "Connections", count(s.clients)], ["sockets", "WebSockets", count(s.sockets)],
  ];
  if (s.workers > 0) shown.push(["busy", "PHP workers busy", `${count(s.busy)} / ${count(s.workers)}`], ["queued", "Waiting for PHP", count(s.queued)]);
  $("tiles").replaceChildren(...shown.map(([id, name, value]) => make("div", {}, make("dt", {}, name), make("dd", { "data-tile": id }, value))));
}

// ---- charts ----

const charts = [
  {
    id: "requests", title: "Requests / s, by status", stacked: true, format: rate,
    lines: [["2xx", "green", (s) => s.classes[1]], ["3xx", "blue", (s) => s.classes[2]], ["4xx", "amber", (s) => s.classes[3]], ["5xx", "red", (s) => s.classes[4]], ["1xx", "soft", (s) => s.classes[0]]],
  },
  { id: "latency", title: "Latency", format: seconds, cap: 10, lines: [["50 %", "green", (s) => s.p50], ["90 %", "amber", (s) => s.p90], ["99 %", "red", (s) => s.p99]] },
  { id: "php", title: "PHP workers", format: count, when: (s) => s.workers > 0, lines: [["all", "soft", (s) => s.workers], ["busy", "blue", (s) => s.busy], ["requests waiting", "red", (s) => s.queued]] },
  { id: "connections", title: "Connections", format: count, lines: [["clients", "blue", (s) => s.clients], ["WebSockets", "violet", (s) => s.sockets], ["in flight", "green", (s) => s.inFlight]] },
];

// nice is the next number up that is easy to read.
function nice(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= n * 0.999);
}

function buildChart(chart) {
  chart.svg = make("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" });
  chart.top = make("span", { class: "scale top" });
  chart.middle = make("span", { class: "scale middle" });
  chart.legend = make("div", { class: "legend" });
  chart.card = make("section", { class: "card", "data-chart": chart.id }, make("h2", {}, chart.title), make("div", { class: "plot" }, chart.svg, chart.top, chart.middle), chart.legend);
  chart.svg.addEventListener("pointermove", (event) => {
    const box = chart.svg.getBoundingClientRect();
    chart.at = Math.round(((event.clientX - box.left) / box.width) * (kept - 1)) - (kept - page.samples.length);
    drawChart(chart);
  });
  chart.svg.addEventListener("pointerleave", () => {
    chart.at = undefined;
    drawChart(chart);
  });
  $("charts").append(chart.card);
}

function drawChart(chart) {
  const samples = page.samples;
  if (samples.length === 0) return;
  chart.card.hidden = chart.when !== undefined && !samples.some(chart.when);
  const values = chart.lines.map(([, , of]) => samples.map((s) => Math.min(of(s), chart.cap ?? Infinity)));
  if (chart.stacked) for (let i = 1; i < values.length; i++) values[i] = values[i].map((v, x) => v + values[i - 1][x]);
  const highest = Math.max(...values.flat());
  const top = highest > 0 ? nice(highest) : 1;
  const x = (i) => ((kept - samples.length + i) / (kept - 1)) * 100;
  const y = (v) => 98 - (v / top) * 94;
  const parts = [make("svg:line", { class: "grid", x1: 0, x2: 100, y1: y(0), y2: y(0) }), make("svg:line", { class: "grid", x1: 0, x2: 100, y1: y(top / 2), y2: y(top / 2) })];
  chart.lines.forEach(([, color], n) => {
    const points = values[n].map((v, i) => `${x(i).toFixed(2)},${y(v).toFixed(2)}`);
    if (!chart.stacked) {
      parts.push(make("svg:polyline", { class: `curve ${color}`, points: points.join(" ") }));
      return;
    }
    const below = n > 0 ? values[n - 1] : samples.map(() => 0);
    const back = below.map((v, i) => `${x(i).toFixed(2)},${y(v).toFixed(2)}`).reverse();
    parts.push(make("svg:polygon", { class: `area ${color}`, points: [...points, ...back].join(" ") }));
  });
  const at = chart.at === undefined ? samples.length - 1 : Math.min(Math.max(chart.at, 0), samples.length - 1);
  if (chart.at !== undefined) parts.push(make("svg:line", { class: "cross", x1: x(at), x2: x(at), y1: 0, y2: 100 }));
  chart.svg.replaceChildren(...parts);
  chart.top.textContent = chart.format(top);
  chart.middle.textContent = chart.format(top / 2);
  const said = chart.lines.map(([name, color, of]) => [name, color, chart.format(of(samples[at]))]);
  chart.svg.setAttribute("aria-label", `${chart.title}: ${said.map(([name, , value]) => `${name} ${value}`).join(", ")}`);
  const when = chart.at === undefined ? [] : [make("span", {}, new Date(samples[at].time).toLocaleTimeString())];
  chart.legend.replaceChildren(...said.map(([name, color, value]) => make("span", { class: color }, make("i"), `${name} ${value}`)), ...when);
}

// ---- tables ----

// A cell is a text, or a text with a class.
function table(id, title, head, rows) {
  if (rows.length === 0) return [];
  const cell = (c) => (Array.isArray(c) ? make("td", { class: c[1] }, c[0]) : make("td", {}, c));
  return [make("section", { class: "card", "data-table": id }, make("h2", {}, title),
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { scope: "col" }, h)))), make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))))))];
}

const ns = (n) => seconds((n ?? 0) / 1e9);
const bad = (text, is) => (is ? [text, "bad"] : text);

function tables(o, s) {
  const all = [];
  all.push(...table("routes", "Routes", ["Route", "Requests / s", "Errors / s", "In flight", "50 %", "99 %", "Requests", "Errors"],
    (o.routes ?? []).map((r) => {
      const c = s.routes.get(r.name);
      return [r.name, rate(c.rate), bad(rate(c.errors), c.errors > 0), count(r.in_flight), seconds(c.p50), seconds(c.p99), count(sum(r.classes, (n) => n)), count(r.classes[4])];
    })));
  all.push(...table("pools", "PHP pools", ["Pool", "Workers", "Idle", "Busy", "Waiting", "Refused", "Requests", "Memory"],
    (o.workers ?? []).map((p) => {
      const w = p.workers ?? [], state = (name) => w.filter((x) => x.state === name).length;
      return [p.name, count(w.length), count(state("idle")), count(state("busy")), bad(count(p.queued), p.queued > 0), count(p.rejected), count(p.requests), bytes(sum(w, (x) => x.memory))];
    })));
  all.push(...table("workers", "PHP workers", ["Worker", "State", "Requests", "Age", "Memory"],
    (o.workers ?? []).flatMap((p) => (p.workers ?? []).slice(0, 200).map((w) => [`${p.name} ${w.pid}`, w.state, count(w.requests), age(w.age_ns), bytes(w.memory)]))));
  all.push(...table("plugins", "Plugins", ["Plugin", "Requests", "Errors", "Instances", "50 %", "99 %", "Memory", "Generation", ""],
    (o.plugins ?? []).map((p) => [p.name, count(p.requests), bad(count(p.errors), p.errors > 0), count(p.instances), ns(p.p50_ns), ns(p.p99_ns), bytes(p.memory), count(p.generation),
      [p.bypassed || p.degraded || p.last_error || "", "note"]])));
  all.push(...table("stores", "Stores", ["Store", "Driver", "Keys", "Hits", "Bytes"],
    (o.stores ?? []).map((k) => [k.name, k.driver, count(k.keys), k.hits + k.misses > 0 ? `${number.format((100 * k.hits) / (k.hits + k.misses))} %` : "–", bytes(k.bytes)])));
  all.push(...table("listeners", "Listeners", ["Address", "Open", "Accepted"], [
    ...(o.connections.listeners ?? []).map((l) => [`${l.network} ${l.address}`, count(l.open), count(l.accepted)]),
    ...(o.connections.rpc > 0 ? [["rpc", count(o.connections.rpc), "–"]] : []),
  ]));
  all.push(...table("websockets", "WebSockets", ["Application", "Open", "Channels", "Delivered"],
    (o.connections.websockets ?? []).map((w) => [w.name, count(w.open), count(w.channels), count(w.delivered)])));
  all.push(...table("services", "Services", ["Service", "Running", "Restarts", "Failures", "Memory", ""],
    (o.services ?? []).map((v) => {
      const all = v.processes ?? [], running = all.filter((p) => p.pid > 0);
      return [v.name, bad(`${running.length} / ${all.length}`, running.length < all.length), count(v.restarts), count(v.failures), bytes(sum(running, (p) => p.memory)),
        [all.find((p) => p.problem)?.problem ?? "", "note"]];
    })));
  $("tables").replaceChildren(...all);
}

// ---- the page ----

function show() {
  const o = page.looks.at(-1), s = page.samples.at(-1);
  badge();
  $("problem").hidden = page.lost === "";
  $("problem").textContent = page.lost;
  if (!o) return;
  $("about").textContent = `${o.status.version} · pid ${o.status.pid} · up ${age((Date.parse(o.time) - Date.parse(o.status.started)) * 1e6)} · ${(o.status.addresses ?? []).join("  ")}`;
  const degraded = o.status.degraded ?? [];
  $("degraded").hidden = degraded.length === 0;
  $("degraded").replaceChildren(...degraded.map((text) => make("li", {}, text)));
  $("main").hidden = false;
  tiles(s);
  charts.forEach(drawChart);
  tables(o, s);
}

function badge() {
  const state = $("state"), o = page.looks.at(-1);
  const [text, kind] = page.lost !== "" ? ["lost", "bad"] : !o ? ["connecting", ""] : !o.status.ready ? ["not ready", "bad"] : page.paused ? ["paused", ""] : ["ready", "good"];
  state.textContent = text;
  state.className = `badge ${kind}`;
  document.title = o ? `${rate(page.samples.at(-1).rate)}/s · Edge` : "Edge";
}

function take(overview) {
  page.samples.push(sample(page.looks.at(-1), overview));
  page.looks = [...page.looks, overview].slice(-2);
  if (page.samples.length > kept) page.samples.shift();
}

async function ask(path, key, method) {
  const answer = await fetch(path, { method, headers: { Authorization: `Bearer ${key}` }, signal: AbortSignal.timeout(30000) });
  const body = await answer.json();
  if (answer.ok) return body;
  throw Object.assign(new Error(body.error ?? answer.statusText), { final: answer.status === 401 });
}

async function look() {
  try {
    take(await ask("overview", page.session, "GET"));
    page.lost = "";
  } catch (problem) {
    page.lost = problem.final ? problem.message : `${problem.message} – trying again`;
    if (problem.final) {
      show();
      return; // nothing will come any more
    }
  }
  show();
  next();
}

// next plans the next look: none while nobody sees the page, or wants it to stand still.
function next() {
  clearTimeout(page.timer);
  if (!page.paused && !document.hidden) page.timer = setTimeout(look, Number($("every").value));
}

async function begin() {
  const key = location.hash.slice(1);
  history.replaceState(null, "", location.pathname); // the key is for one use, and nothing to keep
  try {
    if (key !== "") sessionStorage.setItem("session", (await ask("session", key, "POST")).session);
  } catch (problem) {
    page.lost = problem.message;
    show();
    return;
  }
  page.session = sessionStorage.getItem("session") ?? "";
  charts.forEach(buildChart);
  look();
}

$("pause").addEventListener("click", () => {
  page.paused = !page.paused;
  $("pause").textContent = page.paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", page.paused);
  badge();
  if (!page.paused) look();
});
$("every").addEventListener("change", next);
document.addEventListener("visibilitychange", () => {
  clearTimeout(page.timer);
  if (!document.hidden && !page.paused && page.session !== "") look();
});
begin();
