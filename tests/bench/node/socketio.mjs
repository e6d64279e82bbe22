// Socket.IO 4 with its Redis adapter: `node socketio.mjs PORT REDIS_URL`. A client joins a room and may publish into it.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, redisUrl] = process.argv.slice(2);
const publishing = createClient({ url: redisUrl });
const subscribed = publishing.duplicate();
await Promise.all([publishing.connect(), subscribed.connect()]);

const http = createServer();
const io = new Server(http, { transports: ["websocket"], adapter: createAdapter(publishing, subscribed) });
io.on("connection", (socket) => {
  socket.on("join", (room, answer) => {
    socket.join(room);
    answer();
  });
  socket.on("publish", (room, message) => io.to(room).emit("message", message));
});
http.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
