// Keeps what `{% live %}` has rendered as it is in the database (docs/LIVE.md, "HTML"): a layer over `live.js`, which knows
// which version of a row is the newest, and over `morph.js`, which makes one element another around whoever is at it.
//
// `{% live_script %}` starts it. A page with a client of its own calls `follow(client)` instead; what comes into the
// document later is followed by `follow(client, element)`, and with HTMX by itself.

import { live } from "./live.js";
import { morphRow } from "./morph.js";

const MOST = 50; // keys in one request
const SOON = 200; // milliseconds within which a page asks for what a publication did not bring: not all at once
const LATER = 30_000; // and at most after requests that failed
const REMEMBERED = 1000; // rows of which it is known as of when they were fetched

const groups = new WeakMap(); // client → channel → its containers, and the handle of `live.js`
const known = new WeakSet(); // containers that are followed

/** Keep the containers of `{% live %}` in `root` right, over this client of the SDK. */
export function follow(client, root = document) {
  if (!groups.has(client)) groups.set(client, new Map());
  const channels = groups.get(client);
  const changed = new Set();
  for (const element of [...(root.matches?.("[data-live]") ? [root] : []), ...root.querySelectorAll("[data-live]")]) {
    if (known.has(element)) continue;
    known.add(element);
    const channel = element.dataset.live;
    if (!channels.has(channel)) channels.set(channel, { channel, containers: [], handle: null });
    channels.get(channel).containers.push(new Container(element));
    changed.add(channels.get(channel));
  }
  for (const group of changed) begin(client, group);
}

/** Follow a channel for all of its containers that are in the document. */
function begin(client, group) {
  const isFirst = !group.handle;
  group.handle?.close();
  const containers = (group.containers = group.containers.filter(({ element }) => element.isConnected));
  if (!containers.length) return groups.get(client).delete(group.channel);
  const [{ element }] = containers;
  const templates = new Map(containers.map((one) => [one.query, one]));
  const handle = (group.handle = live(client, group.channel, {
    url: `${element.dataset.liveFragments}?${[...templates.keys()].join("&")}`,
    first: isFirst && containers.length === 1 ? containers[0].asRendered() : undefined,
    value: ({ html = {}, isShown = false }, version) => ({ html, version, isShown }),
  }));
  const each = (does) => {
    if (containers.every((one) => one.element.isConnected)) containers.forEach(does);
    else if (group.handle === handle) begin(client, group); // some were taken out of the document
  };
  handle.on("set", (key, value) => each((one) => one.set(key, value)));
  handle.on("remove", (key, _, version) => each((one) => one.remove(key, version)));
  const tell = () => containers.forEach(({ element: { dataset } }) => (dataset.liveState = handle.state));
  handle.on("state", tell);
  tell();
  handle.ready.then(() => each((one) => one.keep(handle.rows)), () => {}); // its state says why
}

/** The rows of one `{% live %}`: elements with `data-live-key`, in the order of `data-live-place`. */
class Container {
  constructor(element) {
    const { liveTemplate: template, liveSignature: signature } = element.dataset;
    this.element = element;
    this.template = template;
    this.query = `template=${encodeURIComponent(template)}&signature=${encodeURIComponent(signature)}`;
    this.wanted = new Map(); // key → the version that is to be fetched
    this.fetched = new Map(); // key → the version that it was fetched as of
    this.failures = 0;
  }

  /** The state as it was rendered, undefined where its place in the stream is not known. */
  asRendered() {
    const { liveEpoch: epoch, liveOffset: offset, liveVersion: version } = this.element.dataset;
    if (!epoch) return undefined;
    const rows = this.rows().map((row) => ({ key: row.dataset.liveKey, isShown: true }));
    return { epoch, offset: Number(offset), version: Number(version), rows };
  }

  rows() {
    return [...this.element.children].filter((child) => child.dataset.liveKey !== undefined);
  }

  row(key) {
    return this.element.querySelector(`:scope > [data-live-key="${CSS.escape(key)}"]`);
  }

  /** Show a row as a publication or the state has it. */
  set(key, { html, version, isShown }) {
    if (isShown || this.hasFetched(key, version)) return;
    if (this.template in html) this.show(key, html[this.template]);
    else {
      this.wanted.set(key, version);
      this.askWithin(SOON);
    }
  }

