// The events of one MCP session, for streams that are resumed. The SDK defines the interface and keeps its own
// implementation in its examples.
export class Events {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return String(this.#events.length);
  }

  async getStreamIdForEventId(id) {
    return this.#events[id - 1]?.stream;
  }

  async replayEventsAfter(id, { send }) {
    const stream = await this.getStreamIdForEventId(id);
    for (const [index, event] of [...this.#events.entries()].slice(Number(id))) {
      // A message without members only names the place where the stream begins.
      if (event.stream === stream && Object.keys(event.message).length) await send(String(index + 1), event.message);
    }
    return stream;
  }
}
