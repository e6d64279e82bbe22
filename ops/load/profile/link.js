// One WebSocket that speaks the client protocol: commands with their answers, pushes, pings.
// It reconnects nothing and judges nothing: whoever holds it does.

const ANSWER_WITHIN = 10_000; // milliseconds

export class Closed extends Error {
  constructor(code) {
    super(`closed with ${code}`);
    this.closeCode = code;
  }
}

export class Link {
  // `socket`: an open WebSocket of the package ws. `onPush(push)` gets each push.
  constructor(socket, onPush) {
    this._socket = socket;
    this._onPush = onPush;
    this._last = 0;
    this._waiting = new Map();
    this.closeCode = null;
    this.closed = new Promise((resolve) => {
      this._noteClosed = resolve;
    });
    socket.removeAllListeners("error"); // Artillery's own would call its callback again
    socket.on("error", () => {});
    socket.on("message", (data) => this._receive(String(data)));
    socket.on("close", (code) => this._end(code));
  }

  // Send one command; the answer is {result} or {error}. Throws Closed, or an Error after ten seconds.
  call(method, parameters) {
    return this.callAll([[method, parameters]])[0];
  }

  // Several commands in one frame; one promise each.
  callAll(commands) {
    if (this.closeCode !== null) return commands.map(() => Promise.reject(new Closed(this.closeCode)));
    const lines = [];
    const promises = commands.map(([method, parameters]) => {
      const id = (this._last += 1);
      lines.push(JSON.stringify({ id, [method]: parameters }));
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          this._waiting.delete(id);
          reject(new Error(`no answer to ${method}`));
        }, ANSWER_WITHIN);
        this._waiting.set(id, { method, resolve, reject, timer });
      });
    });
    this._socket.send(lines.join("\n"), () => {});
    return promises;
  }

  close() {
    this._socket.close(1000);
  }

  // Gone without a word, as a client whose network went away.
  cut() {
    this._socket.terminate();
  }

  _receive(text) {
    for (const line of text.split("\n")) {
      if (line === "{}") this._socket.send("{}", () => {});
      else if (line) this._take(JSON.parse(line));
    }
  }

  _take(message) {
    if (message.push?.disconnect) this.closeCode ??= message.push.disconnect.code;
    if (message.push) this._onPush(message.push);
    const waiting = this._waiting.get(message.id);
    if (!waiting) return;
    this._waiting.delete(message.id);
    clearTimeout(waiting.timer);
    waiting.resolve(message.error ? { error: message.error } : { result: message[waiting.method] ?? {} });
  }

  _end(code) {
    this.closeCode ??= code;
    for (const { reject, timer } of this._waiting.values()) {
      clearTimeout(timer);
      reject(new Closed(this.closeCode));
    }
    this._waiting.clear();
    this._noteClosed(this.closeCode);
  }
}
