// What the page knows, and how each piece of news changes it. Pure: no clock, no document, no network.

import { isNear } from "./scale.js";

export const MOST_FINISHED = 100;
export const MOST_SEGMENTS = 120;
export const MOST_BEATS = 60;
export const SILENT_AFTER = 3; // seconds without a token: below that a model merely takes breath
const WELL_AFTER = 5; // seconds without trouble after which a row goes back to its place
const YOUNG = 5; // seconds: so old may be who was not there the last time, when messages come late

export const STATES = ["queued", "loading", "reading", "thinking", "writing", "silent"];
const SHOWN = {
  queued: "queued",
  loading: "loading",
  waiting: "reading",
  unstreamed: "reading",
  thinking: "thinking",
  streaming: "writing",
  closing: "writing",
  cancelling: "cancelling",
};

export const NOTHING_KNOWN = Object.freeze({
  connection: { is: "connecting", tries: 0, retryAt: 0, words: "" },
  listed: false,
  isFollowed: false,
  flying: new Map(),
  finished: [],
  seen: new Map(),
  bad: { number: 0, words: "" },
  pages: {},
  circuits: new Map(),
  filter: { find: "", model: "", run: "", state: "" },
});

/** The state after `news`: `{kind, data, now}`, where `now` is the page's own clock in seconds. */
export function reduce(state, news) {
  const change = CHANGES[news.kind];
  return change === undefined ? state : { ...state, ...change(state, news.data, news.now) };
}

const CHANGES = {
  connecting: (state) => ({ connection: { ...state.connection, is: "connecting" } }),
  quiet: (state, data) => (state.listed ? { connection: { ...state.connection, is: "quiet", ...data } } : {}),
  heard: () => ({ connection: { is: "live", tries: 0, retryAt: 0, words: "" } }),
  opened: () => ({ connection: { is: "live", tries: 0, retryAt: 0, words: "" }, isFollowed: false }),
  away: (state, data) => ({ connection: { is: "away", ...data } }),
  locked: (state, data) => ({ connection: { is: "locked", tries: 0, retryAt: 0, words: data.words } }),
  page: (state, data, now) => ({ pages: { ...state.pages, [data.name]: { ...data, at: now } } }),
  filter: (state, data) => ({ filter: { ...state.filter, ...data } }),
  flight: (state, data, now) => ({ flying: inFlight(state, rowsOf(data), now), listed: true, isFollowed: true }),
  list: (state, data, now) => listed(state, data, now),
  heartbeat: (state, data) => beaten(state, data),
  extended: (state, data, now) => moved(state, data, now),
  shortened: (state, data, now) => moved(state, data, now),
  cancelling: (state, data) => altered(state, data.id, (row) => ({ ...row, cancelling: data.words, trouble: "" })),
  not_cancelled: (state, data) => altered(state, data.id, (row) => ({ ...row, cancelling: "", trouble: data.words })),
  cancelled: (state, data) => found(state, data.id, data.at_server),
  looked: (state, data) => found(state, data.id, data),
  still_running: (state, data) => found(state, data.id, data),
  circuit: (state, data, now) => ({ circuits: new Map(state.circuits).set(data.model, { state: data.state, at: now }) }),
  ended: (state, data) => over(state, data),
};

// -- in flight ------------------------------------------------------------------------------------------------------

/** The rows of a flight event as objects. */
export function rowsOf(data) {
  return data.rows.map((row) => Object.fromEntries(data.fields.map((name, at) => [name, row[at]])));
}

function inFlight({ flying, isFollowed }, rows, now) {
  const isSeen = (told) => isFollowed && (told.elapsed ?? 0) < YOUNG; // from its beginning
  return new Map(rows.map((told) => [told.id, followed(flying.get(told.id), told, now, isSeen(told))]));
}

/** What people call it: a model that gives nothing for long is silent, whatever it was doing. */
export function phaseShown(phase, silence) {
  const shown = SHOWN[phase] ?? phase;
  const speaks = shown === "thinking" || shown === "writing";
  return speaks && silence >= SILENT_AFTER ? "silent" : shown;
}

