// What screen readers are told of what others say: at once while it is quiet, else every few seconds the newest, and how
// many came before it. A line of the document that is read out whenever it changes (role=status).

const PAUSE = 4000; // milliseconds

export class Announcer {
  #line;
  #newest = "";
  #more = 0; // before the newest
  #pausing = false;

  constructor(line) {
    this.#line = line;
  }

  hear(text) {
    if (this.#newest) this.#more += 1;
    this.#newest = text;
    if (!this.#pausing) this.#say();
  }

  #say() {
    this.#pausing = this.#newest !== "";
    if (!this.#pausing) return;
    this.#line.textContent = this.#more ? `${this.#more} more, and ${this.#newest}` : this.#newest;
    this.#newest = "";
    this.#more = 0;
    setTimeout(() => this.#say(), PAUSE);
  }
}
