// Follows a thing live on its page in the admin: begun by a click, shown as it comes, the newest first and so many at
// most. Over server-sent events where the server streams, else by asking every second. Leaving the page ends it.

const root = document.getElementById("tail");
const form = root.querySelector("form");
const [follow, stop] = ["follow", "stop"].map((name) => form.elements[name]);
const state = document.getElementById("tail-state");
const table = root.querySelector("table");
const MOST = 500; // rows
const POLL_EVERY = 1000; // ms

let end = null; // ends what runs now

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false,
});

function more(event) {
  if (event.kind === "more") return `${event.text} more were left out: too many a second`;
  const parts = [];
  if (event.text) parts.push(event.text);
  if (event.offset) parts.push(`offset ${event.offset}`);
  if (event.size !== undefined) parts.push(event.data ?? `${event.size} bytes, masked`);
  return parts.join(" · ");
}

function row(event) {
  const line = document.createElement("tr");
  line.dataset.kind = event.kind;
  const cells = [
    clock.format(event.at * 1000), event.kind, event.channel ?? "", event.user ?? "", (event.client ?? "").slice(0, 8),
    more(event), event.instance ?? "",
  ];
  for (const text of cells) line.insertCell().textContent = text;
  line.cells[4].title = event.client ?? "";
  return line;
}

function show(events) {
  table.hidden = false;
  for (const event of events) table.tBodies[0].prepend(row(event));
  while (table.rows.length > MOST + 1) table.deleteRow(-1);
}

function over(why) {
  end?.();
  end = null;
  [follow.hidden, stop.hidden] = [false, true];
  root.dataset.state = "over";
  state.textContent = why;
}

function stream(address) {
  const source = new EventSource(address);
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.addEventListener("over", (message) => over(`Ended. ${JSON.parse(message.data)}`));
  source.addEventListener("away", (message) => { state.textContent = JSON.parse(message.data); });
  source.onerror = () => { // an instance that drains ends the stream; the browser connects again, to another
    if (source.readyState === EventSource.CLOSED) over("Ended: the server has closed it.");
  };
  return () => source.close();
}

function poll(address) {
  const timer = setInterval(async () => {
    const response = await fetch(address, { redirect: "error" }).catch(() => null);
    if (!response || response.status >= 500) return; // the next one counts
    if (!response.ok || response.status === 204) over("Ended.");
    else show(await response.json());
  }, POLL_EVERY);
  return () => clearInterval(timer);
}

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  follow.disabled = true;
  try {
    const response = await fetch(root.dataset.url, { method: "POST", body: new FormData(form), redirect: "error" });
    const said = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : {};
    if (!response.ok) throw new Error(said.fault ?? `The server answered with ${response.status}.`);
    const address = `${root.dataset.url}?ticket=${encodeURIComponent(said.ticket)}`;
    end = said.streams ? stream(address) : poll(`${address}&poll`);
    [follow.hidden, stop.hidden] = [true, false];
    root.dataset.state = "following";
    state.textContent = `Live, from ${said.following} of ${said.instances} instances.`;
  } catch (error) {
    state.textContent = error.message;
  } finally {
    follow.disabled = false;
  }
});
stop.addEventListener("click", () => over("Stopped."));
