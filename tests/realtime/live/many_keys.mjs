// Very many keys come and go in one channel: what `live.js` knows of those that are gone must not grow.
//
//     node --expose-gc many_keys.mjs live.js keys

import { readFileSync } from 'node:fs';

const [path, keys] = process.argv.slice(2);
const { live } = await import('data:text/javascript,' + encodeURIComponent(readFileSync(path, 'utf8')));
const handlers = {};
let load;
const subscription = { state: 'subscribing', on: (event, handler) => (handlers[event] = handler), subscribe() {} };
const client = {
  newSubscription: (channel, { getState }) => ((load = getState), subscription),
  removeSubscription() {},
};
const first = { offset: 0, epoch: 'a', version: 5, rows: [{ key: 'stays', data: {} }], next: 'c' };
const second = { offset: 0, epoch: 'a', version: 9, rows: [{ key: 'goes', data: {} }], removed: { gone: 7 }, changed: [] };
const answers = [first, second];
globalThis.fetch = async () => ({ ok: true, json: async () => answers.shift() });
const board = live(client, 'board:1');
await load();
subscription.state = 'subscribed';
handlers.subscribed({});
const publish = (op, key, version) => handlers.publication({ data: { op, key, version, data: op === 'set' ? {} : undefined } });
let version = 9;
const round = (from, to) => {
  for (let index = from; index < to; index += 1) {
    publish('set', `key ${index}`, ++version);
    publish('remove', `key ${index}`, ++version);
  }
};
publish('remove', 'goes', ++version);
round(0, 1000);
gc();
const before = process.memoryUsage().heapUsed;
round(1000, Number(keys));
gc();
process.stdout.write(JSON.stringify({ rows: board.rows.size, grown: process.memoryUsage().heapUsed - before }));
