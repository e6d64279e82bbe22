// What `live.js` makes of any order in which pages and publications may come, with everything around it made up: a
// database whose transactions commit one by one, a relay behind it, a stream that is lost now and then, and a client that
// behaves as the SDK does. A seed decides what happens next. After each step no row may be older than it was shown
// before; at the end, when all is quiet, the Map must be the database.
//
//     node interleavings.mjs live.js first-seed seeds steps

import { readFileSync } from 'node:fs';

const [path, first, seeds, steps] = process.argv.slice(2);
const { live } = await import('data:text/javascript,' + encodeURIComponent(readFileSync(path, 'utf8')));
const KEYS = 12;
const counts = { loads: 0, pages: 0, publications: 0, refused: 0, reloads: 0, epochs: 0, purges: 0, cuts: 0, removed: 0, changed: 0 };

function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// The database with its outbox, the relay and the stream.
const name = (index) => 'k' + String(index).padStart(2, '0');

class World {
  constructor(chance) {
    Object.assign(this, { chance, rows: new Map(), outbox: [], position: 0, epoch: 0, stream: [], sent: 0, shown: 0 });
    this.below = () => Math.floor(chance() * KEYS);
  }
  // A transaction: some rows change, each with one row of the outbox; or very many, which is told as one reload.
  commit() {
    const touched = new Set(Array.from({ length: 1 + Math.floor(this.chance() * 3) }, () => name(this.below())));
    const bulk = this.chance() < 0.06;
    for (const key of touched) {
      const gone = this.rows.has(key) && this.chance() < 0.4;
      if (!bulk) this.position += 1;
      const at = bulk ? this.position + 1 : this.position;
      if (gone) this.rows.delete(key);
      else this.rows.set(key, { at });
      if (!bulk) this.outbox.push({ op: gone ? 'remove' : 'set', key, version: at, data: gone ? undefined : { at } });
    }
    if (bulk) this.outbox.push({ op: 'reload', version: ++this.position });
  }
  // The relay appends what the stream does not have, in order.
  relay() {
    const next = this.outbox.find((row) => row.version > this.sent);
    if (!next) return;
    this.sent = next.version;
    this.stream.push(next);
  }
  top() {
    return { offset: this.stream.length, epoch: String(this.epoch) };
  }
  // Rows that were sent are dropped from the outbox after a while: then the database knows no position of the channel.
  purge() {
    counts.purges += 1;
    this.outbox = this.outbox.filter((row) => row.version > this.sent || this.chance() < 0.5);
  }
  // Redis comes back without the stream; what the outbox still has is sent again.
  lose() {
    counts.epochs += 1;
    Object.assign(this, { epoch: this.epoch + 1, stream: [], sent: 0 });
  }
  // The position as it was when the request came, everything else as it is now.
  page(query, position) {
    counts.pages += 1;
    const asked = new URLSearchParams(query);
    const after = asked.get('after') ?? '';
    const keys = [...this.rows.keys()].sort().filter((key) => key > after);
    const size = 1 + this.below();
    const last = keys.length > size ? keys[size - 1] : '~';
    if (last === '~') this.floors = new Map(Array.from({ length: KEYS }, (_, index) => [name(index), this.position]));
    const version = Math.max(0, ...this.outbox.map((row) => row.version));
    const answer = { ...position, version, rows: keys.slice(0, size).map((key) => ({ key, data: { ...this.rows.get(key) } })) };
    if (keys.length > size) answer.next = keys[size - 1];
    const changed = [];
    if (after) {
      if (this.outbox.some((row) => row.op === 'reload' && row.version > Number(asked.get('since')))) return null;
      const since = this.outbox.filter((row) => row.version > Number(asked.get('since')));
      const removed = since.filter((row) => row.op === 'remove' && !this.rows.has(row.key));
      changed.push(...new Set(since.filter((row) => this.rows.has(row.key)).map((row) => row.key)));
      answer.removed = Object.fromEntries(removed.map((row) => [row.key, row.version]));
      if (!answer.next) answer.changed = changed.map((key) => ({ key, data: { ...this.rows.get(key) } }));
      counts.removed += removed.length;
      counts.changed += answer.changed?.length ?? 0;
    }
    return answer;
  }
}

