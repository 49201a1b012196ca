// A few words for the document. Text from outside is always text, never markup.

export const byId = (id) => document.getElementById(id);

/** A new element: `{class, text, ...attributes}`, functions are listeners. */
export function make(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Only what has changed is written: the browser lays out anew for less. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (value == null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

export function show(element, is) {
  if (element.hidden === is) element.hidden = !is;
}

/** One child for each item, in their order; those that are there already stay what they are. */
export function each(parent, items, keyOf, create, update) {
  const known = (parent.known ??= new Map());
  const left = new Set(known.keys());
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (child === undefined) known.set(key, (child = create(item)));
    left.delete(key);
    const place = before === null ? parent.firstChild : before.nextSibling;
    if (child !== place) parent.insertBefore(child, place);
    update?.(child, item);
    before = child;
  }
  for (const key of left) {
    known.get(key).remove();
    known.delete(key);
  }
}

/** A bar of which this share, 0 to 1, is full. */
export function fill(bar, share) {
  bar.style.setProperty("--full", String(Math.min(1, Math.max(0, share || 0))));
}
