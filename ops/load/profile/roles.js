// What each kind of virtual user does with its seat, along the run's own clock (seconds since it began):
// `stay` is when all leave, `floodFrom` and `floodFor` when the flood is on, `waves` when clients are cut off.

import { elapsed, now, sleep } from "./clock.js";
import { Closed } from "./link.js";
import { FLOODED } from "./seat.js";
import { count, note, time } from "./tally.js";

const QUIET = 3; // seconds before the end in which nobody publishes, so that the last can arrive
const WAVE = 6; // seconds over which a wave spreads
const PATIENCE = 30_000; // milliseconds of attempts to come back
const MOST_WAITING = 100; // publications of a flooding client without an answer
const BATCH = 5; // publications a flooding client sends in one frame

let flooders = 0;

export const ROLES = { listener: listen, talker: talk, wanderer: wander, flooder: flood };

// The role of each client in turn, and how many have it already: spread evenly, in the numbers of the profile.
export function* roles(vars) {
  const wanted = Object.keys(ROLES).map((name) => ({ name, share: Number(vars[`${name}s`] ?? 0), given: 0 }));
  const present = wanted.filter(({ share }) => share > 0);
  while (present.length) {
    const next = present.reduce((a, b) => ((b.given + 1) / b.share < (a.given + 1) / a.share ? b : a));
    yield { role: next.name, nth: next.given };
    next.given += 1;
  }
}

async function listen(seat, vars) {
  await seat.stay(vars.stay - 1);
  await seat.leave();
}

// Publishes at an even pace whatever the server does: who answers late gets no fewer (open loop).
async function talk(seat, vars) {
  const every = vars.every * 1000;
  let due = now() + Math.random() * every;
  while (elapsed() < vars.stay - QUIET) {
    await sleep(due - now());
    seat.publish(due);
    if (seat.link.closeCode !== null) throw new Closed(seat.link.closeCode);
    due += every;
  }
  await listen(seat, vars);
}

// Is cut off in waves, comes back wherever it is let in, and wants what it missed.
async function wander(seat, vars, open) {
  for (const wave of wavesBefore(vars.stay - WAVE - QUIET, vars.waves)) {
    await seat.stay(wave + Math.random() * WAVE);
    const cut = now();
    seat.link.cut();
    count(seat.events, "cuts");
    const recovered = await comeBack(seat, open, cut);
    time(seat.events, "recovery", now() - cut);
    if (recovered) count(seat.events, "recovered");
  }
  await listen(seat, vars);
}

// A run that was made shorter has fewer waves.
const wavesBefore = (seconds, waves) =>
  String(waves)
    .split(",")
    .map(Number)
    .filter((wave) => wave < seconds);

async function comeBack(seat, open, cut) {
  for (let attempt = 0; ; attempt += 1) {
    await sleep(Math.random() * Math.min(5000, 200 * 2 ** attempt));
    try {
      return await seat.enter(await open());
    } catch (error) {
      if (now() - cut > PATIENCE) throw error;
    }
  }
}

// Asks for far more than it may, every fourth twice as fast, then is gone without a word; whom the server throws out
// before has had its due.
async function flood(seat, vars) {
  const over = Math.min(Number(vars.floodFrom) + Number(vars.floodFor), vars.stay - QUIET);
  await seat.stay(Math.min(Number(vars.floodFrom) + Math.random(), over));
  const every = (BATCH / (vars.floodRate * (flooders++ % 4 === 0 ? 2 : 1))) * 1000;
  for (let due = now(); elapsed() < over && seat.link.closeCode === null; due += every) {
    await sleep(due - now());
    if (seat.waiting < MOST_WAITING) seat.publishAll(Array(BATCH).fill(due));
  }
  if (seat.link.closeCode === FLOODED) seat.deny(FLOODED);
  else if (seat.link.closeCode !== null) throw new Closed(seat.link.closeCode);
  seat.link.cut();
}
