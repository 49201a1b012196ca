// The last that have ended, and what happened to their deadlines.

import { byId, each, make, mark, say, show } from "./dom.js";
import { BAD, wanted } from "./state.js";
import { clockTime, fate, isSaved, listed, outcome, spoken, tokens } from "./words.js";

export class Finished {
  constructor(actions) {
    this.actions = actions;
    this.list = byId("ends");
    this.empty = byId("ends-empty");
    this.count = byId("ends-count");
  }

  update(state) {
    if (this.finished === state.finished && this.filter === state.filter && this.listed === state.listed) return;
    this.listed = state.listed;
    this.finished = state.finished;
    this.filter = state.filter;
    const shown = state.finished.filter((each) => wanted(each, state.filter));
    say(this.count, String(shown.length));
    say(this.empty, state.finished.length ? "None of the last hundred is of this kind." : nothing(state));
    show(this.empty, shown.length === 0);
    show(this.list, shown.length > 0);
    each(this.list, shown, (told) => told.id, (told) => this.create(told), renew);
  }

  create(told) {
    const name = make("button", { class: "name", type: "button", click: () => this.actions.why(told.id) });
    return make(
      "li",
      { class: "end", "data-id": told.id },
      make("span", { class: "verdict" }),
      name,
      make("span", { class: "fate" }),
      make("span", { class: "sum" }),
      make("time", { datetime: told.ended }),
    );
  }
}

/** The list begins with the gateway, the receipt with the day. */
const SINCE = "Nothing has ended since this gateway started; hangtight log has what was before.";
const nothing = (state) => (state.listed ? SINCE : "Not known yet.");

function renew(element, told) {
  const [verdict, name, words, sum, time] = element.children;
  say(verdict, outcome(told));
  const kind = BAD.has(told.outcome) ? "bad" : told.outcome === "finished" ? "good" : "plain";
  mark(element, "data-kind", isSaved(told) ? "saved" : kind);
  say(name, told.model || told.asked || "a model");
  mark(name, "aria-label", `${told.model || "a model"}: what happened?`);
  say(words, listed(told.run, fate(told)));
  mark(words, "title", told.source ? `from ${told.source}` : null);
  say(sum, `${tokens(told.tokens ?? 0)}, ${spoken(told.elapsed)}`);
  say(time, clockTime(told.ended));
}
