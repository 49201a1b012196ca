// Why one generation is as it is: what it ended of, what has happened so far, each limit and its source.

import { byId, each, make, mark, say, show } from "./dom.js";
import { phaseShown } from "./state.js";
import { limitName, listed, many, outcome, spoken, tokens } from "./words.js";

const AGAIN = 2; // seconds between two looks at one that is still in flight

export class Why {
  constructor(gateway) {
    this.gateway = gateway;
    this.dialog = byId("why");
    this.id = null;
    byId("why-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  async open(id) {
    this.from = document.activeElement;
    this.id = id;
    this.told = "";
    this.isOld = false;
    this.say({ title: "Looking…" });
    if (!this.dialog.open) this.dialog.showModal();
    await this.look(id);
  }

  closed() {
    this.id = null;
    clearTimeout(this.next);
    if (document.activeElement !== document.body) return; // the browser has gone back, and somebody perhaps on
    if (this.from?.isConnected) this.from.focus();
    else byId("lane").hidden || byId("lane").focus();
  }

  async look(id) {
    clearTimeout(this.next);
    let told;
    try {
      told = await this.gateway.why(id);
    } catch (error) {
      if (this.id === id) this.failed(id, error);
      return;
    }
    if (this.id !== id) return;
    const words = JSON.stringify(told);
    if (words !== this.told || this.isOld) this.show(told);
    this.told = words;
    this.isOld = false;
    if (told.about.outcome == null) this.next = setTimeout(() => this.look(id), AGAIN * 1000);
  }

  /** What was found before stays in sight, and is said to be old. */
  failed(id, error) {
    const isAway = error.status === 0;
    if (isAway) this.next = setTimeout(() => this.look(id), AGAIN * 1000);
    if (!isAway || !this.told) {
      const title = isAway ? "The gateway is away" : error.status === 404 ? "Nothing is known of it" : "It could not be asked";
      this.say({ title, about: error.message });
      return;
    }
    this.isOld = true;
    say(byId("why-hint"), `What you see was last known: ${error.message}.`);
    show(byId("why-hint"), true);
  }

  show(told) {
    const { about } = told;
    const stands = about.outcome == null ? standing(about) : outcome(about);
    const words = listed(stands, about.tokens == null ? "" : tokens(about.tokens), spoken(about.elapsed), about.mode, about.run, about.step);
    const hint = told.hint || (told.log.length ? "" : "Nothing stands in the journal yet.");
    this.say({ ...told, title: about.model || "a model", about: `${words}\n${about.id}`, hint });
  }

  say({ title, about = "", verdict = [], page = "", explain = "", log = [], hint = "" }) {
    say(byId("why-title"), title);
    say(byId("why-about"), about);
    say(byId("why-verdict"), verdict[0] ?? "");
    say(byId("why-change"), verdict.slice(1).join("\n"));
    show(byId("why-change"), verdict.length > 1);
    say(byId("why-page"), page);
    show(byId("why-more"), Boolean(page));
    show(byId("why-ruling"), verdict.length > 0);
    say(byId("why-explain"), explain);
    show(byId("why-limits"), Boolean(explain));
    each(byId("why-log"), folded(log), (one) => one.key, entry, renew);
    say(byId("why-hint"), hint);
    show(byId("why-hint"), Boolean(hint));
    show(byId("why-happened"), Boolean(explain || log.length));
  }
}

/** As its row says it: silent 18 s, pings only, idle rings in 15 s. */
function standing({ phase, silence, in_contact: hears, nearest }) {
  const shown = phase == null ? "" : phaseShown(phase, silence ?? 0);
  const isSilent = shown === "silent";
  const rings = nearest?.rings_in == null ? "" : `${limitName(nearest.limit)} rings in ${spoken(nearest.rings_in)}`;
  return listed(isSilent ? `silent ${spoken(silence)}` : shown, isSilent && hears ? "pings only" : "", rings);
}

const FEW = 3; // heartbeats that are not worth folding

/** Each entry with a key of its own; heartbeats one after the other are one entry, with `beats`. */
export function folded(log) {
  const all = [];
  for (const [at, one] of log.entries()) {
    const last = all.at(-1);
    if (one.kind === "heartbeat" && last?.kind === "heartbeat") last.beats.push(one);
    else all.push({ ...one, key: `${at} ${one.kind}`, beats: one.kind === "heartbeat" ? [one] : [] });
  }
  return all.flatMap((one) => (one.beats.length < FEW ? alone(one) : [{ ...one, key: `${one.key} and more`, words: summed(one.beats) }]));
}

const alone = (one) => (one.beats.length ? one.beats.map((beat, at) => ({ ...beat, key: `${one.key} ${at}`, beats: [] })) : [one]);

/** 7 heartbeats, thinking, writing, 3 to 24 tokens */
function summed(beats) {
  const phases = new Set(beats.filter((beat) => beat.phase).map((beat) => phaseShown(beat.phase, 0)));
  const counts = beats.map((beat) => beat.tokens ?? 0);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const said = least === most ? tokens(most) : `${least.toLocaleString("en")} to ${tokens(most)}`;
  return [many(beats.length, "heartbeat"), ...phases, said].join(", ");
}

const after = (one) => (one.after == null ? "" : `+${spoken(one.after)}`);

/** Those that were folded are there to be opened. */
function entry(one) {
  const words = one.beats.length ? make("details", {}, make("summary"), make("ol", { class: "folded", role: "list" })) : make("span");
  return make("li", {}, make("span", { class: "after" }), words);
}

function renew(element, one) {
  const [begin, words] = element.children;
  mark(element, "data-kind", one.kind);
  say(begin, after(one));
  if (!one.beats.length) return say(words, one.words);
  say(words.firstChild, one.words);
  return each(words.lastChild, one.beats, (beat) => String(beat.after), (beat) => make("li", { text: `${after(beat)} ${beat.words}` }));
}
