// The admin's page “Cluster”: the figures of the last hour are asked for once; then they come over the platform's own
// WebSocket, one message an instance and interval. All go into a window of slots: charts are drawn of it, and a table of
// the newest.

import { morph } from "../realtime/morph.js";
import { Chart } from "./chart.js";
import { Window } from "./window.js";

const root = document.getElementById("cluster");
const state = document.getElementById("state");
const rows = document.querySelector("#instances tbody");
const every = Number(root.dataset.every);
const sampled = Number(root.dataset.sampled); // seconds from one remembered sample to the next
const { zone } = root.dataset;
const PERMISSION_DENIED = 103; // an error code of the protocol
const SILENT_AFTER = 4 * every; // seconds
const GONE_AFTER = 600; // seconds: then an instance that is silent has no row any more, but its lines
const SPAN = 3600; // seconds

const figures = new Window(every, SPAN);
const newest = new Map(); // instance → { until: seconds, told }; after that time it is silent
const charts = [
  new Chart("connections", [["connections", ""]], zone),
  new Chart("messages", [["received", "in"], ["written", "out"]], zone),
  new Chart("deliveries", [["p50", "p50"], ["p95", "p95"], ["p99", "p99"]], zone),
  new Chart("denials", [["denied", ""]], zone),
];

function say(name, text) {
  state.dataset.state = name;
  state.textContent = text;
}

/** The page itself asks to log in first, and leads back here. */
function sayLoggedOut(text) {
  say("refused", `${text} `);
  state.append(Object.assign(document.createElement("a"), { textContent: "Log in again", href: location.pathname }));
}

function row(name, { until, told }) {
  const { connections, admitted, admission_peak: peak, received, written, p50, p95, p99, denied, cpu, memory } = told;
  const made = document.createElement("tr");
  made.dataset.key = name;
  if (Date.now() / 1000 > until) made.dataset.silent = "";
  made.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
  for (const value of [connections, `${admitted} (${peak})`, received, written, p50, p95, p99, denied,
    `${Math.round(cpu * 100)} %`, `${Math.round(memory / 1e6)} MB`]) {
    made.append(Object.assign(document.createElement("td"), { textContent: value ?? "–" }));
  }
  return made;
}

function draw() {
  const names = [...newest.keys()].sort();
  const shown = names.filter((name) => Date.now() / 1000 < newest.get(name).until + GONE_AFTER);
  const fresh = document.createDocumentFragment();
  fresh.append(...shown.map((name) => row(name, newest.get(name))));
  morph(rows, fresh);
  for (const chart of charts) chart.draw(figures, names);
}

function hear(at, told, within) {
  figures.put(at, told.instance, told);
  newest.set(told.instance, { until: at + within, told });
}

async function hearOfTheLastHour() {
  const response = await fetch("?history", { credentials: "same-origin", redirect: "error" });
  if (!response.ok) throw new Error(`answered with ${response.status}`);
  const { names, rows: samples } = await response.json();
  for (const values of samples) {
    const told = Object.fromEntries(names.map((name, index) => [name, values[index]]));
    hear(told.at, told, 2 * sampled + SILENT_AFTER);
  }
  draw();
}

function watch() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const client = new window.Centrifuge(`${scheme}://${location.host}${root.dataset.websocket}`);
  client.on("connecting", () => say("connecting", "connecting…"));
  client.on("disconnected", ({ code, reason }) => {
    if (reason === "logged out") sayLoggedOut("You were logged out.");
    else say("refused", `disconnected: ${reason} (${code})`);
  });
  const subscription = client.newSubscription(root.dataset.channel);
  subscription.on("subscribed", () => say("connected", "live"));
  subscription.on("unsubscribed", ({ code, reason }) => {
    if (code === PERMISSION_DENIED) sayLoggedOut("You are logged out, or may not see this.");
    else say("refused", `not allowed: ${reason} (${code})`);
  });
  subscription.on("publication", ({ data }) => {
    const isNew = !newest.has(data.instance);
    hear(Date.now() / 1000, data, SILENT_AFTER);
    if (isNew) draw();
  });
  subscription.subscribe();
  client.connect();
  setInterval(draw, every * 1000);
}

hearOfTheLastHour().catch((error) => {
  document.getElementById("gap").textContent = `The last hour is not known: ${error.message}.`;
}).finally(watch);
