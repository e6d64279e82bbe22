// The demo page: wires the official client library to the document. Rooms, names, outages and the network that can be
// cut are modules of their own beside this one; here is what happens when.

import { Announcer } from "./announcer.js";
import { cleanName, nameOf, randomName, shortId } from "./names.js";
import { Network } from "./network.js";
import { Outage } from "./outage.js";
import { Room } from "./room.js";
import { authorOf, divider, find, instanceTag, log, messageLine, personLine, place, roomTabs } from "./ui.js";

const TOO_MANY_REQUESTS = 111; // the error code of what a rate limit denies
const FLOOD = 60; // more than the demo's burst

const { Centrifuge } = globalThis;
const page = document.body.dataset;
const network = new Network();
const announcer = new Announcer(find("heard"));
const client = new Centrifuge(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${page.websocket}`, {
  websocket: network.WebSocket,
  name: "flotilla-demo",
  minReconnectDelay: 200,
  maxReconnectDelay: 1000,
});

const known = new Set(page.rooms.split(" "));
const joined = new Map(); // channel → Room
const sending = new Map(); // id → {channel, message, started}, in the order they were written
const latencies = []; // milliseconds of the last own publications, for the median
const lines = new Map(); // channel → [{key, summary}]: the message after which an outage ended, and how
let current = "";
let instance = "";
let clientId = "";
let outage = null;
let drawing = false;

// --- who I am ---------------------------------------------------------------------------------------------------

const nick = find("nick");
nick.value = cleanName(sessionStorage.getItem("nick")) || randomName();
nick.addEventListener("change", () => {
  nick.value = cleanName(nick.value) || randomName();
  sessionStorage.setItem("nick", nick.value);
  for (const room of joined.values()) if (room.isLive) hello(room);
});

/** Connections of the demo are anonymous, so a tab says what it is called once it is in a room. */
function hello(room) {
  const id = crypto.randomUUID?.() ?? String(Math.random());
  sending.set(id, { started: performance.now() });
  room.publish({ kind: "hello", id, nick: nick.value }).catch(() => sending.delete(id));
}

// --- the connection ---------------------------------------------------------------------------------------------

function showState(state, text) {
  const chip = find("state");
  chip.dataset.state = state;
  chip.textContent = text;
}

client.on("connecting", ({ code, reason }) => {
  showState("connecting", "connecting…");
  if (code === 0) return log("state", "connecting");
  const rooms = [...joined.keys()];
  if (outage) outage.again(rooms);
  else if (clientId) outage = new Outage(rooms, performance.now());
  find("instance").classList.add("lost");
  showBanner("wait", `Connection to ${instance || "the server"} lost, reconnecting…`);
  log("bad", `connection to ${instance || "the server"} lost: ${reason} (${code}); reconnecting`);
});

client.on("connected", (context) => {
  clientId = context.client;
  instance = String(context.data?.instance ?? "unknown").slice(0, 40);
  showState("connected", "connected");
  find("instance").replaceChildren(instanceTag(instance));
  find("instance").classList.remove("lost");
  document.documentElement.dataset.instance = instance;
  find("client").textContent = shortId(clientId);
  for (const button of document.querySelectorAll("[data-stop]")) button.disabled = false;
  log("good", `connected to instance ${instance} as ${shortId(clientId)}`);
  if (!outage) find("banner").hidden = true;
  endOutage();
});

client.on("disconnected", ({ code, reason }) => {
  showState("disconnected", "disconnected");
  showBanner("bad", `Disconnected: ${reason} (${code}). Reload the page to try again`);
  log("bad", `disconnected for good: ${reason} (${code})`);
});

client.on("message", ({ data }) => log("state", `the server says: ${JSON.stringify(data).slice(0, 300)}`));

client.on("error", ({ error }) => log("quiet", `attempt failed: ${error.message}`));

function showBanner(kind, text) {
  const banner = find("banner");
  banner.dataset.kind = kind;
  banner.textContent = text;
  banner.hidden = false;
}

function endOutage() {
  if (!outage?.over) return;
  const summary = outage.summary(instance, performance.now());
  outage = null;
  showBanner(summary.good ? "good" : "bad", summary.text);
  log(summary.good ? "good" : "bad", summary.text);
  for (const room of joined.values()) {
    const mark = { key: room.messages.at(-1)?.key ?? "", summary };
    lines.set(room.channel, [...(lines.get(room.channel) ?? []), mark]);
  }
  showMessages();
}

// --- rooms ------------------------------------------------------------------------------------------------------

const events = {
  live(room, { wasRecovering, recovered, missed }) {
    const how = wasRecovering ? (recovered ? `recovered, ${missed} missed` : "not recovered: reloaded") : "live";
    log("state", `${room.channel}: ${how}`);
    outage?.back(room.channel, { complete: recovered || !wasRecovering, missed });
    endOutage();
    hello(room);
    showRoom(room);
  },
  message(room, message) {
    delivered(message);
    if (message.kind === "hello") return showFacts(room);
    if (room.channel !== current) room.unread += 1;
    showTabs();
    if (room.channel !== current) return;
    showMessages();
    if (!message.mine && !message.recovered) announcer.hear(`${authorOf(message)}: ${message.text}`);
  },
  reloaded(room) {
    if (room.channel === current) showMessages();
  },
  people: showPeople,
  joined(room, info) {
    showPeople(room);
    // A moment later the newcomer has said what it is called.
    setTimeout(() => log("join", `${room.channel}: ${nameOf(info)} joined`), 300);
  },
  left(room, info) {
    showPeople(room);
    log("leave", `${room.channel}: ${nameOf(info)} left`);
  },
  trouble(room, error) {
    log("bad", `${room.channel}: ${error.message} (${error.code})`);
    showRoom(room);
  },
};

function join(channel) {
  known.add(channel);
  if (!joined.has(channel)) joined.set(channel, new Room(client, channel, events));
  show(channel);
}

function leave(channel) {
  joined.get(channel)?.leave();
  joined.delete(channel);
  lines.delete(channel);
  outage?.forget(channel);
  endOutage();
  log("state", `${channel}: left`);
  show(channel === current ? ([...joined.keys()][0] ?? "") : current);
}

function show(channel) {
  current = channel;
  following = true;
  const room = joined.get(channel);
  if (room) room.unread = 0;
  find("say").disabled = find("send").disabled = !room;
  find("title").textContent = channel || "no room";
  showTabs();
  showMessages();
  showPeople(room);
}

find("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find("add-name");
  const name = field.value.trim().replace(/^demo:/, "").replace(/[^\w.-]/g, "-");
  field.value = "";
  if (name) join(`demo:${name}`);
});

// --- saying something -------------------------------------------------------------------------------------------

function say(channel, text) {
  const room = joined.get(channel);
  if (!room) return;
  const id = crypto.randomUUID?.() ?? String(Math.random());
  const data = { id, nick: nick.value, text, instance, at: Date.now() };
  const entry = { channel, message: { ...data, mine: true, note: "sending…" }, started: performance.now() };
  sending.set(id, entry);
  following = true;
  room.publish(data).catch((error) => {
    // Without an answer nobody knows whether it was published: if it was, it still comes back and settles the matter.
    if (!sending.has(id)) return;
    entry.message.failed = true;
    entry.message.note = error.code === TOO_MANY_REQUESTS ? tooFast(error) : "not sent";
    announcer.hear(`not sent: ${text.slice(0, 60)}`);
    log("bad", `${channel}: not sent: ${error.message} (${error.code})`);
    showMessages();
  });
  showMessages();
}

/** A denial in the visitor's words: the server's message ends with the time to wait, as in "retry in 0.42 s". */
function tooFast(error) {
  const wait = /(\d+\.\d+) s$/.exec(error.message);
  return wait ? `too fast: try again in ${wait[1]} s` : "too fast";
}

function delivered(message) {
  const entry = sending.get(message.id);
  if (!entry) return;
  sending.delete(message.id);
  message.mine = true;
  if (message.recovered) return;
  const delay = performance.now() - entry.started;
  message.note = `${delay.toFixed(0)} ms`;
  latencies.push(delay);
  if (latencies.length > 20) latencies.shift();
  const median = latencies.toSorted((a, b) => a - b)[latencies.length >> 1];
  find("latency").textContent = `${delay.toFixed(0)} ms`;
  find("latency").title = `median of the last ${latencies.length}: ${median.toFixed(1)} ms`;
}

find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find("say");
  const text = field.value.trim();
  field.value = "";
  if (text) say(current, text);
});

let talk = null;
let spoken = 0;
find("talk").addEventListener("change", ({ target }) => {
  clearInterval(talk);
  talk = target.checked ? setInterval(() => say(current, `talking by itself, ${++spoken}`), 500) : null;
});

// --- breaking it ------------------------------------------------------------------------------------------------

find("flood").addEventListener("click", () => {
  log("quiet", `saying ${FLOOD} things at once, which is more than the limit allows`);
  for (let number = 1; number <= FLOOD; number += 1) say(current, `flood ${number}`);
});

find("drop").addEventListener("click", () => {
  const seconds = Number(find("away").value);
  log("bad", seconds ? `cutting this tab's network for ${seconds} s` : "dropping this tab's connection");
  network.cut(seconds * 1000);
});

