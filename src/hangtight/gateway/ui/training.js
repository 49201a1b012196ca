// A card for each training run, from the status file that it writes.

import { byId, each, fill, make, mark, say, show } from "./dom.js";
import { listed, spoken } from "./words.js";

const STALE = 300; // seconds without a word from a run that has not ended
const TOO_MANY = 0.1; // of the evaluations timed out: the model or the data need a look

/** What a card says: `{kind, head, words, warning, share}`. */
export function cardOf(card, since) {
  const trouble = card.trouble ?? card.error ?? card.why ?? "";
  if (trouble || card.current_step == null) {
    return { kind: "unknown", head: "nothing to show", words: String(trouble || "it says nothing of its steps"), warning: "", share: null };
  }
  const fresh = (card.fresh ?? 0) + since;
  const ended = card.doing === "finished";
  const rate = card.timeouts?.rate ?? 0;
  const warnings = [
    card.doing === "hung" ? "it hangs" : "",
    !ended && fresh > STALE ? `nothing was written for ${spoken(fresh)}: it may be stuck` : "",
    rate > TOO_MANY ? `${Math.round(100 * rate)} % of its evaluations timed out: the model or the data need a look` : "",
  ];
  const of = card.total_steps ? ` of ${card.total_steps.toLocaleString("en")}` : "";
  const evaluations = card.evaluations ? `${card.evaluations} evaluations, ${card.timeouts?.count ?? 0} timed out` : "";
  return {
    kind: card.doing ?? "training",
    head: `step ${card.current_step.toLocaleString("en")}${of}`,
    words: listed(
      card.doing,
      typeof card.loss === "number" ? `loss ${card.loss.toFixed(4)}` : "",
      evaluations,
      card.eta != null && !ended ? `about ${spoken(card.eta)} left` : "",
      `written ${spoken(fresh)} ago`,
    ),
    warning: listed(...warnings),
    share: card.total_steps ? card.current_step / card.total_steps : null,
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
