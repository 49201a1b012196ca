// Where the parts of a ribbon stand. Pure: seconds in, shares and pixels out.

const SPANS = [10, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600, 48 * 3600]; // seconds of the past
const HALF_WAY = 25; // seconds: an alarm this far away stands in the middle of what is to come

let scale = 1;

/** From now on one second here is so many of a real machine, as the gateway of the demo says. True where it was not. */
export function standFor(told) {
  const before = scale;
  scale = told > 0 ? told : 1;
  return scale !== before;
}

/** A length here, in the time of a real machine. */
export const real = (seconds) => seconds * scale;

/** How much of the past the ribbon shows: all of it, on one of a few scales. */
export function spanOf(elapsed) {
  return SPANS.find((span) => elapsed < span * 0.97) ?? elapsed * 1.5;
}

/** How far from now the edge stands, 0 to 1. The last seconds take the most room, and an hour is still in sight. */
export function edgeAt(ringsIn) {
  if (ringsIn == null) return 1;
  const left = real(Math.max(0, ringsIn));
  return left / (left + HALF_WAY);
}

/** While tokens come, the alarms that they put back do not come closer: between two messages nothing trembles. */
export function ringsIn(row, now) {
  if (row.rings_in == null) return null;
  return isPutBack(row) ? row.rings_in : Math.max(0, row.rings_in - (now - row.at));
}

const isPutBack = (row) => row.limit !== "total" && row.silence < 1 && (row.raw === "streaming" || row.raw === "thinking");

/** The same as it is said: an alarm that tokens put back is as far away as its whole limit, and its number stands still. */
export function leftSaid(row, now) {
  if (row.rings_in == null || !isPutBack(row)) return { left: ringsIn(row, now), isSteady: false };
  return { left: Math.round(10 * (row.rings_in + row.silence)) / 10, isSteady: true };
}

/** For how long nothing has come from it. */
export const silenceOf = (row, now) => Math.max(0, row.silence + (now - row.at));

const NEAR = 10; // seconds to an alarm that are worth a look
const OF_THE_WHOLE = ["total", "load", "queue", "unstreamed"]; // the others count silence alone

/** An alarm is near in its last seconds, and only when more of its time has passed than is left. */
export function isNear(row, left) {
  if (left == null || real(left) > NEAR) return false;
  return (OF_THE_WHOLE.includes(row.limit) ? row.elapsed : row.silence) >= left;
}

export const elapsedOf = (row, now) => Math.max(0, now - row.born);

/** The parts as `{phase, left, width}` in pixels from its beginning. The last one is longer than can be seen. */
export function partsOf(segments, perSecond, longest) {
  return segments.map((segment, at) => {
    const left = segment.from * perSecond;
    const until = at + 1 < segments.length ? segments[at + 1].from * perSecond : left + longest;
    return { phase: segment.phase, left, width: Math.max(1, until - left) };
  });
}
