// Socket.IO 4 with its Redis adapter: `node socketio.mjs PORT REDIS_URL [KEY CERTIFICATE]`, with the two over TLS.
// A client joins and leaves rooms and may publish into them.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, redisUrl, key, cert] = process.argv.slice(2);
const publishing = createClient({ url: redisUrl });
const subscribed = publishing.duplicate();
await Promise.all([publishing.connect(), subscribed.connect()]);

const http = key ? createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }) : createServer();
const io = new Server(http, { transports: ["websocket"], adapter: createAdapter(publishing, subscribed) });
io.on("connection", (socket) => {
  socket.on("join", (room, answer) => {
    socket.join(room);
    answer();
  });
  socket.on("leave", (room, answer) => {
    socket.leave(room);
    answer();
  });
  socket.on("publish", (room, message) => io.to(room).emit("message", message));
});
http.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
