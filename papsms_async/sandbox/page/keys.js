// Shortcuts. Those of a single key can be switched off, and never act while something is written.

import * as detail from "./detail.js";
import { byId } from "./dom.js";
import { move } from "./inbox.js";
import { nextTheme } from "./theme-switch.js";

const STORED = "papsms-keys";

const isWriting = (element) =>
  element.closest("input:not([type=radio], [type=checkbox]), textarea, select") !== null;

export function start(place) {
  const on = byId("keys-on");
  const help = byId("keys");
  try {
    on.checked = localStorage.getItem(STORED) !== "off";
  } catch {
    // storage is switched off: they stay on
  }
  on.addEventListener("change", () => {
    try {
      localStorage.setItem(STORED, on.checked ? "on" : "off");
    } catch {
      // then for this visit only
    }
  });
  byId("help").addEventListener("click", () => help.showModal());

  const go = (hash) => () => (location.hash = hash);
  const inInbox = (act) => () => {
    if (place().view !== "inbox") return false;
    act();
    return true;
  };
  const actions = {
    "/": () => {
      location.hash = "#/";
      requestAnimationFrame(() => byId("search").focus());
    },
    j: inInbox(() => move(1)),
    k: inInbox(() => move(-1)),
    s: inInbox(detail.write),
    c: inInbox(detail.copyCode),
    t: nextTheme,
    "?": () => help.showModal(),
    1: go("#/"),
    2: go("#/requests"),
    3: go("#/webhooks"),
    4: go("#/controls"),
  };

  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (place().id !== null) location.hash = "#/";
      else if (document.activeElement === byId("search")) document.activeElement.blur();
      return;
    }
    if (!on.checked || isWriting(event.target)) return;
    const act = actions[event.key];
    if (act && act() !== false) event.preventDefault();
  });
}
