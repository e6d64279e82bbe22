// The run's clock: the machine's monotonic one, in milliseconds, the same in all workers; and the run's beginning.

import { hostname } from "node:os";

export const MACHINE = hostname(); // times of another machine's clock are not compared with ours
export const now = () => Number(process.hrtime.bigint()) / 1e6;

let began = null;

// Seconds since the first virtual user of this worker.
export function elapsed() {
  began ??= now();
  return (now() - began) / 1000;
}

let burst = [Infinity, Infinity];

// When the flood is on, in seconds of the run.
export function burstIs(from, seconds) {
  burst = [from, from + seconds];
}

export const inBurst = () => elapsed() >= burst[0] && elapsed() < burst[1];

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));

// Wait until so many seconds after the beginning.
export const until = (seconds) => sleep((seconds - elapsed()) * 1000);
