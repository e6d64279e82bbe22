// `live_page.mjs` on Node: `node live_client.mjs live.js {JSON}`. Each line on stdin is answered with what is shown.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { watch } from './live_page.mjs';

const [path, given] = process.argv.slice(2);
const { live } = await import('data:text/javascript,' + encodeURIComponent(readFileSync(path, 'utf8')));
const page = watch({ ...JSON.parse(given), Centrifuge, live, options: { websocket: WebSocket } });
for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(JSON.stringify(page.told()) + '\n');
process.exit(0);
