// Bare `ws`: `node ws.mjs PORT PUBLISHING_PORT`. A socket at /room/R is in room R; a frame is built once and its bytes
// are written to each member. A line at the publishing port goes to room 0. No Redis, no history, no protocol.
import { createServer } from "node:http";
import { createServer as createLineServer } from "node:net";
import { Sender, WebSocketServer } from "ws";

const [port, publishingPort] = process.argv.slice(2).map(Number);
const rooms = new Map();

function publish(room, text) {
  const frame = Buffer.concat(
    Sender.frame(text, { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true, generateMask: () => {} }),
  );
  for (const member of rooms.get(room) ?? []) {
    if (member.readyState === 1) member._socket.write(frame);
  }
}

const http = createServer();
new WebSocketServer({ server: http, perMessageDeflate: false }).on("connection", (socket, request) => {
  const room = request.url.slice("/room/".length);
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  socket.on("message", (text) => publish(room, text));
  socket.on("close", () => rooms.get(room).delete(socket));
  socket.on("error", () => {});
});
http.listen({ port, host: "127.0.0.1", backlog: 4096 });

createLineServer((publisher) => {
  let rest = Buffer.alloc(0);
  publisher.on("error", () => {});
  publisher.on("data", (data) => {
    rest = rest.length ? Buffer.concat([rest, data]) : data;
    for (let end; (end = rest.indexOf(10)) >= 0; rest = rest.subarray(end + 1)) publish("0", rest.subarray(0, end));
  });
}).listen(publishingPort, "127.0.0.1");
