// The gateway as this page asks it: with the key, where one is needed, and again when it was away.

const KEY = "hangtight-key";
const WAITS = [1, 2, 3, 5, 8, 15]; // seconds until the next try
const SILENT_FOR = 45; // seconds: a sign of life comes every 15
const ROOT = new URL("../", import.meta.url);

export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export class Gateway {
  /** `tell(kind, data)` hears everything that comes. */
  constructor(tell, every = 0.5) {
    this.tell = tell;
    this.every = every;
    this.hurry = () => {};
    this.enter = () => {};
  }

  get key() {
    try {
      return sessionStorage.getItem(KEY) ?? "";
    } catch {
      return this.kept ?? "";
    }
  }

  /** The key that was typed in. Kept as long as this window, and nowhere else. */
  give(key) {
    this.kept = key;
    try {
      sessionStorage.setItem(KEY, key);
    } catch {
      // Kept in this object alone.
    }
    this.enter();
  }

  async ask(path, options = {}) {
    const headers = this.key ? { authorization: `Bearer ${this.key}` } : {};
    return fetch(new URL(path, ROOT), { cache: "no-store", credentials: "same-origin", ...options, headers });
  }

  async get(path, options) {
    const response = await this.ask(path, options);
    let said;
    try {
      said = await response.json();
    } catch {
      throw new Refused(response.status, `status ${response.status}`);
    }
    if (!response.ok) throw new Refused(response.status, said?.error?.message ?? `status ${response.status}`);
    return said;
  }

  why(id) {
    return this.get(`hangtight/generations/${encodeURIComponent(id)}/why`);
  }

  cancel(id) {
    return this.get(`hangtight/generations/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  /** Follow the events for ever. */
  async follow() {
    for (let tries = 0; ; tries++) {
      this.tell("connecting", {});
      let words = "";
      try {
        const response = await this.ask(`hangtight/events?flight=${this.every}`, this.bounded());
        if (response.status === 401 || response.status === 403) {
          await this.locked(this.key ? "This key was not accepted." : "");
          tries = -1;
          continue;
        }
        if (!response.ok) throw new Refused(response.status, `the gateway answers with status ${response.status}`);
        this.tell("opened", {});
        tries = 0;
        await this.read(response.body.getReader());
        words = "the gateway has ended the connection";
      } catch (error) {
        words = error instanceof Refused ? error.message : "no gateway answers at this address";
      } finally {
        clearTimeout(this.watch);
      }
      await this.rest(tries, words);
    }
  }

  /** What gives no sign of life for long is not waited for: that is what all this is about. */
  bounded() {
    this.giveUp = new AbortController();
    this.heard();
    return { signal: this.giveUp.signal };
  }

  heard() {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.giveUp.abort(), SILENT_FOR * 1000);
  }

  async read(reader) {
    const events = new EventReader((name, data) => this.tell(name, data));
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.heard();
      events.take(decoder.decode(value, { stream: true }));
    }
  }

  async locked(words) {
    const entered = new Promise((resolve) => (this.enter = resolve));
    this.tell("locked", { words });
    await entered;
  }

  async rest(tries, words) {
    const seconds = WAITS[Math.min(tries, WAITS.length - 1)];
    this.tell("away", { tries: tries + 1, words, retryAt: performance.now() / 1000 + seconds });
    await new Promise((resolve) => {
      this.hurry = resolve;
      setTimeout(resolve, seconds * 1000);
    });
  }
}

/** Takes a stream of events apart, however it was cut into pieces. */
export class EventReader {
  constructor(tell) {
    this.tell = tell;
    this.pieces = [];
  }

  take(text) {
    // A long event comes in many pieces, and is searched through once. The end of one may be cut in two.
    const last = this.pieces.length ? this.pieces[this.pieces.length - 1].slice(-1) : "";
    if (!`${last}${text}`.includes("\n\n")) {
      if (text) this.pieces.push(text);
      return;
    }
    const blocks = (this.pieces.join("") + text).split("\n\n");
    const rest = blocks.pop();
    this.pieces = rest ? [rest] : [];
    blocks.forEach((block) => this.one(block));
  }

  one(block) {
    let name = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    if (!data.length) return;
    let told;
    try {
      told = JSON.parse(data.join("\n"));
    } catch {
      return; // of another version, or cut: the next one says how it stands
    }
    this.tell(name, told);
  }
}
