// Runs before the page is drawn, so that a chosen theme does not flash in late.
"use strict";
(() => {
  const chosen = (() => {
    try {
      return localStorage.getItem("papsms-theme");
    } catch {
      return null; // storage is switched off: the system's theme it is
    }
  })();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