// As the SDK: it loads the state where it has no position, else recovers, and is told 112 where that cannot be.
class Subscription {
  constructor(world, options) {
    Object.assign(this, { world, options, handlers: {}, state: 'unsubscribed', position: null, busy: false, floors: new Map() });
  }
  on(event, handler) {
    (this.handlers[event] ??= []).push(handler);
  }
  emit(event, about) {
    (this.handlers[event] ?? []).forEach((handler) => handler(about));
  }
  subscribe() {
    this.state = 'subscribing';
    this.emit('subscribing', {});
  }
  unsubscribe() {
    this.state = 'unsubscribed';
    this.emit('unsubscribed', { code: 0, reason: 'unsubscribe called' });
  }
  // One step of whatever it has to do.
  step() {
    if (this.state === 'subscribing' && !this.busy) {
      if (!this.position) {
        this.busy = true;
        counts.loads += 1;
        this.options.getState().then(
          (position) => Object.assign(this, { busy: false, position, floors: this.world.floors }),
          () => (this.busy = false),
        );
      } else if (this.position.epoch !== String(this.world.epoch) || this.position.offset > this.world.stream.length) {
        this.position = null;
      } else {
        this.state = 'subscribed';
        this.emit('subscribed', {});
      }
    } else if (this.state === 'subscribed') {
      if (this.position.epoch !== String(this.world.epoch)) this.cut();
      else if (this.position.offset < this.world.stream.length) {
        const publication = this.world.stream[this.position.offset];
        this.position = { ...this.position, offset: this.position.offset + 1 };
        counts.publications += 1;
        if (publication.op === 'reload') counts.reloads += 1;
        const before = this.world.shown;
        this.emit('publication', { data: structuredClone(publication) });
        if (this.world.shown === before) counts.refused += 1;
        else if (publication.version <= this.floors.get(publication.key)) this.world.problem(publication, this.floors);
      }
    }
  }
  cut() {
    if (this.state !== 'subscribed') return;
    counts.cuts += 1;
    this.subscribe();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function run(seed) {
  const chance = random(seed);
  const world = new World(chance);
  const requests = [];
  const subscriptions = new Map();
  globalThis.fetch = (url) => new Promise((resolve, reject) => requests.push({ url, resolve, reject, position: world.top() }));
  const client = {
    newSubscription(channel, options) {
      if (subscriptions.has(channel)) throw new Error('there is one already');
      subscriptions.set(channel, new Subscription(world, options));
      return subscriptions.get(channel);
    },
    removeSubscription(subscription) {
      for (const [channel, one] of subscriptions) if (one === subscription) subscriptions.delete(channel);
      if (subscription.state !== 'unsubscribed') subscription.unsubscribe();
    },
  };
  const answerOne = () => {
    const [{ url, resolve, reject, position }] = requests.splice(Math.floor(chance() * requests.length), 1);
    if (chance() < 0.1) return reject(new TypeError('the network is away'));
    const answer = world.page(url.split('?')[1] ?? '', position);
    resolve(answer ? { ok: true, json: async () => answer } : { ok: false, status: 410 });
  };
  for (let index = 0; index < 6; index += 1) world.commit();
  const board = live(client, 'board:1', { spread: 0 });
  const newest = new Map(); // key → the newest that was shown of it, or of its removal
  const problems = [];
  const told = new Map();
  world.problem = ({ key, version }, floors) => problems.push(`${key} as of ${version} after ${floors.get(key)} was loaded`);
  const shown = (key, at) => {
    world.shown += 1;
    if (at < (newest.get(key) ?? 0)) problems.push(`${key} went back from ${newest.get(key)} to ${at}`);
    newest.set(key, at);
  };
  board.on('set', (key, data) => (shown(key, data.at), told.set(key, data.at)));
  board.on('remove', (key, before) => (shown(key, before.at + 0.5), told.delete(key)));

  const actions = [
    [5, () => world.commit()],
    [6, () => world.relay()],
    [8, () => subscriptions.get('board:1')?.step()],
    [6, () => requests.length && answerOne()],
    [0.5, () => subscriptions.get('board:1')?.cut()],
    [0.15, () => world.lose()],
    [0.3, () => subscriptions.get('board:1')?.busy || world.purge()], // pages are read within the time that rows are kept
  ];
  const total = actions.reduce((sum, [weight]) => sum + weight, 0);
  for (let step = 0; step < Number(steps); step += 1) {
    let dart = chance() * total;
    actions.find(([weight]) => (dart -= weight) < 0)[1]();
    if (chance() < 0.7) await turn();
  }
  const quiet = () => board.state === 'live' && world.sent >= world.position && !requests.length
    && subscriptions.get('board:1')?.position?.offset === world.stream.length;
  // After a loss the stream has only what the outbox kept: the relay is done when nothing of it is above what was sent.
  for (let round = 0; round < 5000; round += 1) {
    world.relay();
    if (!world.outbox.some((row) => row.version > world.sent)) world.sent = Math.max(world.sent, world.position);
    subscriptions.get('board:1')?.step();
    if (requests.length) answerOne();
    await turn();
    await new Promise((resolve) => (subscriptions.size ? resolve() : setTimeout(resolve, 1)));
    if (quiet()) break;
  }
  const sorted = (map) => JSON.stringify([...map].sort());
  if (!quiet()) problems.push(`it never became quiet: ${board.state}`);
  if (sorted(board.rows) !== sorted(world.rows)) problems.push(`shown ${sorted(board.rows)}, in the database ${sorted(world.rows)}`);
  if (sorted(told) !== sorted(new Map([...board.rows].map(([key, { at }]) => [key, at])))) problems.push('the events say something else');
  board.close();
  return problems.map((problem) => `seed ${seed}: ${problem}`);
}

const problems = [];
for (let seed = Number(first); seed < Number(first) + Number(seeds); seed += 1) problems.push(...(await run(seed)));
process.stdout.write(JSON.stringify({ problems: problems.slice(0, 20), counts }));
