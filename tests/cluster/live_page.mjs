// A page that shows a board with `live.js` and the official client, in Node or in a browser, and notes what went wrong:
// a row that was shown as of an earlier turn than before.

export function watch({ Centrifuge, live, address, url, token, channel, options = {} }) {
  const quick = { minReconnectDelay: 50, maxReconnectDelay: 500 };
  const client = new Centrifuge(address, { ...options, ...quick, token });
  const newest = new Map();
  const seen = { back: [], states: [], changes: 0, disconnects: 0 };
  const board = live(client, channel, {
    url,
    spread: 50,
    request: () => ({ headers: { Authorization: `Bearer ${token}` } }),
    subscription: { minResubscribeDelay: 50, maxResubscribeDelay: 500 },
    order: (one, other) => one.turn - other.turn,
  });
  const shown = (key, turn) => {
    if (turn < (newest.get(key) ?? 0)) seen.back.push(`${key}: ${turn} after ${newest.get(key)}`);
    newest.set(key, turn);
  };
  board.on('set', (key, { turn }) => shown(key, turn));
  board.on('change', () => (seen.changes += 1));
  board.on('state', (state, why) => seen.states.push(why ? `${state}: ${why.message}` : state));
  client.on('connecting', () => (seen.disconnects += 1));
  client.connect();
  return {
    board,
    client,
    told: () => ({ ...seen, state: board.state, rows: Object.fromEntries([...board.rows].map(([key, { turn }]) => [key, turn])) }),
  };
}