find("stop")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const how = event.submitter?.value ?? "drain";
  const form = new FormData(event.target);
  form.set("instance", instance);
  form.set("how", how);
  log("bad", `${how === "kill" ? "killing" : "stopping"} instance ${instance}`);
  try {
    const response = await fetch(event.target.action, { method: "POST", body: form });
    if (!response.ok) log("bad", `the server refused: HTTP ${response.status}`);
  } catch {
    log("bad", "the answer was lost with the instance");
  }
});

// --- showing it -------------------------------------------------------------------------------------------------

function showRoom(room) {
  showTabs();
  if (room.channel === current) showMessages();
}

function showTabs() {
  const rooms = [...known].map((channel) => {
    const room = joined.get(channel);
    return { channel, joined: Boolean(room), unread: room?.unread ?? 0 };
  });
  roomTabs(rooms, current, { show, toggle: (channel) => (joined.has(channel) ? leave(channel) : join(channel)) });
}

// The list follows its end unless the visitor scrolled up to read, also when the room for it changes.
let following = true;
let height = 0;
find("messages").addEventListener("scroll", ({ target }) => {
  if (target.clientHeight !== height) return; // not the visitor: the list became smaller or larger
  following = target.scrollHeight - target.scrollTop - target.clientHeight < 60;
});
new ResizeObserver(([{ target }]) => {
  height = target.clientHeight;
  if (following) target.scrollTop = target.scrollHeight;
}).observe(find("messages"));