  remove(key, version) {
    if (!this.hasFetched(key, version)) this.show(key, "");
  }

  /** Whether the row that is shown is as of this version or a newer one. 0: an old page, of which no version is known. */
  hasFetched(key, version) {
    return version > 0 && version <= (this.fetched.get(key) ?? 0);
  }

  /** Rows that the state does not have are gone. */
  keep(rows) {
    for (const { dataset } of this.rows()) if (!rows.has(dataset.liveKey)) this.show(dataset.liveKey, "");
  }

  show(key, html) {
    this.wanted.delete(key);
    this.fetched.delete(key);
    const before = this.row(key);
    const made = document.createElement("template");
    made.innerHTML = html; // the server's own template, escaped there
    const fresh = made.content.firstElementChild;
    if (!fresh && !before) return;
    if (!fresh) before.remove();
    else {
      const row = before ? morphRow(before, fresh) : fresh;
      this.put(row);
      window.htmx?.process(row);
    }
    this.element.dispatchEvent(new CustomEvent(fresh ? "live:set" : "live:remove", { bubbles: true, detail: { key } }));
  }

  /** Put a row where it belongs, unless it is there. */
  put(row) {
    const next = this.rows().find((other) => other !== row && isBefore(row, other)) ?? null;
    if (row.parentNode !== this.element) this.element.insertBefore(row, next);
    else if (following(row) !== next) move(row, next);
  }

  askWithin(most) {
    this.timer ??= setTimeout(() => this.ask(), Math.random() * most);
  }

  /** Fetch the rows that are wanted. What is read after a publication has what the publication tells of. */
  async ask() {
    const asked = [...this.wanted].slice(0, MOST);
    const keys = asked.map(([key]) => `&key=${encodeURIComponent(key)}`).join("");
    try {
      const answer = await fetch(`${this.element.dataset.liveFragments}?${this.query}${keys}`);
      if (answer.status === 403) this.wanted.clear(); // the subscription will end as well
      if (!answer.ok) throw new Error(`fragments of ${this.element.dataset.live}: status ${answer.status}`);
      const page = await answer.json();
      this.failures = 0;
      const found = new Map(page.rows.map(({ key, html }) => [key, html[this.template]]));
      for (const [key, version] of asked) {
        if (this.wanted.get(key) !== version) continue; // it is gone, or has changed again
        this.show(key, found.get(key) ?? "");
        if (this.fetched.size >= REMEMBERED) this.fetched.clear();
        this.fetched.set(key, Math.max(version, page.version));
      }
    } catch (error) {
      this.failures += 1;
      console.warn(error);
    }
    this.timer = undefined;
    if (this.wanted.size && this.element.isConnected) this.askWithin(Math.min(SOON * 2 ** (2 * this.failures), LATER));
  }
}

const placed = ({ dataset: { livePlace, liveKey } }) => [livePlace ?? "", liveKey];

function isBefore(row, other) {
  const [[place, key], [otherPlace, otherKey]] = [placed(row), placed(other)];
  return place < otherPlace || (place === otherPlace && key < otherKey);
}

function following(row) {
  let next = row.nextElementSibling;
  while (next && next.dataset.liveKey === undefined) next = next.nextElementSibling;
  return next;
}

/** Move a row with the focus that is in it. */
function move(row, next) {
  if (row.parentNode.moveBefore) return row.parentNode.moveBefore(row, next);
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  row.parentNode.insertBefore(row, next);
  focused?.focus({ preventScroll: true });
}

const script = document.getElementById("flotilla-live");
if (script) {
  const { root } = script.dataset; // the path that the platform lies under
  const at = (path) => new URL(`${root}${path}`, location.href);
  const socket = at("connection/websocket");
  socket.protocol = socket.protocol.replace("http", "ws");
  const client = new Centrifuge(
    [
      { transport: "websocket", endpoint: socket.href },
      { transport: "http_stream", endpoint: at("connection/http_stream").href },
      { transport: "sse", endpoint: at("connection/sse").href },
    ],
    { emulationEndpoint: at("emulation").href },
  );
  follow(client);
  document.addEventListener("htmx:load", ({ target }) => follow(client, target));
  client.connect();
}
