// The button for the theme: the system's, dark, light.

import { byId, say, setText } from "./dom.js";

const ORDER = ["system", "dark", "light"];
const STORED = "papsms-theme"; // theme.js reads it before the page is drawn

const root = document.documentElement;
const current = () => root.dataset.theme ?? "system";

function label() {
  setText(byId("theme").querySelector(".heard"), `Theme: ${current()}`);
}

export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    localStorage.setItem(STORED, next);
  } catch {
    // then for this visit only
  }
  label();
  say(`Theme: ${next}`);
}

export function start() {
  byId("theme").addEventListener("click", nextTheme);
  label();
}
