// One loss of the connection, from the moment it was noticed until every room is live again: how long it took, what
// history gave back, and the sentence that says so. Pure: the caller brings the clock (milliseconds).

export class Outage {
  #waiting;
  #since;
  #missed = 0;
  #lost = [];

  constructor(rooms, now) {
    this.#waiting = new Set(rooms);
    this.#since = now;
  }

  get over() {
    return this.#waiting.size === 0;
  }

  /** The connection was lost again before all was well: these rooms have to come back once more. */
  again(rooms) {
    for (const room of rooms) this.#waiting.add(room);
  }

  /** `room` is live again; `missed` messages came from history, and that is all of them if `complete`. */
  back(room, { complete, missed }) {
    if (!this.#waiting.delete(room)) return;
    this.#missed += missed;
    if (!complete) this.#lost.push(room);
  }

  /** The visitor left the room meanwhile. */
  forget(room) {
    this.#waiting.delete(room);
  }

  /** `{text, good}` for people. */
  summary(instance, now) {
    const where = `after ${((now - this.#since) / 1000).toFixed(1)} s on instance ${instance}`;
    if (this.#lost.length) {
      const rooms = this.#lost.join(", ");
      return { text: `Back ${where}. History no longer held all that ${rooms} missed: reloaded`, good: false };
    }
    if (!this.#missed) return { text: `Back ${where}: nothing was missed`, good: true };
    const count = `${this.#missed} missed ${this.#missed === 1 ? "message" : "messages"}`;
    return { text: `Recovered ${count} ${where}`, good: true };
  }
}
