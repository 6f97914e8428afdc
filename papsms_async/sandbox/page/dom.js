// Elements out of names, attributes and texts. Texts only ever become text nodes, never markup.

export const byId = (id) => document.getElementById(id);

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "onclick") element.addEventListener("click", value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Only what differs is written: screen readers and selections keep still.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Sends a form's wish, with the sandbox's objection beside it.
export function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = form.querySelector(".problem");
    setText(problem, "");
    try {
      await act();
    } catch (error) {
      setText(problem, error.message);
    }
  });
}

export async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    // No clipboard on plain http from another machine: leave it selected for the person to copy.
    const range = document.createRange();
    range.selectNodeContents(from);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    say("Selected; copy it with your keyboard");
  }
}

let hiding = 0;

// Shows a short message for a while; screen readers hear it.
export function say(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.dataset.shown = "";
  clearTimeout(hiding);
  hiding = setTimeout(() => delete toast.dataset.shown, 4000);
}

// Only heard, for what a person can see anyway.
export function announce(text) {
  byId("announcements").textContent = text;
}
