// This tab's network, as the client library sees it: a WebSocket constructor that can be cut.
// Cutting closes the transport under the library, which then reconnects by itself; nothing here calls connect() or
// disconnect(). While the network is cut every attempt fails at once, as with a pulled cable.

const DROPPED = 4000; // an application close code after which clients reconnect

export class Network {
  #socket = null;
  #cutUntil = 0;

  constructor() {
    const network = this;
    // The library calls this with `new`; a constructor that returns an object gives that object.
    this.WebSocket = function (url, protocols) {
      if (network.isCut) return unreachable();
      network.#socket = protocols ? new WebSocket(url, protocols) : new WebSocket(url);
      return network.#socket;
    };
  }

  get isCut() {
    return performance.now() < this.#cutUntil;
  }

  /** Cut the connection and keep it cut for `milliseconds` (0: it may come back at once). */
  cut(milliseconds) {
    this.#cutUntil = performance.now() + milliseconds;
    this.#socket?.close(DROPPED, "cut by the visitor");
  }
}

function unreachable() {
  const socket = { readyState: WebSocket.CLOSED, send() {}, close() {} };
  setTimeout(() => socket.onclose?.({ code: 1006, reason: "", wasClean: false }), 0);
  return socket;
}
