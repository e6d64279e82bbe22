// node --test seat.test.js: one virtual user over a socket whose other end is the test.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import test from "node:test";

import { now } from "../../../ops/load/profile/clock.js";
import { Seat } from "../../../ops/load/profile/seat.js";

class Socket extends EventEmitter {
  sent = [];

  send(text) {
    this.sent.push(...text.split("\n").map((line) => JSON.parse(line)));
  }

  receive(...messages) {
    this.emit("message", messages.map((message) => JSON.stringify(message)).join("\n"));
  }

  terminate() {
    this.emit("close", 1006);
  }
}

function seatOf(floods = false) {
  const events = new EventEmitter();
  const counted = {};
  events.on("counter", (name, by) => (counted[name] = (counted[name] ?? 0) + by));
  events.on("histogram", (name) => (counted[name] = (counted[name] ?? 0) + 1));
  return { seat: new Seat(events, { run: "r", user: "u", room: "room", floods }), counted };
}

const subscribed = (offset, more) => ({ id: 2, subscribe: { epoch: "e", offset, ...more } });
const publication = (offset, data = {}) => ({ push: { channel: "room", pub: { offset, data } } });

async function entered(floods) {
  const { seat, counted } = seatOf(floods);
  const socket = new Socket();
  const entering = seat.enter(socket);
  socket.receive({ id: 1, connect: {} }, subscribed(5), publication(6), publication(7));
  await entering;
  return { seat, socket, counted };
}

test("what comes together with the answer to subscribe is not lost", async () => {
  const { seat } = await entered();
  assert.equal(seat.place.position, 7);
  assert.equal(seat.place.lost, 0);
});

test("after a cut it asks for its place, and what it missed counts as arrived", async () => {
  const { seat, socket } = await entered();
  socket.terminate();
  const again = new Socket();
  const entering = seat.enter(again);
  assert.deepEqual(again.sent[1].subscribe, { channel: "room", recover: true, epoch: "e", offset: 7 });
  const missed = [{ offset: 8 }, { offset: 9 }];
  again.receive({ id: 1, connect: {} }, subscribed(7, { recovered: true, publications: missed }), publication(10));
  assert.equal(await entering, true);
  assert.deepEqual([seat.place.position, seat.place.lost], [10, 0]);
});

test("what cannot be recovered is lost", async () => {
  const { seat, socket } = await entered();
  socket.terminate();
  const again = new Socket();
  const entering = seat.enter(again);
  again.receive({ id: 1, connect: {} }, subscribed(12, { recovered: false }));
  assert.equal(await entering, false);
  assert.equal(seat.place.lost, 5);
});

for (const [floods, name] of [
  [true, "flotilla.denied.111"],
  [false, "flotilla.refused"],
]) {
  test(`a denial of ${floods ? "a flood" : "who kept within the limits"} is counted as ${name}`, async () => {
    const { seat, socket, counted } = await entered(floods);
    const publishing = seat.publish(now());
    socket.receive({ id: 3, error: { code: 111, message: "too many requests" } });
    await publishing;
    assert.equal(counted[name], 1);
    assert.equal(Object.keys(counted).filter((one) => /denied|refused/.test(one)).length, 1);
  });
}

test("the time of a publication counts from when it was meant, and a flood's is not measured", async () => {
  const { seat, socket, counted } = await entered();
  seat.publish(now() - 500).catch(() => {});
  const { data } = socket.sent.at(-1).publish;
  const others = [publication(9, { ...data, flood: true }), publication(10, { ...data, run: "other" })];
  socket.receive(publication(8, data), ...others);
  assert.equal(counted["flotilla.delivery"], 1);
  assert.equal(seat.place.position, 10);
  socket.terminate();
});

test("in a channel without positions, each publisher's own numbers tell", async () => {
  const { seat, counted } = seatOf();
  const socket = new Socket();
  const entering = seat.enter(socket);
  socket.receive({ id: 1, connect: {} }, { id: 2, subscribe: {} });
  await entering;
  const from = (by, n) => ({ push: { channel: "room", pub: { data: { run: "r", by, n, t: now() } } } });
  socket.receive(from("a", 4), from("b", 1), from("a", 6), from("b", 2), from("b", 2));
  seat.tell();
  assert.equal(counted["flotilla.lost"], 1);
  assert.equal(counted["flotilla.doubled"], 1);
});

test("an unsubscribe by the server is an error", async () => {
  const { seat, socket, counted } = await entered();
  socket.receive({ push: { channel: "room", unsubscribe: { code: 2500, reason: "insufficient state" } } });
  assert.equal(counted["flotilla.refused"], 1);
  assert.equal(await seat.link.closed, 1006);
});
