// What is said to those who do not see the page: one after the other, so that none is lost under the next. Pure.

export const STANDS = 3; // seconds that one is left alone
const MOST = 5; // that wait: of a crowd the last ones count

export const NOTHING_SAID = Object.freeze({ words: "", until: 0, waiting: [] });

/** With this said as soon as those before it have been. */
export function asked(queue, words) {
  return { ...queue, waiting: [...queue.waiting.filter((each) => each !== words), words].slice(-MOST) };
}

/** What is said at this instant. Afterwards nothing is: the same words are read again only when they come anew. */
export function turned(queue, now) {
  if (now < queue.until) return queue;
  const [words = "", ...waiting] = queue.waiting;
  return words || queue.words ? { words, until: words ? now + STANDS : queue.until, waiting } : queue;
}
