// Why one generation is as it is: each limit and its source, and what has happened so far.

import { byId, make, say, show } from "./dom.js";
import { listed, outcome, spoken, tokens } from "./words.js";

const AGAIN = 2; // seconds between two looks at one that is still in flight

export class Why {
  constructor(gateway) {
    this.gateway = gateway;
    this.dialog = byId("why");
    this.id = null;
    byId("why-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  async open(id) {
    this.from = document.activeElement;
    this.id = id;
    this.told = "";
    this.isOld = false;
    this.say({ title: "Looking…", about: "", explain: "", log: [], hint: "" });
    if (!this.dialog.open) this.dialog.showModal();
    await this.look(id);
  }

  closed() {
    this.id = null;
    clearTimeout(this.next);
    if (this.from?.isConnected) this.from.focus();
    else byId("lane").hidden || byId("lane").focus();
  }

  async look(id) {
    clearTimeout(this.next);
    let told;
    try {
      told = await this.gateway.why(id);
    } catch (error) {
      if (this.id === id) this.failed(id, error);
      return;
    }
    if (this.id !== id) return;
    const words = JSON.stringify(told);
    if (words !== this.told || this.isOld) this.show(told);
    this.told = words;
    this.isOld = false;
    if (told.about.outcome == null) this.next = setTimeout(() => this.look(id), AGAIN * 1000);
  }

  /** What was found before stays in sight, and is said to be old. */
  failed(id, error) {
    const isAway = error.status === 0;
    if (isAway) this.next = setTimeout(() => this.look(id), AGAIN * 1000);
    if (!isAway || !this.told) {
      const title = isAway ? "The gateway is away" : error.status === 404 ? "Nothing is known of it" : "It could not be asked";
      this.say({ title, about: error.message, explain: "", log: [], hint: "" });
      return;
    }
    this.isOld = true;
    say(byId("why-hint"), `What you see was last known: ${error.message}.`);
    show(byId("why-hint"), true);
  }

  show(told) {
    const { about } = told;
    const stands = about.outcome == null ? (about.phase ?? "") : outcome(about);
    const words = listed(stands, about.tokens == null ? "" : tokens(about.tokens), spoken(about.elapsed), about.mode, about.run, about.step);
    const hint = told.hint || (told.log.length ? "" : "Nothing stands in the journal yet.");
    this.say({ title: about.model || "a model", about: `${words}\n${about.id}`, explain: told.explain, log: told.log, hint });
  }

  say({ title, about, explain, log, hint }) {
    say(byId("why-title"), title);
    say(byId("why-about"), about);
    say(byId("why-explain"), explain);
    show(byId("why-limits"), Boolean(explain));
    byId("why-log").replaceChildren(...log.map(entry));
    say(byId("why-hint"), hint ?? "");
    show(byId("why-hint"), Boolean(hint));
    show(byId("why-happened"), Boolean(explain || log.length));
  }
}

function entry(each) {
  const after = each.after == null ? "" : `+${spoken(each.after)}`;
  return make("li", { "data-kind": each.kind }, make("span", { class: "after", text: after }), make("span", { text: each.words }));
}
