// A page's handlers throw: its errors are its own, and the Map is right all the same.
//
//     node bad_handlers.mjs live.js

import { readFileSync } from 'node:fs';

const [path] = process.argv.slice(2);
const { live } = await import('data:text/javascript,' + encodeURIComponent(readFileSync(path, 'utf8')));
const handlers = {};
const errors = [];
let load;
process.on('uncaughtException', (error) => errors.push(error.message));
const subscription = { state: 'subscribing', on: (event, handler) => (handlers[event] = handler), subscribe() {} };
const client = {
  newSubscription: (channel, { getState }) => ((load = getState), subscription),
  removeSubscription() {},
};
const rows = [{ key: 'a', data: 1 }, { key: 'b', data: 2 }];
globalThis.fetch = async () => ({ ok: true, json: async () => ({ offset: 3, epoch: 'e', version: 5, rows }) });
const board = live(client, 'board:1');
const seen = [];
for (const event of ['set', 'remove', 'change']) {
  board.on(event, () => { throw new Error(event); });
  board.on(event, () => seen.push(event));
}
const position = await load();
handlers.publication({ data: null });
handlers.publication({ data: { op: 'set', key: 'c', data: 3, version: 6 } });
handlers.publication({ data: { op: 'remove', key: 'a', version: 7 } });
await new Promise((resolve) => setImmediate(resolve));
process.stdout.write(JSON.stringify({ position, rows: [...board.rows], seen: [...new Set(seen)].sort(), errors: [...new Set(errors)].sort() }));
