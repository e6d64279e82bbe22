// The control: a server that speaks just enough of the protocol, alone in memory, and does nothing else. What the
// profiles measure against it is what the generator and the machine add. `node echo.js PORT`

import { createServer } from "node:http";
import WebSocket from "ws";

const rooms = new Map(); // channel -> { offset, sockets }
const EPOCH = "control";

const server = createServer((request, response) => response.end("{}"));
const sockets = new WebSocket.Server({ server });

function room(channel) {
  if (!rooms.has(channel)) rooms.set(channel, { offset: 0, sockets: new Set() });
  return rooms.get(channel);
}

function announce(channel, data) {
  const { sockets: members } = room(channel);
  const offset = (room(channel).offset += 1);
  const frame = JSON.stringify({ push: { channel, pub: { data, offset } } });
  for (const member of members) member.send(frame);
}

const answers = {
  connect: () => ({ client: "echo", version: "0" }),
  subscribe: ({ channel }, socket) => {
    room(channel).sockets.add(socket);
    socket.on("close", () => room(channel).sockets.delete(socket));
    return { recoverable: true, positioned: true, epoch: EPOCH, offset: room(channel).offset };
  },
  publish: ({ channel, data }) => announce(channel, data) ?? {},
  history: ({ channel }) => ({ publications: [], epoch: EPOCH, offset: room(channel).offset }),
};

sockets.on("connection", (socket) => {
  socket.on("message", (text) => {
    for (const line of String(text).split("\n")) {
      const { id, ...command } = JSON.parse(line);
      const [method] = Object.keys(command);
      if (id) socket.send(JSON.stringify({ id, [method]: answers[method](command[method], socket) }));
    }
  });
});

server.listen(Number(process.argv[2]), "127.0.0.1");
