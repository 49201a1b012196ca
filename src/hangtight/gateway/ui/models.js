// The models and their state: of servers that we run each phase with its clock, of others what was seen.

import { byId, each, make, mark, say, show } from "./dom.js";
import { BAD } from "./state.js";
import { isOfTheClient, listed, many, outcome, reason, spoken, ticking } from "./words.js";

const ON_THE_WAY = new Set(["starting", "waking", "sleeping", "stopping", "draining"]);
const MOST = 40;

/** All of them as `{model, kind, words, why, share}`; `now` is the page's clock. */
export function modelsOf(state, now) {
  const run = state.pages.models;
  const health = state.pages.health;
  const counts = state.isFollowed ? countedByModel(state) : null;
  const doing = (model, told) => (counts === null ? asTold(told) : (counts.get(model) ?? NOTHING));
  const last = (model) => lastWords(health?.models?.[model]?.last_end, now - (health?.at ?? now));
  const rows = (run?.models ?? []).map((told) => ofOurs(told, doing(told.model, told), last(told.model), now - run.at));
  const known = new Set(rows.map((row) => row.model));
  for (const [model, told] of Object.entries(health?.models ?? {})) {
    if (!known.has(model)) rows.push(ofOthers({ ...told, model }, doing(model, told), last(model), state.circuits.get(model), now));
  }
  return rows;
}

// -- what each of them does -----------------------------------------------------------------------------------------

const NOTHING = Object.freeze({ running: 0, silent: 0, waiting: 0, speaking: 0 });
const asTold = (told) => ({ ...NOTHING, running: told.requests ?? told.running ?? 0, waiting: told.waiting ?? 0 });

/** By what is in flight, which is newer than the pages. `speaking` are those of whom something came, and comes. */
function countedByModel(state) {
  const counts = new Map();
  for (const { model, phase, tokens } of state.flying.values()) {
    const found = counts.get(model) ?? { ...NOTHING };
    const kind = phase === "queued" ? "waiting" : phase === "silent" ? "silent" : "running";
    found[kind] += 1;
    if (kind === "running" && tokens) found.speaking += 1;
    counts.set(model, found);
  }
  return counts;
}

/** How the last one of this model failed; nothing where it did not. */
function lastWords(end, since) {
  if (!end || !BAD.has(end.outcome) || isOfTheClient(end)) return "";
  return `last: ${reason(end) || outcome(end)}, ${spoken(end.ago + since)} ago`;
}

const busyWords = ({ running, silent, waiting }, said) =>
  listed(running ? said(running) : "", silent ? `${silent} silent` : "", waiting ? `${waiting} waiting` : "");

// -- each in its words ----------------------------------------------------------------------------------------------

function ofOurs(told, doing, last, since) {
  const lasts = (told.for ?? 0) + since;
  const limit = told.rings_in == null ? null : told.rings_in + (told.for ?? 0);
  const busy = busyWords(doing, (running) => many(running, "request"));
  const row = { model: told.model, kind: told.phase, why: told.why || "", share: null };
  if (ON_THE_WAY.has(told.phase)) {
    if (limit === null) return { ...row, words: listed(`${told.phase}, ${ticking(lasts)}`, busy) };
    const of = `${told.phase}, ${Math.floor(Math.min(lasts, limit))} of ${spoken(Math.round(limit))}`;
    return { ...row, words: listed(of, busy), share: lasts / limit };
  }
  const isReady = told.phase === "ready" && !doing.speaking;
  const kind = isReady && (doing.silent || last) ? "silent" : told.phase;
  return { ...row, kind, words: listed(told.phase, busy || `for ${ticking(lasts)}`, isReady ? last : "") };
}

function ofOthers(told, doing, last, circuit, now) {
  const { model } = told;
  const row = { model, why: "", share: null };
  const state = circuit?.state ?? told.circuit;
  if (state && state !== "closed") {
    const lasts = circuit === undefined ? "" : ` for ${ticking(now - circuit.at)}`;
    return { ...row, kind: "failed", words: `circuit ${String(state).replace(/_/g, " ")}${lasts}` };
  }
  if (told.still_running_at_server) {
    return { ...row, kind: "failed", words: `its server goes on with ${many(told.still_running_at_server, "cancelled generation")}` };
  }
  const hasSpoken = doing.speaking + doing.silent > 0 || Boolean(told.last_progress) || told.last_end?.outcome === "finished";
  const busy = busyWords(doing, (running) => `${running} running`);
  const words = listed(busy, doing.speaking ? "" : last || (busy && !hasSpoken ? "nothing has come yet" : ""));
  const isWorrying = !doing.speaking && (doing.silent || last);
  const idle = hasSpoken ? "ready" : told.last_end ? "asked, nothing has come yet" : "not asked yet";
  return { ...row, kind: isWorrying ? "silent" : hasSpoken ? "ready" : "stopped", words: words || idle };
}

export class Models {
  constructor() {
    this.list = byId("models");
    this.empty = byId("models-empty");
  }

  update(state, now) {
    const rows = modelsOf(state, now);
    show(this.empty, rows.length === 0);
    say(this.empty, state.pages.health === undefined ? "Not known yet." : "No model is known by name. Ask one, and it stands here.");
    show(this.list, rows.length > 0);
    each(this.list, rows.slice(0, MOST), (row) => row.model, create, renew);
  }
}

function create() {
  return make(
    "li",
    { class: "card-row" },
    make("span", { class: "lamp", "aria-hidden": "true" }),
    make("span", { class: "title" }),
    make("span", { class: "words" }),
    make("span", { class: "bar", "aria-hidden": "true" }),
    make("span", { class: "why-words" }),
  );
}

function renew(element, row) {
  const [lamp, title, words, bar, why] = element.children;
  mark(lamp, "data-kind", row.kind);
  say(title, row.model);
  say(words, row.words);
  show(bar, row.share !== null);
  bar.style.setProperty("--full", String(Math.min(1, row.share ?? 0)));
  say(why, row.why);
  show(why, Boolean(row.why));
}
