// The models and their state: of servers that we run each phase with its clock, of others what was seen.

import { byId, each, make, mark, say, show } from "./dom.js";
import { listed, many, spoken, ticking } from "./words.js";

const ON_THE_WAY = new Set(["starting", "waking", "sleeping", "stopping", "draining"]);
const MOST = 40;

/** All of them as `{model, kind, words, why, share}`; `now` is the page's clock. */
export function modelsOf(state, now) {
  const run = state.pages.models;
  const others = state.pages.health;
  const rows = (run?.models ?? []).map((told) => ofOurs(told, now - run.at));
  const known = new Set(rows.map((row) => row.model));
  for (const [model, told] of Object.entries(others?.models ?? {})) {
    if (!known.has(model)) rows.push(ofOthers(model, told, state.circuits.get(model), now));
  }
  return rows;
}

function ofOurs(told, since) {
  const lasts = (told.for ?? 0) + since;
  const limit = told.rings_in == null ? null : told.rings_in + (told.for ?? 0);
  const busy = listed(told.requests ? many(told.requests, "request") : "", told.waiting ? `${told.waiting} waiting` : "");
  const row = { model: told.model, kind: told.phase, why: told.why || "", share: null };
  if (ON_THE_WAY.has(told.phase)) {
    if (limit === null) return { ...row, words: listed(`${told.phase}, ${ticking(lasts)}`, busy) };
    const of = `${told.phase}, ${Math.floor(Math.min(lasts, limit))} of ${spoken(Math.round(limit))}`;
    return { ...row, words: listed(of, busy), share: lasts / limit };
  }
  return { ...row, words: listed(told.phase, busy || `for ${ticking(lasts)}`) };
}

function ofOthers(model, told, circuit, now) {
  const row = { model, why: "", share: null };
  const state = circuit?.state ?? told.circuit;
  if (state && state !== "closed") {
    const lasts = circuit === undefined ? "" : ` for ${ticking(now - circuit.at)}`;
    return { ...row, kind: "failed", words: `circuit ${String(state).replace(/_/g, " ")}${lasts}` };
  }
  if (told.still_running_at_server) {
    return { ...row, kind: "failed", words: `its server goes on with ${many(told.still_running_at_server, "cancelled generation")}` };
  }
  if (told.running) {
    const words = listed(`${told.running} running`, told.waiting ? `${told.waiting} waiting` : "");
    return { ...row, kind: "ready", words };
  }
  return { ...row, kind: told.last_progress ? "ready" : "stopped", words: told.last_progress ? "ready" : "not asked yet" };
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
