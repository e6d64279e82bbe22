// Who is in a room: a snapshot from the server, kept true by the joins and leaves that follow it. Pure.
// Events may overtake the snapshot's answer, so those that came while it was asked for are applied on top of it.

export class Roster {
  #people = new Map();
  #since = null;

  get size() {
    return this.#people.size;
  }

  people() {
    return [...this.#people.values()];
  }

  /** A snapshot is being asked for. */
  asking() {
    this.#since = [];
  }

  /** The snapshot: client id → ClientInfo. */
  answer(clients) {
    this.#people = new Map(Object.entries(clients));
    for (const [joined, info] of this.#since ?? []) this.#apply(joined, info);
    this.#since = null;
  }

  join(info) {
    this.#event(true, info);
  }

  leave(info) {
    this.#event(false, info);
  }

  #event(joined, info) {
    this.#since?.push([joined, info]);
    this.#apply(joined, info);
  }

  #apply(joined, info) {
    if (joined) this.#people.set(info.client, info);
    else this.#people.delete(info.client);
  }
}
