// The gateway as this page asks it: with the key, where one is needed, and again when it was away.

const KEY = "hangtight-key";
const A_KEY = /^[\x21-\x7e]+$/; // what a header can carry
const WAITS = [1, 2, 3, 5, 8, 15]; // seconds until the next try
const BUSY = [5, 12]; // seconds without a byte that are told, and after which one asks anew: rows come twice a second
const IDLE = [20, 40]; // the same where nothing is in flight: a sign of life comes every 15
const ANSWERED_IN = 10; // seconds
const CANCELLED_IN = 30; // seconds: the gateway waits for the end that it asks for
const AWAY = "no gateway answers at this address";
const ROOT = new URL("../", import.meta.url);
const now = () => performance.now() / 1000;

/** Asked, and not done. Status 0: nobody answered. */
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
    this.wrong = 0;
    this.giveUp = new AbortController();
    this.retry = () => {};
    this.enter = () => {};
    this.appear = () => {};
    document.addEventListener("visibilitychange", () => this.turned());
  }

  get key() {
    let key = this.kept;
    try {
      key = sessionStorage.getItem(KEY) ?? key;
      if (key && !A_KEY.test(key)) sessionStorage.removeItem(KEY);
    } catch {
      // A browser that keeps nothing.
    }
    return A_KEY.test(key ?? "") ? key : "";
  }

  /** The key that was typed in. Kept as long as this window, and nowhere else. */
  give(key) {
    if (!A_KEY.test(key)) {
      this.tell("locked", { words: "This cannot be a key: a key has letters without accents, digits and signs, and no spaces." });
      return;
    }
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

  /** What it says. Raises Refused, also where no answer comes within these seconds. */
  async get(path, options = {}, within = ANSWERED_IN) {
    let response;
    let body;
    try {
      response = await this.ask(path, { signal: AbortSignal.timeout(within * 1000), ...options });
      body = await response.text();
    } catch (error) {
      throw new Refused(0, error.name === "TimeoutError" ? `the gateway gave no answer within ${within} s` : AWAY);
    }
    let said;
    try {
      said = JSON.parse(body);
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
    return this.get(`hangtight/generations/${encodeURIComponent(id)}`, { method: "DELETE" }, CANCELLED_IN);
  }

  /** Follow the events for ever, while somebody looks. */
  async follow() {
    for (let tries = 0; ; ) {
      this.tell("connecting", {});
      await this.inSight();
      let words = "the gateway has ended the connection";
      try {
        const response = await this.ask(`hangtight/events?flight=${this.every}`, this.watched());
        if (response.status === 401 || response.status === 403) {
          await this.locked();
          tries = 0;
          continue;
        }
        if (!response.ok) throw new Refused(response.status, `the gateway answers with status ${response.status}`);
        this.opened();
        tries = 0;
        await this.read(response.body.getReader());
      } catch (error) {
        words = error instanceof Refused ? error.message : this.silence || AWAY;
      } finally {
        clearInterval(this.watch);
      }
      if (!this.isLeft) await this.rest(tries++, words);
    }
  }

  // -- who looks ------------------------------------------------------------------------------------------------

  /** A browser opens six connections to one address: a window that nobody sees leaves its own to the others. */
  turned() {
    if (document.hidden) this.leave();
    else {
      this.appear();
      this.retry();
    }
  }

  async inSight() {
    if (document.hidden) await new Promise((resolve) => (this.appear = resolve));
  }

  leave() {
    this.isLeft = true;
    this.giveUp.abort();
  }

  /** Do not wait for the next try. */
  hurry() {
    this.retry();
    if (this.isQuiet) this.leave();
  }

  // -- silence --------------------------------------------------------------------------------------------------

  /** What gives no sign of life for long is not waited for: that is what all this is about. */
  watched() {
    this.giveUp = new AbortController();
    this.isLeft = this.isQuiet = false;
    this.isBusy = true; // an answer is owed
    this.silence = "";
    this.heardAt = now();
    clearInterval(this.watch);
    this.watch = setInterval(() => this.look(), 1000);
    return { signal: this.giveUp.signal };
  }

  look() {
    const silent = now() - this.heardAt;
    const [told, most] = this.isBusy ? BUSY : IDLE;
    if (silent < told) return;
    const words = `no news for ${Math.floor(silent)} s`;
    if (silent < most) {
      this.isQuiet = true;
      this.tell("quiet", { words, retryAt: this.heardAt + most });
      return;
    }
    this.silence = words;
    this.giveUp.abort();
  }

  opened() {
    this.wrong = 0;
    this.isBusy = false;
    this.tell("opened", {});
    this.heard();
  }

  heard() {
    this.heardAt = now();
    if (this.isQuiet) this.tell("heard", {});
    this.isQuiet = false;
  }

  async read(reader) {
    const events = new EventReader((name, data) => {
      if (name === "flight") this.isBusy = data.rows?.length > 0;
      this.tell(name, data);
    });
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.heard();
      events.take(decoder.decode(value, { stream: true }));
    }
  }

  async locked() {
    clearInterval(this.watch);
    const entered = new Promise((resolve) => (this.enter = resolve));
    this.tell("locked", { words: this.key ? refusal(++this.wrong) : "" });
    await entered;
  }

  async rest(tries, words) {
    const seconds = WAITS[Math.min(tries, WAITS.length - 1)];
    this.tell("away", { tries: tries + 1, words, retryAt: now() + seconds });
    await new Promise((resolve) => {
      this.retry = resolve;
      setTimeout(resolve, seconds * 1000);
    });
  }
}

/** Other words each time: the same words again are not read aloud. */
function refusal(wrong) {
  return wrong === 1 ? "This key was not accepted." : `This key was not accepted either: ${wrong} were tried.`;
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
