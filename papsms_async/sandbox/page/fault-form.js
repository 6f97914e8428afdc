// A card with faults: those in force, each with a button to switch it off, and a form for one more.
// Faults of the service and of webhooks are written alike, but for what they strike.

import { h, onSubmit, say, setText } from "./dom.js";
import { plural } from "./format.js";

// `kinds`: by kind, what happens in words, and what may be given as a detail ("": nothing).
// `prefix`: returns what stands before the kind. `unit`: what a fault counts. `adapt`: called when
// the form has changed; returns a hint in place of the detail's, if there is one.
export function faultForm(card, { kinds, prefix = () => "", unit, adapt = () => "", add, remove, removeAll }) {
  const form = card.querySelector("form.fault");
  const list = card.querySelector(".faults");
  const allOff = form.querySelector(".all-off");
  const problem = form.querySelector(".problem");
  const fields = form.elements;
  let drawn = "";

  function notation() {
    const value = fields.value.value.trim();
    const often = {
      always: "",
      share: `@${fields.share.value}`,
      call: `#${fields.first.value}`,
      calls: `#${fields.first.value}-${fields.last.value}`,
    }[fields.when.value];
    return `${prefix(fields)}${fields.kind.value}${value ? `=${value}` : ""}${often}`;
  }

  function changed() {
    const instead = adapt(fields);
    const detail = kinds[fields.kind.value][1];
    setText(form.querySelector(".hint"), instead || (detail && `Detail: ${detail}`));
    fields.value.closest("label").hidden = !detail;
    if (!detail) fields.value.value = "";
    for (const label of form.querySelectorAll("[data-when]")) {
      label.hidden = !label.dataset.when.split(" ").includes(fields.when.value);
    }
    setText(form.querySelector(".notation"), notation());
  }

  function attempt(action, words) {
    setText(problem, "");
    action().then(
      () => say(words),
      (error) => setText(problem, error.message),
    );
  }

  const line = ({ fault, calls, struck }) =>
    h(
      "li",
      {},
      h("code", {}, fault),
      h("span", { class: "quiet" }, `struck ${struck} of ${plural(calls, unit)}`),
      h("button", { class: "small", type: "button", onclick: () => attempt(() => remove(fault), `Switched off: ${fault}`) }, "Switch off", h("span", { class: "heard" }, ` ${fault}`)),
    );

  function paint(faults) {
    const text = JSON.stringify(faults);
    if (text !== drawn) {
      drawn = text;
      // A button that has the focus keeps it while only counts change.
      const focused = list.contains(document.activeElement) ? [...list.children].findIndex((item) => item.contains(document.activeElement)) : -1;
      list.replaceChildren(...faults.map(line));
      if (focused >= 0) (list.children[focused] ?? list.lastElementChild)?.querySelector("button").focus();
    }
    allOff.hidden = faults.length < 2;
  }

  for (const [kind, [words]] of Object.entries(kinds)) fields.kind.append(h("option", { value: kind }, words));
  form.addEventListener("input", changed);
  changed();
  onSubmit(form, async () => {
    const fault = notation();
    await add(fault);
    say(`Switched on: ${fault}`);
  });
  allOff.addEventListener("click", () => attempt(removeAll, "All are off"));
  return paint;
}
