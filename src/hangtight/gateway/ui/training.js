// A card for each training run, from the status file that it writes.

import { byId, each, fill, make, mark, say, show } from "./dom.js";
import { listed, spoken } from "./words.js";

const STALE = 300; // seconds without a word from a run that has not ended
const TOO_MANY = 0.1; // of the evaluations timed out: the model or the data need a look

// The file is written by others: what is no number is not reckoned with.
const numberOf = (value) => (Number.isFinite(value) ? value : null);
const textOf = (value) => (typeof value === "string" ? value : "");

/** What a card says: `{kind, head, words, warning, share}`. */
export function cardOf(card, since) {
  const trouble = textOf(card.trouble) || textOf(card.error) || textOf(card.why);
  const [step, total, loss, eta] = [card.current_step, card.total_steps, card.loss, card.eta].map(numberOf);
  if (trouble || step === null) {
    return { kind: "unknown", head: "nothing to show", words: trouble || "it says nothing of its steps", warning: "", share: null };
  }
  const fresh = (numberOf(card.fresh) ?? 0) + since;
  const doing = textOf(card.doing);
  const ended = doing === "finished";
  const rate = numberOf(card.timeouts?.rate) ?? 0;
  const warnings = [
    doing === "hung" ? "it hangs" : "",
    !ended && fresh > STALE ? `nothing was written for ${spoken(fresh)}: it may be stuck` : "",
    rate > TOO_MANY ? `${Math.round(100 * rate)} % of its evaluations timed out: the model or the data need a look` : "",
  ];
  const of = total > 0 ? ` of ${total.toLocaleString("en")}` : "";
  const evaluated = numberOf(card.evaluations);
  const evaluations = evaluated ? `${evaluated} evaluations, ${numberOf(card.timeouts?.count) ?? 0} timed out` : "";
  return {
    kind: doing || "training",
    head: `step ${step.toLocaleString("en")}${of}`,
    words: listed(
      doing,
      loss === null ? "" : `loss ${loss.toFixed(4)}`,
      evaluations,
      eta !== null && !ended ? `about ${spoken(eta)} left` : "",
      `written ${spoken(fresh)} ago`,
    ),
    warning: listed(...warnings),
    share: total > 0 ? step / total : null,
  };
}

export class Training {
  constructor() {
    this.section = byId("training");
    this.list = byId("cards");
  }

  update(state, now) {
    const page = state.pages.training;
    const cards = page?.cards ?? [];
    show(this.section, cards.length > 0);
    if (cards.length) each(this.list, cards, (card) => card.path, create, (element, card) => renew(element, card, now - page.at));
  }
}

function create() {
  return make(
    "li",
    { class: "card" },
    make("h3", { class: "title" }),
    make("p", { class: "words" }),
    make("div", { class: "bar", "aria-hidden": "true" }),
    make("p", { class: "warning" }),
    make("p", { class: "path" }),
  );
}

function renew(element, card, since) {
  const [title, words, bar, warning, path] = element.children;
  const told = cardOf(card, since);
  mark(element, "data-kind", told.kind);
  say(title, told.head);
  say(words, told.words);
  show(bar, told.share !== null);
  fill(bar, told.share ?? 0);
  say(warning, told.warning);
  show(warning, Boolean(told.warning));
  say(path, card.path);
}
