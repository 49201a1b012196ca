// One ribbon: its parts, and how it moves between two messages.

import { each, make, mark, say, show } from "./dom.js";
import { edgeAt, elapsedOf, isNear, leftSaid, partsOf, ringsIn, silenceOf, spanOf } from "./scale.js";
import { alternative, comes, listed, moved, spoken, ticking, tokens } from "./words.js";

const SETTLED = 700; // milliseconds that a row stands where it is before a click is meant for it
const FLASH = 1.2; // seconds
const EASE = 0.14; // of the way, in each frame
const NARROW = 160; // pixels of what is to come: there a label says less
const SHORT = 6; // characters of an id that tell one of the same name from the others

export class Row {
  constructor(id, actions) {
    this.name = make("button", { class: "name", type: "button", click: () => actions.why(id) });
    this.moved = make("span", { class: "moved" });
    this.about = make("span", { class: "about" });
    this.trouble = make("span", { class: "trouble" });
    this.strip = make("div", { class: "strip" });
    this.label = make("span", { class: "edge-label" });
    this.edge = make("div", { class: "edge" });
    this.past = make("div", { class: "past" }, this.strip);
    this.future = make("div", { class: "future" }, this.edge, this.label);
    this.track = make("div", { class: "track", role: "img" }, this.past, this.future);
    this.state = make("span", { class: "state" });
    this.tokens = make("span", { class: "tokens" });
    this.elapsed = make("span", { class: "elapsed" });
    this.cancel = make("button", { class: "quiet", type: "button", text: "Cancel", click: (event) => this.mayCancel(event) && actions.cancel(id) });
    this.element = make(
      "li",
      { class: "row", "data-id": id },
      make("div", { class: "who" }, this.name, this.moved, this.trouble, this.about),
      this.track,
      make("div", { class: "numbers" }, this.state, this.tokens, this.elapsed),
      this.cancel,
    );
    this.segments = null;
    this.shownEdge = null;
    this.perSecond = 0;
    this.told = 0;
    this.movedAt = -SETTLED;
  }

  /** Not where it came under the pointer a moment ago: another one was meant. */
  mayCancel(event) {
    const isPointed = event.detail > 0;
    return !this.isFixed && !(isPointed && performance.now() - this.movedAt < SETTLED);
  }

  /** New numbers. */
  update(row, place, size, isRepeated) {
    this.row = row;
    const own = isRepeated ? row.id.slice(0, SHORT) : "";
    const called = [row.model || "a model", own].filter(Boolean).join(", ");
    say(this.name, row.model || "a model");
    mark(this.name, "aria-label", `${called}: why is it as it is?`);
    const doing = row.doing && row.phase === "writing" ? row.doing : "";
    const queue = row.phase === "queued" && row.position != null ? `position ${row.position}` : "";
    const pings = row.in_contact && row.silence >= 3 ? "pings only" : "";
    say(this.about, listed(own, row.run, row.step, row.mode, doing, queue, pings));
    mark(this.state, "data-phase", row.phase);
    say(this.tokens, tokens(row.tokens));
    mark(this.element, "aria-posinset", place + 1);
    mark(this.element, "aria-setsize", size);
    say(this.cancel, row.cancelling || "Cancel");
    mark(this.cancel, "aria-label", `${row.cancelling || "Cancel"} ${called}`);
    this.isFixed = Boolean(row.cancelling) || row.cancellable === false;
    mark(this.cancel, "aria-disabled", this.isFixed ? "true" : null); // a disabled one would lose the focus
    say(this.trouble, row.trouble);
    mark(this.trouble, "title", row.trouble || null);
    mark(this.track, "aria-label", alternative(row, leftSaid(row, row.at).left));
    show(this.edge, row.limit != null);
    const isMoved = Math.abs(row.extended) > 0.5;
    say(this.moved, isMoved ? `${row.extended > 0 ? "+" : "−"}${spoken(Math.abs(row.extended))}` : "");
    mark(this.moved, "title", isMoved ? moved(row.extended) : null);
    mark(this.moved, "data-way", row.extended > 0 ? "longer" : "shorter");
    this.told = 0;
  }

  /** As it stands at this instant of the page's clock. */
  draw(now, sizes, isCalm) {
    const { row } = this;
    const elapsed = elapsedOf(row, now);
    this.lay(elapsed, sizes);
    this.strip.style.transform = `translateX(${(sizes.past - elapsed * this.perSecond).toFixed(2)}px)`;
    const left = ringsIn(row, now);
    const target = edgeAt(left) * sizes.future;
    const isFirst = this.shownEdge === null || isCalm;
    this.shownEdge = isFirst ? target : this.shownEdge + (target - this.shownEdge) * EASE;
    this.edge.style.transform = `translateX(${this.shownEdge.toFixed(2)}px)`;
    const share = sizes.future ? this.shownEdge / sizes.future : 0; // so it goes beyond neither end
    this.label.style.transform = `translateX(calc(${this.shownEdge.toFixed(2)}px - ${(100 * share).toFixed(2)}%))`;
    if (now - this.told < 0.2) return;
    this.told = now;
    this.tell(now, left, elapsed, sizes);
  }

  /** What stands beside it in words, a few times a second. */
  tell(now, left, elapsed, sizes) {
    const { row } = this;
    say(this.state, row.phase === "silent" ? `silent ${ticking(silenceOf(row, now))}` : row.phase);
    say(this.elapsed, ticking(elapsed));
    mark(this.past, "data-full", elapsed > 0.7 * spanOf(elapsed));
    say(this.label, comes(row.limit, leftSaid(row, now), sizes.future < NARROW));
    mark(this.element, "data-near", isNear(row, left));
    mark(this.element, "data-jumped", row.jump !== null && now - row.jump.at < FLASH ? (row.jump.by > 0 ? "away" : "nearer") : null);
  }

  lay(elapsed, sizes) {
    const span = spanOf(elapsed);
    const perSecond = sizes.past / span;
    if (perSecond === this.perSecond && this.segments === this.row.segments && this.beats === this.row.beats) return;
    this.perSecond = perSecond;
    mark(this.past, "data-span", `${spoken(span)} ago`);
    this.segments = this.row.segments;
    this.beats = this.row.beats;
    const parts = partsOf(this.segments, perSecond, sizes.past * 2).map((part, at) => ({ ...part, key: `part ${at}` }));
    const beats = this.beats.map((at) => ({ key: `beat ${at}`, left: at * perSecond }));
    each(this.strip, [...parts, ...beats], (part) => part.key, newPart, place);
  }
}

function newPart(part) {
  return make(part.phase === undefined ? "b" : "i", { class: part.phase === undefined ? "beat" : "part" });
}

function place(element, part) {
  element.style.left = `${part.left.toFixed(1)}px`;
  if (part.phase === undefined) return;
  element.style.width = `${part.width.toFixed(1)}px`;
  mark(element, "data-phase", part.phase);
}
