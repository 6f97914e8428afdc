// Faults, limit and reset.

import * as api from "./api.js";
import { byId, h, say, setText } from "./dom.js";
import { plural } from "./format.js";
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

const form = byId("fault-form");
const fields = form.elements;
let drawn = "";
let limit = null;
let seed = null;

function notation() {
  const value = fields.value.value.trim();
  const often = {
    always: "",
    share: `@${fields.share.value}`,
    call: `#${fields.first.value}`,
    calls: `#${fields.first.value}-${fields.last.value}`,
  }[fields.when.value];
  return `${fields.route.value}:${fields.kind.value}${value ? `=${value}` : ""}${often}`;
}

function adapt() {
  const connect = fields.route.value === "connect";
  if (connect) fields.kind.value = "refuse";
  const hint = KINDS[fields.kind.value][1];
  const warning = "Strikes connections of this page too: better let it end at a last call.";
  setText(byId("fault-hint"), connect ? warning : hint && `Detail: ${hint}`);
  fields.value.closest("label").hidden = !hint;
  if (!hint) fields.value.value = "";
  for (const label of form.querySelectorAll("[data-when]")) {
    label.hidden = !label.dataset.when.split(" ").includes(fields.when.value);
  }
  setText(byId("fault-notation"), notation());
}

// Sends a form's wish, with the sandbox's objection beside it.
function onSubmit(target, act) {
  target.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = target.querySelector(".problem");
    setText(problem, "");
    try {
      await act();
    } catch (error) {
      setText(problem, error.message);
    }
  });
}

function switchOff(fault) {
  api.removeFault(fault).then(
    () => say(`Switched off: ${fault}`),
    (error) => setText(form.querySelector(".problem"), error.message),
  );
}

export function paint() {
  const summary = store.summary;
  if (!summary) return;
  const text = JSON.stringify(summary.faults);
  if (text !== drawn) {
    drawn = text;
    byId("faults").replaceChildren(
      ...summary.faults.map(({ fault, calls, struck }) =>
        h(
          "li",
          {},
          h("code", {}, fault),
          h("span", { class: "quiet" }, `struck ${struck} of ${plural(calls, "call")}`),
          h("button", { class: "small", type: "button", onclick: () => switchOff(fault) }, "Switch off", h("span", { class: "heard" }, ` ${fault}`)),
        ),
      ),
    );
  }
  byId("no-faults").hidden = summary.faults.length < 2;
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
  for (const [kind, [words]] of Object.entries(KINDS)) fields.kind.append(h("option", { value: kind }, words));
  form.addEventListener("input", adapt);
  adapt();
  onSubmit(form, async () => {
    const fault = notation();
    await api.addFault(fault);
    say(`Switched on: ${fault}`);
  });
  byId("no-faults").addEventListener("click", () => api.removeFaults().then(() => say("All faults are off")));
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
