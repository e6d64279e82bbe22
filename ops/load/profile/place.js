// Where a client stands in a stream, and what it missed: every publication is taken here in the order it arrives.
// Pure. A number that is skipped is missing until it comes after all (then it came out of order) or the run ends.

export class Place {
  // `position`: the last number that was there before; null when the first that comes decides.
  constructor(position = null) {
    this.position = position;
    this.doubled = 0;
    this.misordered = 0;
    this._missing = new Set();
    this._toldLost = 0;
  }

  take(number) {
    if (this.position === null) this.position = number - 1;
    if (number === this.position + 1) {
      this.position = number;
    } else if (number > this.position) {
      for (let missed = this.position + 1; missed < number; missed += 1) this._missing.add(missed);
      this.position = number;
    } else if (this._missing.delete(number)) {
      this.misordered += 1;
    } else {
      this.doubled += 1;
    }
  }

  // Everything up to `top` should have come by now.
  end(top) {
    for (let missed = this.position + 1; missed <= top; missed += 1) this._missing.add(missed);
    this.position = Math.max(this.position, top);
  }

  // The server said that it cannot recover: what lay between is lost, and told; at least one is counted.
  restart(position) {
    this._toldLost += Math.max(1, position - this.position);
    this.position = position;
  }

  get lost() {
    return this._missing.size + this._toldLost;
  }
}
