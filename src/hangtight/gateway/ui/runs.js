// The runs of workflows, each as a tree of its steps with their shares of its time.

import { byId, each, fill, make, mark, say, show } from "./dom.js";
import { limitName, listed, spoken, tokens } from "./words.js";

export const MOST_RUNS = 5;
const MARKS = { running: "▸", waiting: "○", finished: "✓", failed: "✕", timeout: "✕", cancelled: "–", skipped: "–" };

/** What part of the run's time each step was given, 0 to 1; null where its budget gave it none, or the run has none. */
export function shares(run) {
  return (run.steps ?? []).map((step) => step.share ?? null);
}

/** How long a step has taken so far. */
export function taken(step, wall) {
  if (step.elapsed != null) return step.elapsed;
  const began = Date.parse(step.began);
  return Number.isFinite(began) ? Math.max(0, wall - began / 1000) : null;
}

export class Runs {
  constructor() {
    this.list = byId("runs");
    this.empty = byId("runs-empty");
  }

  update(state) {
    const page = state.pages.runs;
    if (page === undefined || this.page === page) return;
    this.page = page;
    show(this.empty, page.runs.length === 0);
    show(this.list, page.runs.length > 0);
    each(this.list, page.runs, (run) => run.id, create, renew);
  }
}

function create(run) {
  return make(
    "li",
    { class: "run", "data-id": run.id },
    make("h3", { class: "title" }),
    make("p", { class: "words" }),
    make("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "how far the run is" }),
    make("ul", { class: "steps", role: "list" }),
  );
}

function renew(element, run) {
  const [title, words, bar, steps] = element.children;
  const percent = run.outcome ? (run.outcome === "finished" ? 100 : run.percent) : run.percent;
  say(title, run.flow || run.id);
  const left = run.left != null && !run.outcome ? `about ${spoken(run.left)} left` : "";
  say(words, listed(run.outcome || run.status, percent == null ? "" : `${Math.round(percent)} %`, left, run.elapsed == null ? "" : spoken(run.elapsed)));
  mark(words, "title", run.id);
  mark(element, "data-kind", run.outcome || "running");
  show(bar, percent != null);
  mark(bar, "aria-valuenow", percent == null ? null : Math.round(percent));
  fill(bar, (percent ?? 0) / 100);
  const parts = shares(run);
  const wall = Date.now() / 1000;
  const rows = (run.steps ?? []).map((step, at) => ({ ...step, part: parts[at], taken: taken(step, wall) }));
  each(steps, rows, (step) => step.step, createStep, renewStep);
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

function renewStep(element, step) {
  const [sign, title, words, bar] = element.children;
  const stands = step.outcome || (step.began ? "running" : "waiting");
  say(sign, MARKS[stands] ?? "·");
  mark(element, "data-kind", stands);
  say(title, step.step);
  const given = step.allotted ?? step.timeout;
  const of = given == null ? "" : ` of ${spoken(given)}`;
  const share = step.part == null ? "" : `${Math.round(100 * step.part)} % of the budget`;
  const rang = step.broken_limit ? `${limitName(step.broken_limit)} rang` : "";
  say(words, listed(stands, step.taken == null ? "" : `${spoken(step.taken)}${of}`, share, step.tokens ? tokens(step.tokens) : "", rang));
  show(bar, given != null);
  bar.style.setProperty("--share", String(step.part ?? 1));
  fill(bar, given ? Math.min(1, (step.taken ?? 0) / given) : 0);
}
