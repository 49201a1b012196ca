// How numbers and states are said. Pure.

import { real } from "./scale.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
export const IMPATIENT = 30; // seconds: the timeout that most clients and proxies come with

/** A length as people say it: 0.4 s, 38 s, 3 min 20 s, 2 h 5 min. */
export function spoken(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "";
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 2 * MINUTE) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return joined(Math.floor(whole / MINUTE), "min", whole % MINUTE, "s");
  if (whole < 2 * DAY) return joined(Math.floor(whole / HOUR), "h", Math.floor((whole % HOUR) / MINUTE), "min");
  return joined(Math.floor(whole / DAY), "d", Math.floor((whole % DAY) / HOUR), "h");
}

function joined(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

/** The same with whole seconds, for numbers that go on while one reads them; below one of them with tenths. */
export function ticking(seconds) {
  if (seconds < 1) return `${(Math.floor(Math.max(0, seconds) * 10) / 10).toFixed(1)} s`;
  return seconds < 10 ? `${Math.floor(seconds)} s` : spoken(Math.floor(seconds));
}

/** When a limit rings, for the label of the edge; without the seconds of many minutes where there is little room. */
export function comes(limit, { left, isSteady }, isShort = false) {
  if (left == null || !limit) return "";
  const whole = isShort && left >= 2 * MINUTE ? left - (left % (left < HOUR ? MINUTE : HOUR)) : left;
  return `${limitName(limit)} in ${isSteady && left < 10 ? steady(left) : ticking(whole)}`;
}

/** One that does not go on: 45 s, 1.5 s. */
const steady = (seconds) => `${Number(seconds.toFixed(1))} s`;

export function tokens(number) {
  return `${number.toLocaleString("en")} token${number === 1 ? "" : "s"}`;
}

export const many = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

export const limitName = (limit) => String(limit ?? "").replace(/_/g, " ");

/** Those that are there, one after the other. */
export const listed = (...words) => words.filter(Boolean).join(" · ");

const OUTCOMES = {
  finished: "finished",
  timeout: "timed out",
  looping: "looping",
  truncated: "cut off",
  unfinished: "unfinished",
  failed: "failed",
  left: "left",
  cancelled: "cancelled",
};

export const outcome = (told) => OUTCOMES[told.outcome] ?? String(told.outcome);

const SEEN = {
  stopped: "its server stopped",
  idle: "its server stopped",
  running: "its server goes on with it",
  unknown: "nobody can see whether its server stopped",
};

export function seenAtServer(seen) {
  if (!seen) return "";
  const words = SEEN[seen.found] ?? `at its server: ${seen.found}`;
  return seen.took != null && seen.found === "stopped" ? `${words} after ${spoken(seen.took)}` : words;
}

/** What happened to one that has ended, and to its deadline. */
export function fate(told) {
  const change = Math.abs(told.extended ?? 0) > 0.5 ? moved(told.extended) : "";
  const good = told.outcome === "finished" ? saved(told.elapsed) || (change ? "" : "in time") : "";
  return listed(reason(told), change, good, kept(told), inPlaceOf(told), seenAtServer(told.seen));
}

const REASONS = {
  looping: "it said the same again and again",
  truncated: "its server broke off in the middle",
  unfinished: "its server did not say why it ended",
  left: "its client left",
};

/** Why it ended badly, or before its end. */
export function reason(told) {
  if (told.outcome === "timeout") {
    return `${limitName(told.limit) || "a limit"} rang${told.waited == null ? "" : ` after ${spoken(told.waited)}`}`;
  }
  return REASONS[told.outcome] ?? (told.error ? inWords(String(told.error)) : "");
}

const ERRORS = {
  BudgetSpent: "its budget was spent before it began",
  SettingsError: "what it asked for cannot be meant",
  ConnectFailed: "its server could not be reached",
  ConnectionRefusedError: "its server could not be reached",
  ConnectionResetError: "its server broke the connection",
  BrokenHead: "its server answered something else than HTTP",
  BrokenBody: "its server broke off in the middle",
  BodyTooLarge: "its server said too much",
  not_running: "its server was not running",
  queue_full: "too many were waiting already",
  too_many_requests: "all slots were taken",
  still_running: "its server went on with one that was cancelled",
  circuit_open: "not asked, because its model had failed again and again",
};
const STATUSES = {
  401: "its server wants another key",
  403: "its server does not allow it",
  404: "its server does not know it",
  408: "its server waited too long",
  429: "its server has too much to do",
  503: "its server was not ready",
};

const statusIn = (error) => Number(/ ([1-5]\d\d)$/.exec(error ?? "")?.[1] ?? 0);

/** A request that no server would have taken says nothing of its model. */
export const isOfTheClient = ({ error }) => statusIn(error) >= 400 && statusIn(error) < 500 && !(statusIn(error) in STATUSES);

/** A code of ours, the name of an error, or the status of a server. */
function inWords(error) {
  const status = statusIn(error);
  if (!status) return ERRORS[error] ?? error.replace(/_/g, " ");
  return `${STATUSES[status] ?? (status < 500 ? "its server refused it" : "its server failed")} (HTTP ${status})`;
}

/** What its client has of it all the same. One that does not stream gets nothing before the end. */
function kept(told) {
  const isCut = ["timeout", "looping", "truncated", "failed"].includes(told.outcome);
  return isCut && told.streams && told.tokens ? `${tokens(told.tokens)} kept` : "";
}

const FAILED = {
  queue: "had no free slot in time",
  load: "was not loaded in time",
  first_token: "gave no first token",
  idle: "fell silent",
  thinking: "thought for too long",
  total: "took too long",
  unstreamed: "took too long",
  timeout: "took too long",
  server: "failed",
  request: "refused",
};

/** The models that were asked before this one, and why that was not enough. */
function inPlaceOf(told) {
  const others = (told.attempts ?? []).filter((each) => each.model !== told.model);
  const words = others.map((each) => `${each.model}, which ${FAILED[each.limit] ?? FAILED[each.fault] ?? "failed"}`);
  if (!words.length && told.model && told.asked && told.asked !== told.model) {
    words.push(`${told.asked}, which would have taken too long`);
  }
  return words.length ? `in place of ${words.join(", and ")}` : "";
}

export const isSaved = (told) => told.outcome === "finished" && real(told.elapsed) > IMPATIENT;

function saved(elapsed) {
  if (!(real(elapsed) > IMPATIENT)) return "";
  return `a ${IMPATIENT} s timeout would have killed it at ${Math.floor((100 * IMPATIENT) / real(elapsed))}\u00a0%`;
}

export function moved(by) {
  return by > 0 ? `deadline extended by ${spoken(by)}` : `deadline shortened by ${spoken(-by)}`;
}

/** A ribbon for those who do not see it. */
export function alternative(row, ringsIn) {
  const words = [row.model, row.phase === "silent" && !row.in_contact ? `silent for ${ticking(row.silence)}` : row.phase];
  if (row.raw === "queued" && row.position != null) words.push(`position ${row.position}`);
  if (row.doing && row.phase === "writing") words.push(row.doing);
  words.push(tokens(row.tokens), spoken(row.elapsed));
  if (row.phase === "silent" && row.in_contact) words.push(`pings, no content for ${spoken(row.silence)}`);
  if (ringsIn != null && row.limit) words.push(`${limitName(row.limit)} rings in ${ticking(ringsIn)}`);
  if (row.extended > 0.5) words.push(moved(row.extended));
  return words.join(", ");
}

export function clockTime(iso) {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
