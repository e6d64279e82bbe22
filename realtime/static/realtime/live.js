// A channel of live models as a Map that is always right (docs/LIVE.md, "In the page").
//
//   const board = live(client, "board:7");        // `client`: the page's Centrifuge, SDK 5.8 or newer
//   board.on("change", () => draw(board.list));
//
// Every change has a version, and versions of a channel rise in the order of commits. A page of the state has one too:
// it holds every change up to it. So whatever comes twice is known by one number, and no row ever goes back.

const FINAL = (status) => status >= 400 && status < 500 && ![401, 408, 410, 425, 429].includes(status);
const same = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);
const read = (data) => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);

/**
 * `value` makes of a publication or a row of the state what is kept of it, with its version; `first` is a page of the state
 * that the document brought along.
 */
export function live(
  client,
  channel,
  { url, request, order, subscription, first: brought, value = ({ data }) => data, spread = 1000, timeout = 30000 } = {},
) {
  const rows = new Map(); // key → data, as shown
  const handlers = {};
  let version = 0; // the rows hold all changes up to it
  let state = "connecting", list, sub, timer, told, settle, refusal, closed;
  const ready = new Promise((resolve, reject) => (settle = { resolve, reject }));
  ready.catch(() => {}); // whoever waits for it is told; nobody has to

  url ??= "/flotilla/state/" + encodeURIComponent(channel);
  const tell = (handler, about) => {
    try {
      handler(...about);
    } catch (error) {
      queueMicrotask(() => { throw error; }); // the page's own: it goes to the console, and stops nothing here
    }
  };
  const emit = (event, ...about) => [...(handlers[event] ?? [])].forEach((handler) => tell(handler, about));

  function become(now, why) {
    if (state !== now) emit("state", (state = now), why);
  }

  function changed() {
    list = undefined;
    if (told) return;
    told = true; // once for all that one answer, or one message, brings
    queueMicrotask(() => {
      told = false;
      if (!closed) emit("change", rows);
    });
  }

  function set(key, data) {
    const before = rows.get(key);
    if (before !== undefined && same(before, data)) return;
    rows.set(key, data);
    emit("set", key, data, before);
    changed();
  }

  function remove(key) {
    const before = rows.get(key);
    if (!rows.delete(key)) return;
    emit("remove", key, before, version);
    changed();
  }

  async function ask(query) {
    const answer = await fetch(url + (query && (url.includes("?") ? "&" : "?") + query), {
      signal: AbortSignal.timeout(timeout),
      ...(await request?.()),
    });
    if (answer.ok) return answer.json();
    const error = new Error(`${channel}: the state was answered with ${answer.status}`);
    throw Object.assign(error, { status: answer.status });
  }

  // The SDK's `getState`: all pages, then their rows at once. No publication comes while it runs.
  async function load(mine) {
    const found = new Map();
    let first, page;
    do {
      page = (!page && brought) || await ask(page ? `after=${encodeURIComponent(page.next)}&since=${first.version}` : "");
      if (mine !== sub) throw new Error(`${channel}: closed`);
      first ??= page;
      for (const key of Object.keys(page.removed ?? {})) found.delete(key);
      for (const row of page.rows.concat(page.changed ?? [])) found.set(row.key, value(row, page.version));
    } while (page.next);
    brought = undefined;
    version = page.version; // with what changed since the first page, the last one makes all of them as new as itself
    for (const key of [...rows.keys()]) if (!found.has(key)) remove(key);
    for (const [key, data] of found) set(key, data);
    settle.resolve(handle);
    return { offset: page.offset, epoch: page.epoch };
  }

  function publication({ data }) {
    const change = read(data);
    if (!(change?.version > version)) return; // it is in the rows that were loaded
    if (change.op === "reload") return again();
    version = change.version;
    if (change.op === "set") set(change.key, value(change, version));
    if (change.op === "remove") remove(change.key);
  }

  // More has changed than was told. What is shown stays until all of it has been loaded.
  function again() {
    const old = sub;
    sub = undefined;
    client.removeSubscription(old);
    become("stale");
    timer = setTimeout(start, Math.random() * spread);
  }

  function start() {
    const mine = (sub = client.newSubscription(channel, {
      ...subscription,
      getState: () => load(mine).catch((error) => {
        if (mine === sub && FINAL(error.status)) (refusal = error), mine.unsubscribe();
        throw error;
      }),
    }));
    const on = (event, does) => mine.on(event, (about) => mine === sub && does(about));
    on("publication", publication);
    on("subscribing", () => become(state === "connecting" ? state : "stale"));
    on("subscribed", () => queueMicrotask(() => mine === sub && mine.state === "subscribed" && become("live")));
    on("unsubscribed", ({ code, reason }) => {
      sub = undefined;
      client.removeSubscription(mine);
      settle.reject((refusal ??= Object.assign(new Error(`${channel}: ${reason}`), { code })));
      become("refused", refusal);
    });
    mine.subscribe();
  }

  const handle = {
    rows,
    ready,
    get list() {
      return (list ??= order ? [...rows.values()].sort(order) : [...rows.values()]);
    },
    get state() {
      return state;
    },
    on(event, handler) {
      (handlers[event] ??= new Set()).add(handler);
      return () => handlers[event].delete(handler);
    },
    close() {
      closed = true;
      clearTimeout(timer);
      const old = sub;
      sub = undefined;
      if (old) client.removeSubscription(old);
      settle.reject(new Error(`${channel}: closed`));
    },
  };
  start();
  return handle;
}
