// How numbers and states are said. Pure.

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

/** The same with whole seconds, for numbers that go on while one reads them. */
export function ticking(seconds) {
  return seconds < 10 ? `${Math.floor(Math.max(0, seconds))} s` : spoken(Math.floor(seconds));
}

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
  truncated: "cut off by its server",
  unfinished: "no end mark",
  failed: "failed",
  left: "its client left",
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

/** What happened to its deadline, for one that has ended. */
export function fate(told) {
  const words = [];
  if (told.outcome === "timeout") {
    words.push(`${limitName(told.limit) || "a limit"} rang${told.waited == null ? "" : ` after ${spoken(told.waited)}`}`);
  } else if (told.outcome === "looping") words.push("it said the same again and again");
  else if (told.error) words.push(String(told.error));
  if (Math.abs(told.extended ?? 0) > 0.5) words.push(moved(told.extended));
  if (told.outcome === "finished") words.push(saved(told.elapsed) || (words.length ? "" : "in time"));
  words.push(seenAtServer(told.seen));
  return listed(...words);
}

export const isSaved = (told) => told.outcome === "finished" && told.elapsed > IMPATIENT;

function saved(elapsed) {
  if (!(elapsed > IMPATIENT)) return "";
  return `a ${IMPATIENT} s timeout would have killed it at ${Math.floor((100 * IMPATIENT) / elapsed)}\u00a0%`;
}

export function moved(by) {
  return by > 0 ? `deadline extended by ${spoken(by)}` : `deadline shortened by ${spoken(-by)}`;
}

/** A ribbon for those who do not see it. */
export function alternative(row, ringsIn) {
  const words = [row.model, row.phase];
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
