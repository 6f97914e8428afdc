// Faults of the service, limit and reset.

import * as api from "./api.js";
import { byId, onSubmit, say, setText } from "./dom.js";
import { faultForm } from "./fault-form.js";
import { store } from "./store.js";

// By kind: what happens in words, and what may be given as a detail.
const KINDS = {
  rate_limited: ["429: rate limited", "Seconds of Retry-After, such as 30; 30/date for a date. Empty: no header."],
  server_error: ["500: server error", "Another status such as 503, then html or empty, then after (executed first): 503/html/after."],
  hang: ["no answer, ever", "after: executed first."],
  drop_before: ["connection closed, not executed", ""],
  drop_after: ["executed, then connection closed", ""],
  truncated: ["executed, half the answer", ""],
  malformed: ["executed, answer garbled", "cut, html, empty, null, list, deep or huge."],
  slow: ["executed, answer late", "Seconds, such as 5."],
  redirect: ["redirect", "301, 302, 303, 307 or 308."],
  refuse: ["connection refused", ""],
};

let paintFaults = null;
let limit = null;
let seed = null;

export function paint() {
  const summary = store.summary;
  if (!summary) return;
  paintFaults(summary.faults);
  setText(byId("limit-now"), summary.limit);
  // A form follows what is in force until a person changes it.
  if (summary.limit !== limit) {
    limit = summary.limit;
    const [, requests, per, kind] = /^(\d+)\/([\d.e+-]+)s:(.+)$/.exec(limit) ?? [];
    const inputs = byId("limit-form").elements;
    inputs.kind.value = kind ?? "none";
    if (kind) [inputs.requests.value, inputs.per.value] = [requests, per];
    adaptLimit();
  }
  if (summary.seed !== seed) byId("reset-form").elements.seed.value = String((seed = summary.seed));
}

function adaptLimit() {
  const inputs = byId("limit-form").elements;
  for (const name of ["requests", "per"]) inputs[name].disabled = inputs.kind.value === "none";
}

function sure() {
  const dialog = byId("sure");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}

export function start() {
  paintFaults = faultForm(byId("faults-card"), {
    kinds: KINDS,
    prefix: (fields) => `${fields.route.value}:`,
    unit: "call",
    adapt: (fields) => {
      if (fields.route.value !== "connect") return "";
      fields.kind.value = "refuse";
      return "Strikes connections of this page too: better let it end at a last call.";
    },
    add: api.addFault,
    remove: api.removeFault,
    removeAll: api.removeFaults,
  });
  const limits = byId("limit-form");
  limits.addEventListener("input", adaptLimit);
  onSubmit(limits, async () => {
    const { requests, per, kind } = limits.elements;
    const wanted = kind.value === "none" ? "none" : `${requests.value}/${per.value}s:${kind.value}`;
    say(`Limit: ${(await api.setLimit(wanted)).limit}`);
  });
  const again = byId("reset-form");
  onSubmit(again, async () => {
    if (!(await sure())) return;
    await api.reset(Number(again.elements.seed.value));
    say("All as after the start");
  });
}
