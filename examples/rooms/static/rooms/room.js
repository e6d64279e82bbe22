// A room, live. What was said before comes from the database, what is said now from the connection; both meet in
// `messages`, by the key that a message has in the database. What comes from others becomes text, never markup.

const { room, user } = document.body.dataset;
const ids = ["state", "people", "messages", "heard", "typing", "say"];
const [state, people, list, heard, line, form] = ids.map((id) => document.getElementById(id));
const names = new Map(); // user → name
const messages = new Map(); // key → message
const here = new Map(); // connection → user
const left = new Set(); // connections that left since `here` was asked for
const typing = new Map(); // user → the timer after which they have stopped

const client = new Centrifuge(`${location.origin.replace("http", "ws")}/connection/websocket`); // the session cookie says who
const said = client.newSubscription(`room:${room}`);
const keys = client.newSubscription(`typing:${room}`);

client.on("connecting", () => (state.textContent = "connecting…"));
client.on("disconnected", ({ reason }) => end(`Disconnected: ${reason}.`));
said.on("unsubscribed", () => end("You are not a member of this room."));

said.on("subscribed", ({ recovered }) => {
  state.textContent = "live";
  here.clear();
  left.clear();
  again(loadPeople);
  if (recovered) return; // what was missed follows by itself
  messages.clear();
  again(loadMessages);
});

said.on("publication", ({ data }) => {
  messages.set(data.id, data);
  if (data.user !== user) heard.textContent = `${data.name}: ${data.text}`; // to screen readers; after a flood, the last
  stopped(data.user);
});

said.on("join", ({ info }) => {
  here.set(info.client, info.user);
  if (names.size && !names.has(info.user)) again(loadMessages); // somebody new
  draw();
});

said.on("leave", ({ info }) => {
  here.delete(info.client);
  left.add(info.client);
  draw();
});

keys.on("publication", ({ info }) => {
  if (info.user === user) return;
  clearTimeout(typing.get(info.user));
  typing.set(info.user, setTimeout(stopped, 3000, info.user));
  draw();
});

let told = 0;
form.addEventListener("input", () => {
  if (Date.now() - told < 2000) return;
  told = Date.now();
  keys.publish({}).catch(() => {}); // nobody misses it
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = new FormData(form);
  form.reset(); // at once: what is typed while this is sent stays
  told = 0;
  const answer = await fetch("messages/", { method: "POST", body: message }).catch(() => null);
  if (answer?.ok) return;
  form.elements.text.value ||= message.get("text");
  if (client.state === "connected") state.textContent = "not sent: try again";
});

async function loadMessages() {
  const answer = await fetch("messages/");
  if (answer.redirected) return location.reload(); // logged out
  if (!answer.ok) throw new Error(answer.statusText);
  const found = await answer.json();
  for (const [key, name] of Object.entries(found.members)) names.set(key, name);
  for (const message of found.messages) messages.set(message.id, message);
  draw();
}

async function loadPeople() {
  const { clients } = await said.presence();
  for (const info of Object.values(clients)) if (!left.has(info.client)) here.set(info.client, info.user);
  draw();
}

/** Do it, and while it fails do it again. */
function again(task) {
  task().catch(() => said.state === "subscribed" && setTimeout(again, 1000, task));
}

function stopped(someone) {
  clearTimeout(typing.get(someone));
  typing.delete(someone);
  draw();
}

function end(why) {
  state.textContent = why;
  state.className = "over";
  for (const field of form.elements) field.disabled = true;
  here.clear();
  draw();
}

function draw() {
  const called = (users) => [...new Set(users)].map((one) => names.get(one) ?? "…").sort().join(", ");
  people.textContent = called(here.values());
  line.textContent = typing.size ? `${called(typing.keys())} typing…` : "";
  list.replaceChildren(...[...messages.values()].sort((a, b) => a.id - b.id).map(item));
  list.scrollTop = list.scrollHeight;
}

function item({ name, text, at }) {
  const [entry, author, time] = ["li", "b", "time"].map((tag) => document.createElement(tag));
  author.textContent = name;
  time.textContent = new Date(at).toLocaleTimeString();
  entry.append(author, " ", text, " ", time);
  return entry;
}

said.subscribe();
keys.subscribe();
client.connect();
