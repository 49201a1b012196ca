// What is looked at: by words, model, run and state. It is kept behind the # of the address.

import { byId, make, mark, say } from "./dom.js";
import { counted, names, STATES } from "./state.js";

const KEYS = ["find", "model", "run", "state"];
const WORRYING = new Set(["silent", "late"]);
const ALL = { model: "Every model", run: "Every run" };

export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return Object.fromEntries(KEYS.map((key) => [key, given.get(key) ?? ""]));
}

export function toHash(filter) {
  const given = new URLSearchParams(KEYS.filter((key) => filter[key]).map((key) => [key, filter[key]]));
  return given.size ? `#${given}` : "";
}

export class Filters {
  constructor(tell) {
    this.tell = tell;
    this.find = byId("find");
    this.find.addEventListener("input", () => tell({ find: this.find.value }));
    for (const key of ["model", "run"]) {
      this[key] = byId(`by-${key}`);
      this[key].addEventListener("change", () => tell({ [key]: this[key].value }));
    }
    this.chips = new Map([...STATES, "late"].map((name) => [name, this.chip(name)]));
    byId("chips").append(...this.chips.values());
    window.addEventListener("hashchange", () => tell(fromHash(location.hash)));
  }

  chip(name) {
    const words = name === "late" ? "alarm near" : name;
    return make(
      "button",
      { class: "chip", type: "button", "aria-pressed": "false", "data-phase": name, click: () => this.toggle(name) },
      make("i", { class: "swatch", "aria-hidden": "true", "data-phase": name }),
      make("span", { text: words }),
      make("b", { text: "0" }),
    );
  }

  toggle(name) {
    this.tell({ state: this.filter.state === name ? "" : name });
  }

  update(state) {
    const { filter } = state;
    if (this.filter !== filter) {
      this.filter = filter;
      if (this.find.value !== filter.find) this.find.value = filter.find;
      const address = toHash(filter);
      if (address !== location.hash) history.replaceState(null, "", address || location.pathname + location.search);
    }
    this.options("model", names(state, "model"), filter.model);
    this.options("run", names(state, "run"), filter.run);
    const counts = counted(state);
    for (const [name, chip] of this.chips) {
      say(chip.lastChild, String(counts.get(name) ?? 0));
      mark(chip, "aria-pressed", String(filter.state === name));
      mark(chip, "data-none", !counts.get(name));
      mark(chip, "data-warm", WORRYING.has(name) && counts.get(name) > 0);
    }
  }

  /** A list that somebody is choosing from is left as it is. */
  options(key, found, chosen) {
    const select = this[key];
    const words = found.join("\n");
    if (select.told !== words && document.activeElement !== select) {
      select.told = words;
      const all = make("option", { value: "", text: ALL[key] });
      select.replaceChildren(all, ...found.map((name) => make("option", { value: name, text: name.slice(0, 60) })));
    }
    if (select.value !== chosen) select.value = chosen;
  }
}
