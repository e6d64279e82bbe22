// node --test place.test.js

import assert from "node:assert/strict";
import test from "node:test";

import { Place } from "../../../ops/load/profile/place.js";

function after(position, ...numbers) {
  const place = new Place(position);
  for (const number of numbers) place.take(number);
  return [place.lost, place.doubled, place.misordered];
}

test("a stream in order has no fault", () => assert.deepEqual(after(4, 5, 6, 7), [0, 0, 0]));
test("the first decides where nothing is known", () => assert.deepEqual(after(null, 9, 10), [0, 0, 0]));
test("what is skipped is lost", () => assert.deepEqual(after(0, 1, 4), [2, 0, 0]));
test("what comes again is doubled", () => assert.deepEqual(after(0, 1, 2, 2, 1), [0, 2, 0]));
test("what comes late is out of order, and not lost", () => assert.deepEqual(after(0, 1, 3, 2), [0, 0, 1]));
test("late and then again is both", () => assert.deepEqual(after(0, 1, 3, 2, 2), [0, 1, 1]));

test("what is not there at the end is lost", () => {
  const place = new Place(0);
  place.take(1);
  place.end(3);
  assert.equal(place.lost, 2);
});

test("what cannot be recovered is lost, even when nobody can say how much", () => {
  const place = new Place(10);
  place.restart(14);
  place.restart(0);
  assert.equal(place.lost, 5);
  place.take(1);
  assert.equal(place.doubled, 0);
});
