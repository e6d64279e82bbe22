// One room: its subscription, its messages in offset order, who is in it, and a count of what should never happen
// (gaps and duplicates of the offset). It tells the page through the callbacks it was given and touches no document.

import { learn } from "./names.js";
import { Roster } from "./roster.js";

const KEEP = 300; // messages held per room

export class Room {
  messages = [];
  roster = new Roster();
  unread = 0;
  gaps = 0;
  duplicates = 0;
  offset = 0;
  #epoch = "";
  #catchingUp = null;
  #sub;

  /** `page`: {live, message, reloaded, people, joined, left, trouble}, each called with this room first. */
  constructor(client, channel, page) {
    this.client = client;
    this.channel = channel;
    this.page = page;
    this.#sub = client.newSubscription(channel);
    this.#sub.on("subscribed", (context) => this.#subscribed(context));
    this.#sub.on("publication", (context) => this.#publication(context));
    this.#sub.on("join", ({ info }) => this.#joined(info));
    this.#sub.on("leave", ({ info }) => this.#left(info));
    this.#sub.on("error", ({ error }) => page.trouble(this, error));
    this.#sub.on("unsubscribed", ({ code, reason }) => code > 0 && page.trouble(this, { code, message: reason }));
    this.#sub.subscribe();
  }

  get isLive() {
    return this.#sub.state === "subscribed";
  }

  publish(data) {
    return this.#sub.publish(data);
  }

  leave() {
    this.#sub.unsubscribe();
    this.client.removeSubscription(this.#sub);
  }

  #subscribed(context) {
    const { wasRecovering, recovered, streamPosition } = context;
    if (!recovered && streamPosition) {
      this.#epoch = streamPosition.epoch;
      this.offset = streamPosition.offset;
    }
    // The library delivers what was recovered right after this handler, in the same turn.
    this.#catchingUp = { missed: 0 };
    queueMicrotask(() => {
      const { missed } = this.#catchingUp;
      this.#catchingUp = null;
      this.page.live(this, { wasRecovering, recovered, missed });
    });
    if (!recovered) this.#loadHistory();
    this.#loadPresence();
  }

  #publication({ data, info, offset }) {
    if (offset) this.#count(offset);
    const message = readMessage(this.#epoch, offset, data, info);
    if (info) learn(info.client, message.nick) && this.page.people(this);
    message.recovered = this.#catchingUp !== null;
    if (message.kind === "say") {
      if (message.recovered) this.#catchingUp.missed += 1;
      this.#add(message);
    }
    this.page.message(this, message);
  }

  #count(offset) {
    if (offset <= this.offset) this.duplicates += 1;
    else this.gaps += offset - this.offset - 1;
    this.offset = Math.max(this.offset, offset);
  }

  #add(message) {
    this.messages.push(message);
    if (this.messages.length > KEEP) this.messages.splice(0, this.messages.length - KEEP);
  }

  async #loadHistory() {
    try {
      const { publications, epoch } = await this.#sub.history({ limit: 60, reverse: true });
      const known = new Set(this.messages.map((message) => message.key));
      const older = publications
        .reverse()
        .map(({ offset, data, info }) => readMessage(epoch, offset, data, info))
        .filter((message) => message.kind !== "hello" && !known.has(message.key));
      if (!older.length) return;
      // What is known of another epoch stays in front; within this epoch the offset is the order.
      const before = this.messages.filter((message) => message.epoch !== epoch);
      const now = this.messages.filter((message) => message.epoch === epoch).concat(older);
      this.messages = [...before, ...now.sort((a, b) => a.offset - b.offset)];
      this.page.reloaded(this);
    } catch (error) {
      this.page.trouble(this, error);
    }
  }

  async #loadPresence() {
    this.roster.asking();
    try {
      const { clients } = await this.#sub.presence();
      this.roster.answer(clients);
      this.page.people(this);
    } catch (error) {
      this.page.trouble(this, error);
    }
  }

  #joined(info) {
    this.roster.join(info);
    this.page.joined(this, info);
  }

  #left(info) {
    this.roster.leave(info);
    this.page.left(this, info);
  }
}

/** A message from whatever somebody published: other people's data, so every field is checked. */
function readMessage(epoch, offset, data, info) {
  const fields = data !== null && typeof data === "object" && !Array.isArray(data) ? data : { text: data };
  const text = typeof fields.text === "string" ? fields.text : JSON.stringify(fields.text ?? data);
  return {
    key: `${epoch}:${offset}`,
    epoch,
    offset,
    kind: fields.kind === "hello" ? "hello" : "say",
    id: typeof fields.id === "string" ? fields.id : "",
    nick: typeof fields.nick === "string" ? fields.nick : "",
    text: String(text).slice(0, 2000),
    instance: typeof fields.instance === "string" ? fields.instance.slice(0, 40) : "",
    at: Number.isFinite(fields.at) ? fields.at : null,
    info: info ?? null,
  };
}
