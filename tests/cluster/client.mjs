// The driver on Node: commands come as JSON lines on stdin, answers and events go out on stdout.

import { createInterface } from 'node:readline';
import { Centrifuge } from 'centrifuge';
import { Centrifuge as CentrifugeOfBytes } from 'centrifuge/build/protobuf';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { driver } from './driver.mjs';

const options = { websocket: WebSocket, eventsource: EventSource, fetch, readableStream: ReadableStream };
const write = (message) => process.stdout.write(JSON.stringify(message) + '\n');
const run = driver({ Centrifuge, CentrifugeOfBytes, options }, write);

for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
process.exit(0);
