// A board, live. `board.rows` is what the database has. What is moved here is shown here at once (`moved`), sent as soon
// as there is a network, and given up for what the database says. Titles become text, never markup.

import { live } from "../realtime/live.js";

const { board: name, api } = document.body.dataset;
const [state, form, columns] = ["state", "new", "columns"].map((id) => document.getElementById(id));
const lists = [...columns.querySelectorAll("ol")];
const states = lists.map((list) => list.parentElement.dataset.state);
const labels = [...columns.querySelectorAll("h2")].map((head) => head.textContent);
const moved = new Map(); // key → the state and position that it was given here
let dragged; // a ticket's key

const client = new Centrifuge(`${location.origin.replace("http", "ws")}/connection/websocket`); // the session cookie says who
const board = live(client, `tickets:${name}`);
board.on("change", draw);
board.on("state", (now, why) => {
  state.textContent = { refused: why?.message, stale: "offline: what you move is sent later" }[now] ?? now;
  if (now === "live") for (const key of moved.keys()) send(key);
});
client.connect();

async function ask(method, path, data) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
  const answer = await fetch(`${api}${path}`, { method, headers, body: JSON.stringify(data) });
  if (!answer.ok) throw Object.assign(new Error(`this was refused (${answer.status})`), { final: answer.status < 500 });
}

const move = (key, column, position) => (moved.set(key, { state: column, position }), draw(), send(key));

async function send(key) {
  const mine = moved.get(key);
  try {
    await ask("PATCH", `${key}/`, mine);
  } catch (error) {
    if (!error.final) return; // no network: again when the board is live
    state.textContent = error.message;
  }
  setTimeout(() => moved.get(key) === mine && moved.delete(key) && draw(), 2000); // by then the board has it
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [title, column] = [form.elements.title, states[0]];
  ask("POST", "", { board: name, title: title.value, state: column, position: place(column) })
    .then(() => (title.value = ""), ({ message }) => (state.textContent = `not added: ${message}`));
});

/** The tickets of a column as they are shown: those that were moved here where they were moved to. */
function shown(column) {
  const tickets = [...board.rows].map(([key, ticket]) => ({ ...ticket, ...moved.get(key), key }));
  return tickets.filter((ticket) => ticket.state === column).sort((a, b) => a.position - b.position || a.id - b.id);
}

/** The position in a column before the ticket with this key; at its end for none. */
function place(column, before) {
  const tickets = shown(column).filter(({ key }) => key !== dragged);
  const at = tickets.findIndex(({ key }) => key === before);
  if (at < 0) return (tickets.at(-1)?.position ?? 0) + 1;
  return at ? (tickets[at - 1].position + tickets[at].position) / 2 : tickets[0].position - 1;
}

columns.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", (dragged = event.target.dataset.key)));
columns.addEventListener("dragover", (event) => dragged && event.preventDefault());
columns.addEventListener("drop", (event) => {
  event.preventDefault();
  const column = event.target.closest("section")?.dataset.state;
  if (column) move(dragged, column, place(column, event.target.closest("li")?.dataset.key));
  dragged = undefined;
});
columns.addEventListener("click", ({ target: { dataset: { key, column } } }) => {
  if (!column) return;
  move(key, column, place(column));
  columns.querySelector(`button[data-key="${key}"]`).focus(); // the keyboard goes with the ticket
});

function draw() {
  const { key, column } = document.activeElement.dataset;
  lists.forEach((list, index) => list.replaceChildren(...shown(states[index]).map((ticket) => item(ticket, index))));
  if (key) columns.querySelector(`button[data-key="${key}"][data-column="${column}"]`)?.focus();
}

function item({ key, title }, index) {
  const entry = Object.assign(document.createElement("li"), { draggable: true, className: moved.has(key) ? "waits" : "" });
  entry.dataset.key = key;
  entry.append(Object.assign(document.createElement("span"), { textContent: title }));
  for (const [to, textContent] of [[index - 1, "←"], [index + 1, "→"]].filter(([to]) => states[to])) {
    const button = Object.assign(document.createElement("button"), { textContent, ariaLabel: `Move “${title}” to ${labels[to]}` });
    Object.assign(button.dataset, { key, column: states[to] });
    entry.append(button);
  }
  return entry;
}
