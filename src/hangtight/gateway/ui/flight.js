// What is in flight: a list of which only the rows in sight exist, and the one loop that moves them.

import { byId, mark, say, show } from "./dom.js";
import { Row } from "./row.js";
import { kept, repeated, visible } from "./state.js";
import { many } from "./words.js";

const BEYOND = 3; // rows above and below what is in sight, so that the next one can be reached by Tab
const FRESH = 4; // seconds without a message after which nothing is made up any more

export class Flight {
  constructor(actions) {
    this.actions = actions;
    this.lane = byId("lane");
    this.list = byId("ribbons");
    this.count = byId("flight-count");
    this.rows = new Map();
    this.shown = [];
    this.heardAt = 0;
    this.isLive = false;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.list.addEventListener("focusin", () => this.fit());
    this.order = null; // as it was when a pointer came: nothing jumps under it
    this.lane.addEventListener("pointerenter", () => (this.order = this.shown.map((row) => row.id)));
    this.lane.addEventListener("pointerleave", () => this.leave());
    this.lane.addEventListener("scroll", () => this.fit(), { passive: true });
    const sizes = new ResizeObserver(() => this.measure());
    for (const element of [this.lane, byId("flight-title")]) sizes.observe(element); // the title grows with the text
    this.measure();
    requestAnimationFrame(() => this.frame());
  }

  update(state, now) {
    this.isLive = state.connection.is === "live";
    if (this.flying !== state.flying) this.heardAt = now;
    if (this.flying === state.flying && this.filter === state.filter) return;
    this.state = state;
    this.flying = state.flying;
    this.filter = state.filter;
    this.shown = kept(this.order, visible(state));
    this.repeated = repeated(state);
    const all = state.flying.size;
    say(this.count, this.shown.length === all ? String(all) : `${this.shown.length} of ${all}`);
    mark(this.count, "aria-label", `${many(all, "generation")} in flight`);
    show(this.lane, this.shown.length > 0);
    this.list.style.height = `${this.shown.length * this.height}px`;
    this.fit();
    if (this.calm.matches) this.draw();
  }

  leave() {
    this.order = null;
    if (this.state === undefined) return;
    this.shown = visible(this.state);
    this.fit();
  }

  /** How high a row is with the longest of words in the letters of this browser, and how wide its parts are. */
  measure() {
    this.list.style.removeProperty("--row");
    const { element, past, future, name, moved, about, state, tokens, elapsed } = new Row("", this.actions);
    for (const part of [name, moved, about]) say(part, "m");
    say(state, "silent 59 s");
    say(tokens, "99,999 tokens");
    say(elapsed, "59 min 59 s");
    element.classList.add("probe");
    this.list.append(element);
    this.height = element.offsetHeight || 92; // of a list that is not shown nothing can be measured
    this.sizes = { past: past.clientWidth || 300, future: future.clientWidth || 120 };
    element.remove();
    this.list.style.setProperty("--row", `${this.height}px`);
    this.list.style.height = `${this.shown.length * this.height}px`;
    this.fit();
  }

  /** The rows in sight exist, and those next to the one that has the focus. */
  fit() {
    const top = this.lane.scrollTop;
    const first = Math.max(0, Math.floor(top / this.height) - BEYOND);
    const last = Math.min(this.shown.length, Math.ceil((top + this.lane.clientHeight) / this.height) + BEYOND);
    const needed = new Map();
    for (let at = first; at < last; at++) needed.set(this.shown[at].id, at);
    const focused = document.activeElement?.closest?.(".row")?.dataset.id;
    const held = focused === undefined ? undefined : this.shown.findIndex((row) => row.id === focused);
    if (held >= 0) {
      for (let at = Math.max(0, held - 1); at < Math.min(this.shown.length, held + 2); at++) needed.set(this.shown[at].id, at);
    }
    this.drop(needed);
    for (const [id, at] of needed) this.put(id, at);
    this.sort();
  }

  drop(needed) {
    for (const [id, row] of this.rows) {
      if (needed.has(id)) continue;
      if (row.element.contains(document.activeElement)) (this.lane.hidden ? byId("flight") : this.lane).focus({ preventScroll: true });
      row.element.remove();
      this.rows.delete(id);
    }
  }

  put(id, at) {
    let row = this.rows.get(id);
    if (row === undefined) {
      row = new Row(id, this.actions);
      this.rows.set(id, row);
      this.list.append(row.element);
    }
    if (row.at !== undefined && row.at !== at) row.movedAt = performance.now();
    row.at = at;
    row.element.style.transform = `translateY(${at * this.height}px)`;
    row.update(this.shown[at], at, this.shown.length, this.repeated.has(this.shown[at].model));
  }

  /** In their order, for those who go through them by Tab. Who has the focus would lose it: the others go around it. */
  sort() {
    const rows = [...this.rows.values()].sort((one, other) => one.at - other.at).map((row) => row.element);
    const held = Math.max(0, rows.findIndex((element) => element.contains(document.activeElement)));
    for (let at = held - 1; at >= 0; at--) if (rows[at].nextSibling !== rows[at + 1]) rows[at + 1].before(rows[at]);
    for (let at = held + 1; at < rows.length; at++) if (rows[at].previousSibling !== rows[at - 1]) rows[at - 1].after(rows[at]);
  }

  frame() {
    if (!this.calm.matches) this.draw();
    requestAnimationFrame(() => this.frame());
  }

  /** Nothing is made up: without news for long, or without a connection, the ribbons stand still. */
  draw() {
    const now = performance.now() / 1000;
    const until = Math.min(now, this.heardAt + FRESH);
    if (!this.isLive && until < now) return;
    for (const row of this.rows.values()) row.draw(until, this.sizes, this.calm.matches);
  }
}
