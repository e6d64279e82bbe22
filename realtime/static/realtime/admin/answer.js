// The answer to the question of a live page, how its rows are now; and the line above them that says why there is none:
// the session has ended, the right to look is gone, or nobody answers. It is said once however often the page asks, so
// that a screen reader does not repeat it, and taken back when rows come again.

const rows = document.getElementById("rows");
const line = document.getElementById("not-live");

/** Why there are no rows, in a sentence for people; `link`: what to do about it, on this very page. */
export class NotLive extends Error {
  constructor(sentence, link = "") {
    super(sentence);
    this.link = link;
  }
}

/** The rows of an address, as the server's own markup. Throws NotLive. */
export async function askRows(address) {
  const response = await fetch(address, { credentials: "same-origin", redirect: "manual" }).catch(() => null);
  if (response === null) throw new NotLive("No instance answers: these are the last rows that came.");
  // The admin leads whoever is not logged in to the login, and rows are never anywhere else.
  if (response.type === "opaqueredirect" || response.status === 401) throw new NotLive("You were logged out.", "Log in again");
  if (response.status === 403) throw new NotLive("You may not see this any more.", "Load the page again");
  if (!response.ok) throw new NotLive(`The server answered ${response.status}: these are the last rows that came.`);
  return response.text();
}

/** Show why the rows are not live; null when they are. */
export function tell(error) {
  if (error === null) delete rows.dataset.stale;
  else rows.dataset.stale = "";
  const sentence = error?.message ?? "";
  if (line.dataset.sentence === sentence) return;
  line.dataset.sentence = sentence;
  line.replaceChildren(...(sentence ? [paragraph(sentence, error.link)] : []));
}

function paragraph(sentence, link) {
  const made = Object.assign(document.createElement("p"), { className: "errornote" });
  made.append(sentence);
  // The page itself, which asks to log in first and leads back here.
  if (link) made.append(" ", Object.assign(document.createElement("a"), { textContent: link, href: location.pathname + location.search }));
  return made;
}
