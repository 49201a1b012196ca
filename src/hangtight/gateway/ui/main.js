// The page: news come in, the state changes, and what shows it is drawn once in each frame.

import { asked, NOTHING_SAID, turned } from "./aloud.js";
import { Gateway, Refused } from "./connect.js";
import { byId, say, show } from "./dom.js";
import { Filters, fromHash } from "./filters.js";
import { Finished } from "./finished.js";
import { Flight } from "./flight.js";
import { Head } from "./head.js";
import { Models } from "./models.js";
import { MOST_RUNS, Runs } from "./runs.js";
import { standFor } from "./scale.js";
import { NOTHING_KNOWN, reduce } from "./state.js";
import { Training } from "./training.js";
import { seenAtServer } from "./words.js";
import { Why } from "./why.js";

const OFTEN = 5; // seconds between two looks at what nobody tells of
const now = () => performance.now() / 1000;

let state = reduce(NOTHING_KNOWN, { kind: "filter", data: fromHash(location.hash), now: now() });
let drawing = false;
let said = NOTHING_SAID;

const gateway = new Gateway(hear);
const why = new Why(gateway);
const actions = { why: (id) => why.open(id), cancel };
const views = [
  new Head(gateway, aloud),
  new Filters((filter) => tell("filter", filter)),
  new Flight(actions),
  new Finished(actions),
  new Models(),
  new Runs(),
  new Training(),
];

function tell(kind, data) {
  state = reduce(state, { kind, data, now: now() });
  if (drawing) return;
  drawing = true;
  // Also in a window that is not in sight, where no frame is drawn.
  (document.hidden ? (draw) => setTimeout(draw, 500) : requestAnimationFrame)(draw);
}

function aloud(words) {
  said = asked(said, words);
  tell("tick");
}

function draw() {
  drawing = false;
  const at = now();
  for (const view of views) view.update(state, at);
  said = turned(said, at);
  say(byId("aloud"), said.words);
  const isEmpty = state.listed && state.flying.size === 0 && state.connection.is === "live";
  show(byId("flight-empty"), isEmpty);
  if (isEmpty) say(byId("try"), tryLine());
  const isNone = state.flying.size > 0 && byId("lane").hidden;
  show(byId("flight-none"), isNone);
  show(byId("flight-waits"), !state.listed && state.connection.is === "connecting");
}

// -- what comes by itself ---------------------------------------------------------------------------------------------

const FOLLOWS = {
  opened: () => [generations, receipt, models, runs, training].forEach((look) => look.soon(0)),
  lost: () => generations.soon(1),
  ended: () => [receipt, models].forEach((look) => look.soon(1.5)),
  model: () => models.soon(0.2),
  circuit: () => models.soon(0.2),
  run_started: () => runs.soon(0.2),
  run_resumed: () => runs.soon(0.2),
  run_finished: () => runs.soon(0.2),
  step_started: () => runs.soon(0.2),
  step_finished: () => runs.soon(0.2),
  progress: () => runs.soon(1),
};

function hear(kind, data) {
  tell(kind, data);
  FOLLOWS[kind]?.();
}

// -- what is asked for ------------------------------------------------------------------------------------------------

/** Asked for soon, and not again before the answer is there. */
class Look {
  constructor(ask) {
    this.ask = ask;
    this.timer = null;
    this.running = false;
  }

  soon(seconds) {
    if (this.timer !== null) return;
    this.timer = setTimeout(() => this.now(), seconds * 1000);
  }

  async now() {
    this.timer = null;
    if (this.running) return this.soon(0.5);
    this.running = true;
    try {
      await this.ask();
    } catch (error) {
      if (!(error instanceof Refused || error instanceof TypeError)) throw error;
      // It is away, or of an older version: what stands there stays. The events tell of the connection.
    } finally {
      this.running = false;
    }
    return undefined;
  }
}

const generations = new Look(async () => tell("list", await gateway.get("hangtight/generations")));
const receipt = new Look(async () => tell("page", { name: "receipt", ...(await gateway.get("hangtight/receipt")) }));
const training = new Look(async () => tell("page", { name: "training", ...(await gateway.get("hangtight/training")) }));
const models = new Look(async () => {
  const [ours, health] = await Promise.all([gateway.get("hangtight/models"), gateway.get("health")]);
  tell("page", { name: "models", ...ours });
  if (standFor(health.scale)) generations.soon(0); // what has ended is told anew
  tell("page", { name: "health", ...health });
});
const runs = new Look(async () => {
  const { runs: all } = await gateway.get("hangtight/runs");
  const under = all.filter((run) => !run.outcome);
  const shown = [...under, ...all.filter((run) => run.outcome)].slice(0, Math.max(MOST_RUNS, Math.min(under.length, 12)));
  const whole = shown.map((run) => gateway.get(`hangtight/runs/${encodeURIComponent(run.id)}`).catch(() => run));
  tell("page", { name: "runs", runs: await Promise.all(whole) });
});

setInterval(() => tell("tick"), 1000);
setInterval(() => {
  if (state.connection.is !== "live" || document.hidden) return;
  [models, training].forEach((look) => look.soon(0));
  if (state.pages.runs?.runs.some((run) => !run.outcome)) runs.soon(0); // of another process no event tells
}, OFTEN * 1000);

// -- what is done -----------------------------------------------------------------------------------------------------

async function cancel(id) {
  tell("cancelling", { id, words: "cancelling…" });
  aloud(`Cancelling ${state.flying.get(id)?.model ?? "it"}`);
  try {
    const told = await gateway.cancel(id);
    tell("cancelled", { id, at_server: told.at_server });
    aloud(`${told.model} was cancelled; ${seenAtServer(told.at_server) || "its end was seen"}`);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return; // it has ended by itself
    tell("not_cancelled", { id, words: `not cancelled: ${error.message}` });
    aloud(`It could not be cancelled: ${error.message}`);
  }
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("find").focus();
});

byId("find").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  tell("filter", { find: "" });
  byId("find").blur();
});

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // behind the # stands what is looked at
  byId("flight").focus();
});

/** A line that works when it is typed, with a model that is known here. */
function tryLine() {
  const known = Object.keys(state.pages.health?.models ?? {});
  const model = known.find((name) => /^[\w.:/-]+$/.test(name)) ?? "MODEL";
  const base = new URL("../v1", import.meta.url).href;
  const asked = `{"model": "${model}", "stream": true, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}`;
  const key = gateway.key ? " -H 'authorization: Bearer KEY'" : "";
  return `curl ${base}/chat/completions${key} -d '${asked}'`;
}

draw();
gateway.follow();
