// The head of the page: the receipt of the day, how the connection stands, the theme, the key; and what is said aloud.

import { byId, mark, say, show } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const NOTICES = { locked: "locked", away: "away", quiet: "away" };
const ALOUD_EVERY = 3; // seconds: a screen reader is told of a crowd in one sentence

export class Head {
  constructor(gateway, aloud) {
    this.gateway = gateway;
    this.say = aloud;
    this.told = { number: 0, at: 0 };
    this.notice = "";
    byId("again").addEventListener("click", () => gateway.hurry());
    byId("theme").addEventListener("click", () => this.turn());
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const key = byId("key-field").value.trim();
      if (key) gateway.give(key);
    });
    this.nameTheme();
  }

  update(state, now) {
    const { connection, pages } = state;
    const words = pages.receipt?.words ?? "";
    say(byId("receipt"), words || "The time layer for language-model generations.");
    const scale = pages.health?.scale ?? 1;
    show(byId("scale"), scale !== 1);
    say(byId("scale"), scale === 1 ? "" : `This is the demo: one second here is ${scale} s of a real machine.`);
    say(byId("version"), pages.health?.version ? `hangtight ${pages.health.version}` : "hangtight");
    mark(document.documentElement, "data-connection", connection.is);
    say(byId("connection"), this.standing(connection));
    this.notify(connection);
    if (this.notice === "away") this.away(connection, now);
    if (this.connection !== connection && connection.is === "locked") this.locked(connection);
    this.connection = connection;
    this.mourn(state.bad, now);
  }

  /** While one tries again, what was last told stays: nothing is known to be better. */
  notify(connection) {
    if (connection.is !== "connecting") this.notice = NOTICES[connection.is] ?? "";
    show(byId("locked"), this.notice === "locked");
    show(byId("away"), this.notice === "away");
  }

  locked(connection) {
    say(byId("key-words"), connection.words || "This gateway wants a key. It is kept in this window alone.");
    byId("key-field").value = "";
    byId("key-field").focus();
  }

  standing(connection) {
    if (connection.is === "live") return "live";
    if (connection.is === "quiet") return "no news";
    if (connection.is === "away") return "reconnecting";
    return connection.is === "locked" ? "key needed" : "connecting";
  }

  away(connection, now) {
    const left = Math.max(1, Math.ceil(connection.retryAt - now));
    say(byId("away-title"), connection.is === "quiet" ? "The gateway is silent" : "The gateway is away");
    say(byId("away-words"), connection.words.charAt(0).toUpperCase() + connection.words.slice(1));
    say(byId("away-retry"), connection.is === "connecting" ? "Reconnecting now." : `Reconnecting in ${left} s.`);
  }

  mourn(bad, now) {
    const more = bad.number - this.told.number;
    if (!more || now - this.told.at < ALOUD_EVERY) return;
    this.told = { number: bad.number, at: now };
    this.say(more === 1 ? bad.words : `${bad.words}; ${more - 1} more ended badly`);
  }

  // -- the theme ------------------------------------------------------------------------------------------------

  get theme() {
    return document.documentElement.dataset.theme ?? "auto";
  }

  turn() {
    const next = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("hangtight-theme", next);
    } catch {
      // A browser that keeps nothing: it holds until the page is left.
    }
    this.nameTheme();
  }

  nameTheme() {
    say(byId("theme"), { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" }[this.theme]);
  }
}
