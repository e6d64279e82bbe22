// Tabs that show boards with `live.js`, wherever they run: in Node (`tabs_client.mjs`), or in a browser's page.
//
// A command {"id", "client", "do", ...} is answered with {"id", "result"} or {"id", "error": {code, message}}. Whenever a
// page could have drawn its rows, what they are now beside what they were is written: {"of", "event": "shown", "channel",
// "changes": [[key, [generation, counter] | null], ...]}. What a tab has shown of a channel it knows also after it has
// closed and opened the board again.

// `sdk`: the class, `live`, and the options without which they do not run here. `write` is given answers and events.
export function tabs({ Centrifuge, live, options: needed = {} }, write) {
  const clients = new Map(); // name → { client, site, token, views, shown }

  function show(of, channel, view) {
    const tab = clients.get(of);
    if (tab.views.get(channel) !== view) return;
    if (!tab.shown.has(channel)) tab.shown.set(channel, new Map());
    const before = tab.shown.get(channel);
    const changes = [];
    for (const [key, { generation, counter }] of view.rows) {
      if (before.get(key) === `${generation}.${counter}`) continue;
      before.set(key, `${generation}.${counter}`);
      changes.push([key, [generation, counter]]);
    }
    for (const key of [...before.keys()]) {
      if (view.rows.has(key)) continue;
      before.delete(key);
      changes.push([key, null]);
    }
    if (changes.length) write({ of, event: 'shown', channel, changes });
  }

  const commands = {
    make({ client: of, site, token, transport = 'websocket' }) {
      const address = transport === 'websocket' ? site.replace(/^http/, 'ws') + '/connection/websocket' : [{ transport, endpoint: `${site}/connection/${transport}` }];
      const client = new Centrifuge(address, {
        ...needed,
        ...(transport === 'websocket' ? {} : { emulationEndpoint: `${site}/emulation` }),
        minReconnectDelay: 50,
        maxReconnectDelay: 1000,
        token,
      });
      client.on('connected', () => write({ of, event: 'connected' }));
      client.on('connecting', ({ code }) => write({ of, event: 'connecting', code }));
      client.on('disconnected', ({ code, reason }) => write({ of, event: 'disconnected', code, reason }));
      clients.set(of, { client, site, token, views: new Map(), shown: new Map() });
    },
    connect: ({ tab }) => tab.client.connect(),
    disconnect: ({ tab }) => tab.client.disconnect(),
    open({ client: of, tab, channel }) {
      if (tab.views.has(channel)) return;
      const view = live(tab.client, channel, { url: `${tab.site}/flotilla/state/${channel}`, request: () => ({ headers: { Authorization: `Bearer ${tab.token}` } }) });
      tab.views.set(channel, view);
      let ready = false;
      view.on('change', () => ready && show(of, channel, view));
      view.ready.then(
        () => {
          ready = true;
          write({ of, event: 'ready', channel });
          show(of, channel, view);
        },
        (error) => tab.views.get(channel) === view && write({ of, event: 'failed', channel, message: String(error.message ?? error) }),
      );
    },
    close({ tab, channel }) {
      const view = tab.views.get(channel);
      tab.views.delete(channel);
      view?.close();
    },
    rows: ({ tab, channel }) => [...(tab.views.get(channel)?.rows ?? [])],
  };

  return ({ id, do: name, ...params }) =>
    Promise.resolve()
      .then(() => commands[name]({ ...params, tab: clients.get(params.client) }))
      .then(
        (result) => write({ id, result: result ?? {} }),
        (error) => write({ id, error: { code: error.code ?? 0, message: String(error.stack ?? error) } }),
      );
}
