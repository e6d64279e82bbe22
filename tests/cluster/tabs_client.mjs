// Tabs on Node (`tabs.mjs`): commands come as JSON lines on stdin, answers and events go out on stdout. The address
// of `live.js` is the first argument.

import { createInterface } from 'node:readline';
import { Centrifuge } from 'centrifuge';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { tabs } from './tabs.mjs';

const source = await (await import('node:fs/promises')).readFile(process.argv[2], 'utf8');
const { live } = await import('data:text/javascript,' + encodeURIComponent(source));
const options = { websocket: WebSocket, eventsource: EventSource, fetch, readableStream: ReadableStream };
const run = tabs({ Centrifuge, live, options }, (message) => process.stdout.write(JSON.stringify(message) + '\n'));

for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
process.exit(0);
