// Drives the official JavaScript client: commands come as JSON lines on stdin, answers and events go out on stdout.
//
// {"id", "client", "do", ...} is answered with {"id", "result"} or {"id", "error": {code, message}}. Every event of a
// client is {"of", "event", "channel"?, ...}; times and names are as the client gives them, keys in snake_case.

import { createInterface } from 'node:readline';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const clients = new Map();
const fetches = new Map();
let fetchId = 0;

const write = (message) => process.stdout.write(JSON.stringify(message) + '\n');

const snake = (value) => {
  if (Array.isArray(value)) return value.map(snake);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key.replace(/[A-Z]/g, (letter) => '_' + letter.toLowerCase()),
      key === 'data' || key === 'tags' || key === 'clients' ? (key === 'clients' ? people(item) : item) : snake(item),
    ]),
  );
};
const people = (map) => Object.fromEntries(Object.entries(map).map(([id, info]) => [id, snake(info)]));

const flat = ({ type, ...context }) => (context.error ? { code: context.error.code, message: context.error.message } : context);

function watch(emitter, names, head) {
  for (const name of names) {
    emitter.on(name, (context) => write({ ...snake(flat(context)), ...head, event: head.server ? 'server_' + name : name }));
  }
}

// A token is asked for on stdout and given with {"do": "token", "fetch", "token"}.
const fetchToken = (client, channel) =>
  new Promise((resolve) => {
    fetchId += 1;
    fetches.set(fetchId, resolve);
    write({ of: client, event: 'token_wanted', fetch: fetchId, ...(channel ? { channel } : {}) });
  });

const CLIENT_EVENTS = ['connecting', 'connected', 'disconnected', 'error', 'message'];
const CHANNEL_EVENTS = ['subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave'];

const commands = {
  make({ client, url, fetches_token: fetches = false, options = {} }) {
    const made = new Centrifuge(url, {
      websocket: WebSocket,
      minReconnectDelay: 50,
      maxReconnectDelay: 500,
      ...(fetches ? { getToken: () => fetchToken(client) } : {}),
      ...options,
    });
    watch(made, CLIENT_EVENTS, { of: client });
    watch(made, CHANNEL_EVENTS, { of: client, server: true });
    clients.set(client, made);
  },
  connect: ({ of }) => of.connect(),
  disconnect: ({ of }) => of.disconnect(),
  subscribe({ client, of, channel, fetches_token: fetches = false, options = {} }) {
    const given = { minResubscribeDelay: 50, maxResubscribeDelay: 500, ...options };
    const sub = of.newSubscription(channel, { ...given, ...(fetches ? { getToken: () => fetchToken(client, channel) } : {}) });
    watch(sub, [...CHANNEL_EVENTS, 'error'], { of: client, channel });
    sub.subscribe();
  },
  // In one go, as React does when it mounts a component twice.
  bounce({ client, of, channel, times }) {
    commands.subscribe({ client, of, channel });
    const sub = of.getSubscription(channel);
    for (let i = 0; i < times; i++) {
      sub.unsubscribe();
      sub.subscribe();
    }
  },
  resubscribe: ({ of, channel }) => of.getSubscription(channel).subscribe(),
  unsubscribe: ({ of, channel }) => of.getSubscription(channel).unsubscribe(),
  publish: ({ of, channel, data }) => of.publish(channel, data),
  presence: ({ of, channel }) => of.presence(channel),
  presence_stats: ({ of, channel }) => of.presenceStats(channel),
  history: ({ of, channel, options = {} }) => of.history(channel, options),
  rpc: ({ of, method, data }) => of.rpc(method, data),
  send: ({ of, data }) => of.send(data),
  token({ fetch, token }) {
    fetches.get(fetch)(token);
    fetches.delete(fetch);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...params } = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[name]({ ...params, of: clients.get(params.client) }))
    .then(
      (result) => write({ id, result: snake(result ?? {}) }),
      (error) => write({ id, error: { code: error.code ?? 0, message: String(error.message ?? error) } }),
    );
}
process.exit(0);