function followed(before, told, now, isSeen) {
  const elapsed = told.elapsed ?? 0;
  const silence = told.silence ?? 0;
  const phase = phaseShown(told.phase ?? "waiting", silence);
  const row = {
    ...told,
    phase,
    raw: told.phase,
    elapsed,
    silence,
    tokens: told.tokens ?? 0,
    at: now,
    born: settled(before, now - elapsed),
    segments: grown(before?.segments, phase, elapsed, silence, isSeen),
    beats: before?.beats ?? [],
    jump: before?.jump ?? null,
    extended: before?.extended ?? told.extended ?? 0,
    cancelling: before?.cancelling ?? "",
    trouble: before?.trouble ?? "",
  };
  row.look = looked(before?.look, row, now);
  const isSame = before?.model === row.model; // another model has what is left: nobody has shortened that
  const longer = isSame && before.total != null && row.total != null ? row.total - before.total : 0;
  return Math.abs(longer) > 0.5 ? jumped(row, longer, now) : row;
}

/** The network's jitter does not make a ribbon tremble; a real difference does move it. */
function settled(before, born) {
  if (before === undefined || Math.abs(born - before.born) > 0.5) return born;
  return before.born + (born - before.born) * 0.2;
}

/** Since when it is to be looked at, and when it rings; as it was last in trouble until it has been well for a while. */
function looked(before, row, now) {
  if (row.phase === "silent" || isNear(row, row.rings_in)) {
    const rings = row.rings_in == null ? Infinity : now + row.rings_in;
    const isSame = before != null && Math.abs(rings - before.rings) < 1; // else two would change places for nothing
    return { at: now, rings: isSame ? before.rings : rings };
  }
  return before != null && now - before.at < WELL_AFTER ? before : null;
}

function jumped(row, by, now) {
  return { ...row, jump: { at: now, by }, extended: row.extended + by };
}

/** The phases so far, each lasting until the next begins. What was before anybody looked is not made up. */
export function grown(segments, phase, elapsed, silence, isSeen = false) {
  const from = phase === "silent" ? Math.max(0, elapsed - silence) : elapsed;
  if (segments === undefined) {
    return isSeen || from < 1 ? [{ phase, from: 0 }] : [{ phase: "before", from: 0 }, { phase, from }];
  }
  const last = segments[segments.length - 1];
  if (last.phase === phase) return segments;
  const kept = last.from >= from ? segments.slice(0, -1) : segments;
  const grownBy = [...kept, { phase, from: Math.min(from, Math.max(last.from, from)) }];
  if (grownBy.length <= MOST_SEGMENTS) return grownBy;
  return [{ phase: "before", from: 0 }, ...grownBy.slice(2)];
}

function altered(state, id, change) {
  const row = state.flying.get(id);
  return row === undefined ? {} : { flying: new Map(state.flying).set(id, change(row)) };
}

function beaten(state, data) {
  return altered(state, data.id, (row) => ({ ...row, beats: [...row.beats, data.elapsed].slice(-MOST_BEATS) }));
}

/** Told beside the numbers, which may have told it already. */
function moved(state, data, now) {
  return altered(state, data.id, (row) => {
    const by = data.after - (row.total ?? data.before);
    if (Math.abs(by) < 0.5) return row;
    const ringsIn = row.limit === "total" && row.rings_in != null ? row.rings_in + by : row.rings_in;
    return { ...jumped(row, by, now), total: data.after, rings_in: ringsIn };
  });
}

// -- finished -------------------------------------------------------------------------------------------------------

export const BAD = new Set(["timeout", "looping", "failed", "truncated", "unfinished"]);

function over(state, told) {
  const row = state.flying.get(told.id);
  const flying = new Map(state.flying);
  flying.delete(told.id);
  const end = { ...told, extended: told.extended ?? row?.extended ?? 0, seen: seenOf(state, told) ?? told.at_server ?? null };
  const others = state.finished.filter((each) => each.id !== told.id);
  const finished = [end, ...others].slice(0, MOST_FINISHED);
  if (!BAD.has(told.outcome)) return { flying, finished };
  return { flying, finished, bad: { number: state.bad.number + 1, words: `${told.model} ended badly: ${told.outcome}` } };
}