/** Draw the list once per turn, however many messages the turn brought. */
function showMessages() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    drawMessages();
  });
}

function drawMessages() {
  const room = joined.get(current);
  const list = find("messages");
  const marks = lines.get(current) ?? [];
  const items = marksAfter(marks, "");
  for (const message of room?.messages ?? []) {
    message.line ??= messageLine(message);
    items.push(message.line, ...marksAfter(marks, message.key));
  }
  for (const { channel, message } of sending.values()) if (channel === current) items.push(messageLine(message));
  place(list, items);
  find("empty").hidden = items.length > 0;
  if (following) list.scrollTop = list.scrollHeight;
  if (room) showFacts(room);
}

function marksAfter(marks, key) {
  return marks.filter((mark) => mark.key === key).map((mark) => (mark.line ??= divider(mark.summary)));
}

function showFacts(room) {
  if (room.channel !== current) return;
  const facts = find("facts");
  facts.textContent = `position ${room.offset} · gaps ${room.gaps} · duplicates ${room.duplicates}`;
  facts.classList.toggle("bad", room.gaps + room.duplicates > 0);
}

function showPeople(room) {
  if (room && room.channel !== current) return;
  const people = room?.roster.people() ?? [];
  people.sort((a, b) => (b.client === clientId) - (a.client === clientId) || nameOf(a).localeCompare(nameOf(b)));
  find("count").textContent = String(people.length);
  find("people").replaceChildren(...people.map((info) => personLine(info, info.client === clientId)));
}

join([...known][0]);
client.connect();
