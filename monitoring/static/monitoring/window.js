// The last so many intervals: one slot each, holding what every instance told in it. Bounded, whatever arrives.

export class Window {
  #every;
  #most;
  #slots = []; // { at: seconds, told: Map(instance → figures) }, ascending

  constructor(every, most) {
    this.#every = every;
    this.#most = most;
  }

  /** Note what an instance told at a moment (seconds). */
  put(now, instance, told) {
    const at = Math.floor(now / this.#every) * this.#every;
    let slot = this.#slots.at(-1);
    if (!slot || slot.at < at) {
      slot = { at, told: new Map() };
      this.#slots.push(slot);
      if (this.#slots.length > this.#most) this.#slots.shift();
    }
    slot.told.set(instance, told);
  }

  /** The moments, ascending. */
  get times() {
    return this.#slots.map((slot) => slot.at);
  }

  /** One figure of one instance at each moment; null where it told nothing. */
  series(instance, figure) {
    return this.#slots.map((slot) => slot.told.get(instance)?.[figure] ?? null);
  }
}
