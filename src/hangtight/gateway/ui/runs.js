// The runs of workflows, each as a tree of its steps with their shares of its time.

import { byId, each, fill, make, mark, say, show } from "./dom.js";
import { limitName, listed, many, outcome, spoken, tokens } from "./words.js";

export const MOST_RUNS = 5;
const TO_COME = new Set(["to come", "not begun"]);
const MOST_TO_COME = 12; // steps of a run that have not begun; the others are counted
const MARKS = {
  running: "▸", "to come": "○", "not begun": "○", finished: "✓", failed: "✕", timeout: "✕", cancelled: "–", skipped: "–",
};

/** How long something has taken so far, or took; null where it has not begun. */
export function taken(told, wall) {
  if (told.elapsed != null) return told.elapsed;
  const began = Date.parse(told.began);
  return Number.isFinite(began) ? Math.max(0, wall - began / 1000) : null;
}

/** A step for its row: how it stands, what it took of which time, and by how much it is over its share. */
export function stepShown(step, run, wall) {
  const toCome = run.outcome ? "not begun" : "to come";
  const stands = step.outcome || (step.began ? "running" : toCome);
  const took = taken(step, wall);
  const given = step.allotted ?? step.timeout ?? null;
  const over = step.allotted != null && took - step.allotted >= 0.1 ? took - step.allotted : 0;
  return { name: step.step, stands, took, given, over, part: step.share ?? null, tokens: step.tokens, rang: step.broken_limit };
}

/** Its words: 42 s of 59 s · 50 % of the budget. */
export function stepWords({ stands, took, given, over, part, ...step }) {
  const share = part == null ? "" : `${Math.round(100 * part)} % of the budget`;
  const of = given == null ? "" : ` of ${spoken(given)}`;
  let time = took == null ? "" : spoken(took) + of;
  if (took == null && part != null) time = spoken(given);
  if (over > 0) time = `${spoken(took)}, ${spoken(over)} over its share${of}`;
  const rang = step.rang ? `${limitName(step.rang)} rang` : "";
  return listed(outcome({ outcome: stands }), time, share, step.tokens ? tokens(step.tokens) : "", rang);
}

/** A run for its card: its words, how full its bar is (null for none), and why it ended early. */
export function runShown(run, wall) {
  const took = taken(run, wall);
  const whole = (Date.parse(run.deadline) - Date.parse(run.began)) / 1000;
  const has = took != null && whole > 0;
  const far = run.percent == null || run.outcome === "finished" ? "" : `about ${Math.round(run.percent)} % of its work done`;
  const of = has ? ` of ${spoken(whole)}` : "";
  const budget = has && !run.outcome && run.status ? `${spoken(Math.max(0, whole - took))} left of ${spoken(whole)}` : "";
  const left = run.left != null && !run.outcome ? `done in about ${spoken(run.left)}` : "";
  const ended = run.outcome && run.elapsed != null ? spoken(run.elapsed) + of : "";
  const so = run.outcome || took == null || has ? "" : `${spoken(took)} so far`;
  const early = run.outcome && run.outcome !== "finished" ? String(run.error || "").split("\n", 1)[0] : "";
  const done = run.outcome === "finished" ? 1 : run.percent == null ? null : run.percent / 100;
  return {
    words: listed(outcome({ outcome: run.outcome || run.status || "no end is known" }), budget || so || ended, far, left),
    full: has ? took / whole : done,
    means: has ? "how much of its budget is used" : "how far the run is",
    early,
  };
}

export class Runs {
  constructor() {
    this.list = byId("runs");
    this.empty = byId("runs-empty");
  }

  update(state) {
    const page = state.pages.runs;
    const wall = Date.now() / 1000;
    if (page === undefined) return;
    if (this.page === page && (this.second === Math.floor(wall) || page.runs.every((run) => run.outcome))) return;
    this.page = page;
    this.second = Math.floor(wall);
    show(this.empty, page.runs.length === 0);
    show(this.list, page.runs.length > 0);
    each(this.list, page.runs, (run) => run.id, create, (element, run) => renew(element, run, wall));
  }
}

function create(run) {
  return make(
    "li",
    { class: "run", "data-id": run.id },
    make("h3", { class: "title" }),
    make("p", { class: "words" }),
    make("p", { class: "warning", hidden: true }),
    make("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }),
    make("ul", { class: "steps", role: "list" }),
    make("p", { class: "words", hidden: true }),
  );
}

function renew(element, run, wall) {
  const [title, words, early, bar, steps, more] = element.children;
  const shown = runShown(run, wall);
  say(title, run.flow || run.id);
  say(words, shown.words);
  mark(words, "title", run.id);
  say(early, shown.early);
  show(early, shown.early !== "");
  mark(element, "data-kind", run.outcome || "running");
  show(bar, shown.full != null);
  mark(bar, "aria-label", shown.means);
  mark(bar, "aria-valuenow", shown.full == null ? null : Math.round(100 * Math.min(1, shown.full)));
  fill(bar, shown.full);
  const rows = (run.steps ?? []).map((step) => stepShown(step, run, wall));
  const later = new Set(rows.filter((row) => TO_COME.has(row.stands)).slice(MOST_TO_COME));
  each(steps, rows.filter((row) => !later.has(row)), (row) => row.name, createStep, renewStep);
  show(more, later.size > 0);
  say(more, `and ${many(later.size, "more step")}`);
}

function createStep() {
  return make(
    "li",
    { class: "step" },
    make("span", { class: "mark", "aria-hidden": "true" }),
    make("span", { class: "title" }),
    make("span", { class: "words" }),
    make("span", { class: "bar share", "aria-hidden": "true" }),
  );
}

function renewStep(element, row) {
  const [sign, title, words, bar] = element.children;
  say(sign, MARKS[row.stands] ?? "·");
  mark(element, "data-kind", row.stands);
  mark(element, "data-over", row.over > 0);
  say(title, row.name);
  say(words, stepWords(row));
  show(bar, row.given != null);
  bar.style.setProperty("--share", String(row.part ?? 1));
  fill(bar, row.given ? (row.took ?? 0) / row.given : 0);
}
