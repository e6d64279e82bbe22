// What every instance told in the last hour, by slots of an interval. Bounded, whatever arrives.

const BRIDGED = 30; // seconds without figures of an instance that a line crosses; after more it is broken

export class Window {
  #every;
  #span;
  #slots = []; // { at: seconds, told: Map(instance → figures) }, ascending

  constructor(every, span) {
    this.#every = every;
    this.#span = span;
  }

  /** Note what an instance told at a moment (seconds). Moments come in order; one that is late counts as the newest. */
  put(now, instance, told) {
    const at = Math.floor(now / this.#every) * this.#every;
    let slot = this.#slots.at(-1);
    if (!slot || slot.at < at) {
      slot = { at, told: new Map() };
      this.#slots.push(slot);
      while (this.#slots[0].at <= at - this.#span) this.#slots.shift();
    }
    slot.told.set(instance, told);
  }

  /** The moments, ascending. */
  get times() {
    return this.#slots.map((slot) => slot.at);
  }

  /** One figure of one instance at each moment: null where there is none, undefined where a line may cross. */
  series(instance, figure) {
    let heard = -Infinity; // where the instance told something last
    const found = this.#slots.map(({ told }) => (told.has(instance) ? told.get(instance)[figure] ?? null : null));
    this.#slots.forEach(({ at, told }, index) => {
      if (!told.has(instance)) return;
      if (at - (this.#slots[heard]?.at ?? -Infinity) <= BRIDGED) found.fill(undefined, heard + 1, index);
      heard = index;
    });
    return found;
  }
}
