// The admin's page “Cluster”: figures come over the platform's own WebSocket, one message an instance and interval, and
// go into a window of slots; charts are drawn of the window, a table of the newest. Nothing is asked of the server.

import { Chart } from "./chart.js";
import { Window } from "./window.js";

const root = document.getElementById("cluster");
const state = document.getElementById("state");
const rows = document.querySelector("#instances tbody");
const every = Number(root.dataset.every);
const PERMISSION_DENIED = 103; // an error code of the protocol
const SILENT_AFTER = 4 * every * 1000; // ms

const figures = new Window(every, 150);
const heard = new Map(); // instance → when, in ms
const charts = [
  new Chart("connections", [["connections", ""]]),
  new Chart("messages", [["received", "in"], ["written", "out"]]),
  new Chart("deliveries", [["p50", "p50"], ["p95", "p95"], ["p99", "p99"]]),
  new Chart("denials", [["denied", ""]]),
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

function row(name) {
  for (const known of rows.children) if (known.dataset.instance === name) return known;
  const made = document.createElement("tr");
  made.dataset.instance = name;
  made.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
  for (let cell = 0; cell < 10; cell += 1) made.append(document.createElement("td"));
  const next = [...rows.children].find((other) => other.dataset.instance > name);
  rows.insertBefore(made, next ?? null);
  return made;
}

function show(told) {
  const { connections, admitted, admission_peak: peak, received, written, p50, p95, p99, denied, cpu, memory } = told;
  const shown = [connections, `${admitted} (${peak})`, received, written, p50, p95, p99, denied, `${Math.round(cpu * 100)} %`, `${Math.round(memory / 1e6)} MB`];
  const made = row(told.instance);
  delete made.dataset.silent;
  shown.forEach((value, index) => { made.children[index + 1].textContent = value ?? "–"; });
}

function tick() {
  const now = Date.now();
  for (const made of rows.children) if (now - heard.get(made.dataset.instance) > SILENT_AFTER) made.dataset.silent = "";
  for (const chart of charts) chart.draw(figures, [...heard.keys()].sort());
}

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
  heard.set(data.instance, Date.now());
  figures.put(Date.now() / 1000, data.instance, data);
  show(data);
});
subscription.subscribe();
client.connect();
setInterval(tick, every * 1000);