/** What was seen at its server, before or after we heard of its end. */
function found(state, id, seen) {
  if (!seen) return {};
  const news = [...(state.seen.get(id) ?? []), seen];
  const all = new Map([...state.seen, [id, news]].slice(-MOST_FINISHED));
  return { seen: all, finished: state.finished.map((each) => (each.id === id && isIts(each, seen) ? { ...each, seen } : each)) };
}

/** Of several models that were asked, each at its own server, the one that it ended with. */
const isIts = (told, seen) => seen.model === told.model || !told.attempts?.some((each) => each.model === seen.model);

const seenOf = (state, told) => state.seen.get(told.id)?.findLast((seen) => isIts(told, seen));

/** The list is older than the news that came meanwhile: what is in flight it tells only as long as nobody else did. */
function listed(state, data, now) {
  const known = new Map(state.finished.map((each) => [each.id, each]));
  const rows = data.generations.map((each) => ({
    ...each,
    limit: each.nearest?.limit ?? null,
    rings_in: each.nearest?.rings_in ?? null,
    cancellable: each.cancellable ?? true,
  }));
  const finished = data.finished.slice(0, MOST_FINISHED).map((each) => ({
    ...each,
    extended: each.extended ?? known.get(each.id)?.extended ?? 0,
    seen: each.at_server ?? seenOf(state, each) ?? null,
  }));
  return state.isFollowed ? { finished } : { flying: inFlight(state, rows, now), finished, listed: true };
}

// -- what is looked at ----------------------------------------------------------------------------------------------

const contains = (text, wanted) => String(text ?? "").toLowerCase().includes(wanted);

/** Whether it is one of those that were asked for. A finished one has no state any more. */
export function wanted(row, filter) {
  if (filter.model && row.model !== filter.model) return false;
  if (filter.run && row.run !== filter.run) return false;
  if (filter.state && row.outcome === undefined && !inState(row, filter.state)) return false;
  const find = filter.find.trim().toLowerCase();
  return !find || [row.model, row.run, row.step, row.mode, row.id].some((text) => contains(text, find));
}

export function inState(row, state) {
  return state === "late" ? isNear(row, row.rings_in) : row.phase === state;
}

/** Those to be looked at first, the next to ring on top, then those that just were; the others as they began. */
export function visible(state) {
  const { filter } = state;
  const rows = [...state.flying.values()].filter((row) => wanted(row, filter));
  const first = rows.filter((row) => row.look).sort((one, other) => one.look.rings - other.look.rings || 0);
  const isNow = (row) => row.look.at === row.at;
  return [...first.filter(isNow), ...first.filter((row) => !isNow(row)), ...rows.filter((row) => !row.look)];
}

/** The same in an order that they had before; who has come since is behind them. */
export function kept(order, rows) {
  if (order === null) return rows;
  const places = new Map(order.map((id, at) => [id, at]));
  return [...rows].sort((one, other) => (places.get(one.id) ?? order.length) - (places.get(other.id) ?? order.length));
}

/** The names that several in flight have: these are told apart by their ids. */
export function repeated(state) {
  const once = new Set();
  const again = new Set();
  for (const { model } of state.flying.values()) (once.has(model) ? again : once).add(model);
  return again;
}

/** How many there are in each state, by the other filters. */
export function counted(state) {
  const counts = new Map([...STATES, "late"].map((name) => [name, 0]));
  const filter = { ...state.filter, state: "" };
  for (const row of state.flying.values()) {
    if (!wanted(row, filter)) continue;
    counts.set(row.phase, (counts.get(row.phase) ?? 0) + 1);
    if (inState(row, "late")) counts.set("late", counts.get("late") + 1);
  }
  return counts;
}

/** The names that a filter can be set to, in flight or just over. */
export function names(state, key) {
  const all = new Set();
  for (const row of state.flying.values()) if (row[key]) all.add(row[key]);
  for (const row of state.finished) if (row[key]) all.add(row[key]);
  if (state.filter[key]) all.add(state.filter[key]);
  return [...all].sort().slice(0, 100);
}
