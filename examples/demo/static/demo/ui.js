// The page's pieces of document. Everything that came over the network becomes text nodes, never markup.

import { hue, nameOf, shortId } from "./names.js";

const LOG_LINES = 200;

export const find = (id) => document.getElementById(id);

/** An element with a class, attributes and children (strings become text). */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Make `children` the children of `parent`, touching only those that differ: what is selected, focused or under the
 * pointer stays. */
export function place(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString([], { hour12: false });
}

export function log(kind, text) {
  const list = find("log");
  const line = make("li", `log-${kind}`, make("time", "", clock(Date.now())), make("span", "", text));
  list.prepend(line);
  while (list.children.length > LOG_LINES) list.lastChild.remove();
}

/** The coloured tag of an instance. */
export function instanceTag(name) {
  const number = /(\d+)$/.exec(name);
  return make("span", `tag tone-${number ? Number(number[1]) % 4 : hue(name, 4)}`, name);
}

function person(name, key) {
  return make("b", `name hue-${hue(key, 8)}`, name);
}

export function authorOf(message) {
  return message.nick || (message.info ? nameOf(message.info) : "server");
}

/** One message of the list. `mine`: this tab sent it; `note`: what to say beside it ("12 ms", "sending…", "not sent"). */
export function messageLine(message) {
  const { mine, note } = message;
  const author = authorOf(message);
  const head = make("div", "head", person(author, author));
  if (message.instance) head.append(instanceTag(message.instance));
  if (message.recovered) head.append(make("span", "tag recovered", "recovered"));
  if (note) head.append(make("span", "note", note));
  if (message.at) head.append(make("time", "", clock(message.at)));
  const line = make("li", "message", head, make("p", "", message.text));
  line.classList.toggle("mine", mine === true);
  line.classList.toggle("pending", note === "sending…");
  line.classList.toggle("failed", message.failed === true);
  return line;
}

/** The line between what was there before an outage and what came after it. */
export function divider({ text, good }) {
  return make("li", good ? "divider" : "divider bad", make("span", "", text));
}

export function personLine(info, isMe) {
  const name = nameOf(info);
  const line = make("li", "", person(name, name));
  if (isMe) line.append(make("span", "tag", "you"));
  line.append(make("code", "", shortId(info.client)));
  return line;
}

const tabs = new Map(); // channel → {version, row}

/** The tabs of the rooms. `rooms`: [{channel, joined, unread}]. A tab is made anew only when it has to look different. */
export function roomTabs(rooms, current, actions) {
  const rows = rooms.map(({ channel, joined, unread }) => {
    const version = `${joined} ${channel === current}`;
    if (tabs.get(channel)?.version !== version) {
      tabs.set(channel, { version, row: roomTab(channel, joined, channel === current, actions) });
    }
    const { row } = tabs.get(channel);
    const badge = row.querySelector(".badge");
    badge.textContent = String(unread);
    badge.hidden = !unread;
    return row;
  });
  const focused = document.activeElement?.closest("#rooms li")?.dataset.channel;
  place(find("rooms"), rows);
  // The one that was pressed was made anew: who uses the keyboard is still at its room.
  if (focused && document.activeElement === document.body) tabs.get(focused)?.row.querySelector(".toggle").focus();
}

function roomTab(channel, joined, shown, { show, toggle }) {
  const open = make("button", "room", make("span", "", channel), make("span", "badge"));
  open.type = "button";
  open.setAttribute("aria-pressed", String(shown));
  open.disabled = !joined;
  open.addEventListener("click", () => show(channel));
  const change = make("button", "toggle", joined ? "leave" : "join");
  change.type = "button";
  change.setAttribute("aria-label", `${joined ? "leave" : "join"} ${channel}`);
  change.addEventListener("click", () => toggle(channel));
  const row = make("li", joined ? "joined" : "", open, change);
  row.dataset.channel = channel;
  return row;
}
