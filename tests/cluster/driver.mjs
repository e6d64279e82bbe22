// Drives the official JavaScript client, wherever it runs: in Node (`client.mjs`), or in a browser's page.
//
// A command {"id", "client", "do", ...} is answered with {"id", "result"} or {"id", "error": {code, message}}. Every event
// of a client is {"of", "event", "channel"?, ...}; times and names are as the client gives them, keys in snake_case.
//
// A client is made for one pair of transport and encoding. With Protobuf the SDK gives and takes bytes: they are the
// JSON of the value here, so that one test says the same over every pair.

// `sdk`: the two classes, and the options without which they do not run here. `write` is given answers and events.
export function driver({ Centrifuge, CentrifugeOfBytes, options: needed = {} }, write) {
  const clients = new Map();
  const fetches = new Map();
  let fetchId = 0;

  const spoken = (value) => (value instanceof Uint8Array ? (value.length ? JSON.parse(new TextDecoder().decode(value)) : null) : value);
  const encoded = (of, value) => (of instanceof CentrifugeOfBytes ? new TextEncoder().encode(JSON.stringify(value)) : value);

  const snake = (value) => {
    if (value instanceof Uint8Array) return spoken(value);
    if (Array.isArray(value)) return value.map(snake);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key.replace(/[A-Z]/g, (letter) => '_' + letter.toLowerCase()),
        key === 'data' || key === 'tags' || key === 'clients' ? (key === 'clients' ? people(item) : spoken(item)) : snake(item),
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
  const MAP_EVENTS = ['sync', 'update'];
  const CHANNEL_EVENTS = ['subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave'];

  // Where a transport's endpoint is, on the server whose WebSocket has an address.
  function endpoints(url, transport) {
    if (transport === 'websocket') return { address: url };
    const server = url.replace(/^ws/, 'http').replace(/\/connection\/websocket$/, '');
    return { address: [{ transport, endpoint: `${server}/connection/${transport}` }], emulationEndpoint: `${server}/emulation` };
  }

  const commands = {
    make({ client, url, transport = 'websocket', encoding = 'json', fetches_token: fetches = false, options = {} }) {
      const { address, ...emulation } = endpoints(url, transport);
      const made = new (encoding === 'protobuf' ? CentrifugeOfBytes : Centrifuge)(address, {
        ...needed,
        ...emulation,
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
    // `kind`: Map, MapClients or MapUsers.
    map({ client, of, channel, kind, options = {} }) {
      const sub = of[`new${kind}Subscription`](channel, { minResubscribeDelay: 50, maxResubscribeDelay: 500, ...options });
      watch(sub, [...CHANNEL_EVENTS, ...MAP_EVENTS, 'error'], { of: client, channel });
      sub.subscribe();
    },
    map_publish: ({ of, channel, key, data }) => of.mapPublish(channel, key, encoded(of, data)),
    map_remove: ({ of, channel, key }) => of.mapRemove(channel, key),
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
    publish: ({ of, channel, data }) => of.publish(channel, encoded(of, data)),
    presence: ({ of, channel }) => of.presence(channel),
    presence_stats: ({ of, channel }) => of.presenceStats(channel),
    history: ({ of, channel, options = {} }) => of.history(channel, options),
    delta_stats: ({ of, channel }) => of.getSubscription(channel).deltaStats(),
    rpc: ({ of, method, data }) => of.rpc(method, encoded(of, data)),
    send: ({ of, data }) => of.send(encoded(of, data)),
    token({ fetch, token }) {
      fetches.get(fetch)(token);
      fetches.delete(fetch);
    },
  };

  return ({ id, do: name, ...params }) =>
    Promise.resolve()
      .then(() => commands[name]({ ...params, of: clients.get(params.client) }))
      .then(
        (result) => write({ id, result: snake(result ?? {}) }),
        (error) => write({ id, error: { code: error.code ?? 0, message: String(error.message ?? error) } }),
      );
}
