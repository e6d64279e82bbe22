// What Artillery calls. WebSocket clients: `client`. HTTP: `goesOn`, `ask`, `answered`.
// Rooms and users carry the run's id, so that no two runs meet.

import { burstIs, elapsed, inBurst, now, until } from "./clock.js";
import { ROLES, roles } from "./roles.js";
import { Seat } from "./seat.js";
import { count, note, noteAdmitted, tick, time } from "./tally.js";

// Artillery's `ensure` fails on what was never counted; so everything is, from zero.
const COUNTED = ["asked", "refused", "pages", "unserved", "lost", "doubled", "misordered", "cuts", "recovered"];

let sequence = null;
let visitors = 0;

// One WebSocket client from its connection to its end.
export async function client(context, events) {
  const { vars, ws } = context;
  elapsed();
  burstIs(Number(vars.floodFrom), Number(vars.floodFor));
  sequence ??= roles(vars);
  const { role, nth } = sequence.next().value;
  for (const name of COUNTED) count(events, name, 0);
  note("clients");
  tick(events);
  try {
    const seat = new Seat(events, whoIs(role, nth, vars));
    await seat.enter(ws);
    await ROLES[role](seat, vars, () => open(ws.constructor, ws.url));
  } catch (error) {
    note("failed");
    throw error;
  } finally {
    note("clients", -1);
  }
}

// Every client is a user of its own, but for those that flood: several share a user, and with it a limit.
function whoIs(role, nth, { $testId: run, prefix, rooms, floodUsers }) {
  const floods = role === "flooder";
  const user = floods ? `flood-${run}-${nth % floodUsers}` : `${role}-${run}-${process.pid}-${nth}`;
  return { run, user, room: `${prefix}${run}-${nth % rooms}`, floods };
}

function open(WebSocket, url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { handshakeTimeout: 10_000 });
    socket.once("open", () => resolve(socket));
    socket.once("error", reject);
  });
}

// An HTTP client goes on until the run is over; a flooding one while the flood is on.
export function goesOn(context, next) {
  const { vars } = context;
  const end = vars.flooding ? Number(vars.floodFrom) + Number(vars.floodFor) : Infinity;
  next(elapsed() < Math.min(end, vars.stay - 1));
}

// Who asks: the limit of HTTP counts by this name.
export function visitor(context, events, next) {
  const number = visitors++;
  context.vars.visitor = `visitor-${context.vars.$testId}-${process.pid}-${number}`;
  next();
}

// Begins when the flood does.
export function flooder(context, events, next) {
  const { vars } = context;
  vars.flooding = true;
  vars.visitor = `flood-${vars.$testId}-${visitors++ % vars.floodUsers}`;
  until(Math.min(Number(vars.floodFrom), vars.stay - 1)).then(next);
}

export function ask(request, context, events, next) {
  context.vars.asked = now();
  if (!context.vars.flooding) count(events, "pages");
  next();
}

export function answered(request, response, context, events, next) {
  const { asked, flooding, visitor: name } = context.vars;
  if (response.statusCode < 400) noteAdmitted("http", name, asked);
  if (flooding && response.statusCode === 429) {
    count(events, "denied.429");
    note("denied");
  } else if (response.statusCode >= 400) {
    count(events, "unserved");
    note("failed");
  }
  if (!flooding) {
    time(events, "page", now() - asked);
    if (inBurst()) time(events, "burst_page", now() - asked);
    note("pages");
  }
  next();
}
