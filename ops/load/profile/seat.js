// One virtual user in one room: enters, publishes, takes what comes, comes back after a cut, and checks at the end that
// nothing is missing. What the limits let through is noted; what they deny is an error only for who kept within them.

import { inBurst, MACHINE, now, sleep, until } from "./clock.js";
import { Closed, Link } from "./link.js";
import { Place } from "./place.js";
import { count, note, noteAdmitted, noteLatency, time } from "./tally.js";
import { connectRequest } from "./token.js";

const TOO_MANY = 111; // error of a command that a limit denied
export const FLOODED = 3013; // disconnect of a client that was denied too often
const CATCH_UP = 3_000; // milliseconds the last publications may take

export class Seat {
  constructor(events, { run, user, room, floods = false }) {
    this.events = events;
    this._run = run;
    this._floods = floods;
    this._number = 0;
    this._others = new Map(); // in channels without positions: the place in each publisher's own numbers
    this.user = user;
    this.room = room;
    this.place = null;
    this.link = null;
    this._early = null; // what came in the same moment as the answer to subscribe, before that was looked at
    this.waiting = 0; // publications without an answer so far
  }

  // Connect and subscribe over an open socket. Throws when either is refused. True when everything missed came.
  async enter(socket) {
    this._early = [];
    this.link = new Link(socket, (push) => this._push(push));
    const recover = this._epoch && this.place ? { recover: true, epoch: this._epoch, offset: this.place.position } : {};
    const answers = this.link.callAll([
      ["connect", connectRequest(this.user)],
      ["subscribe", { channel: this.room, ...recover }],
    ]);
    for (const answer of answers) answer.catch(() => {});
    for (const [index, name] of ["connect", "subscribe"].entries()) {
      count(this.events, "asked");
      const { error } = await answers[index];
      if (!error) continue;
      count(this.events, "refused");
      throw new Error(`${name} refused with ${error.code}`);
    }
    const recovered = this._settle((await answers[1]).result);
    for (const publication of this._early.splice(0)) this._take(publication);
    this._early = null;
    return recovered;
  }

  // One publication whose time counts from `intended` (milliseconds of the clock), whenever it is really sent.
  async publish(intended) {
    return this.publishAll([intended]);
  }

  // Several in one frame; each is answered by itself.
  async publishAll(times) {
    const asked = now();
    const commands = times.map((t) => ["publish", { channel: this.room, data: this._data(t) }]);
    this.waiting += commands.length;
    count(this.events, "asked", commands.length);
    await Promise.all(this.link.callAll(commands).map((answer) => this._judge(answer, asked)));
  }

  // Be there until so many seconds of the run. Throws Closed when the server or the network ends it before.
  async stay(seconds) {
    const over = this.link.closed.then((code) => {
      throw new Closed(code);
    });
    await Promise.race([until(seconds), over]);
  }

  // Ask for the top of the stream and wait for what has not come yet; then count what is lost, and go.
  async leave() {
    const { result } = await this.link.call("history", { channel: this.room, limit: 0 });
    if (result && this.place) {
      const deadline = now() + CATCH_UP;
      while (this.place.position < (result.offset ?? 0) && now() < deadline) await sleep(20);
      this.place.end(result.offset ?? 0);
      count(this.events, "settled");
    }
    this.tell();
    this.link.close();
  }

  // Count what was found in the stream.
  tell() {
    const places = [this.place, ...this._others.values()].filter(Boolean);
    const sum = (name) => places.reduce((total, place) => total + place[name], 0);
    for (const name of ["lost", "doubled", "misordered"]) count(this.events, name, sum(name));
    note("lost", sum("lost"));
  }

  _settle(result) {
    if (!result.epoch) return false;
    const recovered = result.recovered === true && result.epoch === this._epoch;
    if (this.place === null) this.place = new Place(result.offset ?? 0);
    else if (!recovered) this.place.restart(result.offset ?? 0);
    this._epoch = result.epoch;
    for (const publication of result.publications ?? []) this._take(publication);
    return recovered;
  }

  _push(push) {
    if (push.pub && this._early) this._early.push(push.pub);
    else if (push.pub) this._take(push.pub);
    if (push.unsubscribe) {
      count(this.events, "refused");
      this.link.cut();
    }
  }

  _take(publication) {
    const { offset, data } = publication;
    if (this.place && offset) this.place.take(offset);
    if (data?.run !== this._run) return;
    if (!offset) this._other(data.by).take(data.n);
    if (data.machine !== MACHINE || data.flood) return;
    const took = now() - data.t;
    time(this.events, "delivery", took);
    if (inBurst()) time(this.events, "burst_delivery", took);
    noteLatency(took);
  }

  _other(publisher) {
    if (!this._others.has(publisher)) this._others.set(publisher, new Place());
    return this._others.get(publisher);
  }

  _data(t) {
    this._number += 1;
    const flood = this._floods ? { flood: true } : {};
    return { run: this._run, by: this.user, n: this._number, t, machine: MACHINE, ...flood };
  }

  async _judge(answer, asked) {
    try {
      const { error } = await answer;
      if (!error) noteAdmitted("publish", this.user, asked);
      else if (error.code === TOO_MANY && this._floods) this.deny(TOO_MANY);
      else this._fail();
    } catch (error) {
      if (this._floods && error.closeCode === FLOODED) this.deny(TOO_MANY);
      else if (!(error instanceof Closed)) this._fail();
    } finally {
      this.waiting -= 1;
    }
  }

  // A denial that was asked for.
  deny(code) {
    count(this.events, `denied.${code}`);
    note("denied");
  }

  _fail() {
    count(this.events, "refused");
    note("failed");
  }
}
