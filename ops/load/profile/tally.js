// What is told beside Artillery's own figures, into the folder LOAD_JOURNAL when there is one: once a second how the
// run goes (`progress-*.jsonl`), and everything that a limit admitted (`admitted-*.jsonl`: policy, key, and in
// microseconds when it was asked and answered; the decision lies between). Each worker has files of its own.

import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { threadId } from "node:worker_threads";

import { elapsed, now, sleep } from "./clock.js";

const FOLDER = process.env.LOAD_JOURNAL;
const PULSE = 50; // milliseconds
const counts = { clients: 0, pages: 0, delivered: 0, lost: 0, denied: 0, failed: 0 };
let latencies = [];
let lateness = [];
let admitted = [];
let ticking = false;

// Counted by name into Artillery's report: `flotilla.NAME`.
export function count(events, name, by = 1) {
  events.emit("counter", `flotilla.${name}`, by);
}

// A time in milliseconds into Artillery's report; it drops what is negative, so nothing is.
export function time(events, name, milliseconds) {
  events.emit("histogram", `flotilla.${name}`, Math.max(0, milliseconds));
}

// Add to what the progress shows.
export function note(name, by = 1) {
  counts[name] += by;
}

export function noteLatency(milliseconds) {
  counts.delivered += 1;
  latencies.push(milliseconds);
}

export function noteAdmitted(policy, key, asked) {
  if (FOLDER) admitted.push(JSON.stringify([policy, key, Math.floor(asked * 1000), Math.ceil(now() * 1000)]));
}

// Begin telling, once in a worker. The pulse measures how late this process itself is: what it adds to each time.
export async function tick(events) {
  if (ticking) return;
  ticking = true;
  let due = now();
  let told = 0;
  while (counts.clients > 0 || told === 0) {
    due += PULSE;
    await sleep(due - now());
    const late = Math.max(0, now() - due);
    due = Math.max(due, now() - PULSE);
    lateness.push(late);
    time(events, "late", late);
    if (elapsed() >= told + 1) {
      told = Math.floor(elapsed());
      flush(told);
    }
  }
  flush(told + 1);
  ticking = false;
}

function flush(second) {
  const line = { second, ...counts, p95: p95(latencies), late: p95(lateness) };
  latencies = [];
  lateness = [];
  if (!FOLDER) return;
  append("progress", [JSON.stringify(line)]);
  append("admitted", admitted);
  admitted = [];
}

function append(name, lines) {
  if (lines.length) appendFileSync(join(FOLDER, `${name}-${process.pid}-${threadId}.jsonl`), `${lines.join("\n")}\n`);
}

function p95(values) {
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  return Math.round(values[Math.ceil(values.length * 0.95) - 1] * 100) / 100;
}
