// One number: its messages, what is on its way, and what can be done with it.

import * as api from "./api.js";
import { byId, copy, h, say, setText } from "./dom.js";
import { countdown, isoTime, money, phone, seconds, timeOfDay } from "./format.js";
import { STATE_WORDS } from "./inbox.js";
import { isOpen, latestSms, nextSms, now, store } from "./store.js";

const pane = byId("detail");
let view = null; // elements of the number that is drawn
let drawnId = null;

async function attempt(action, done) {
  setText(view.problem, "");
  try {
    const value = await action();
    if (done) say(typeof done === "function" ? done(value) : done);
    return true;
  } catch (error) {
    setText(view.problem, error.message);
    return false;
  }
}

function compose(id) {
  const text = h("textarea", { name: "text", rows: "2", autocomplete: "off", "aria-describedby": "text-hint" });
  const delay = h("input", { name: "delay", type: "number", min: "0", step: "any", value: "0", inputmode: "decimal" });
  const form = h(
    "form",
    { class: "compose" },
    h("label", { class: "message" }, "Send an SMS", text),
    h("p", { class: "hint", id: "text-hint" }, "Left empty, one with a new code is written for you."),
    h("label", { class: "delay" }, "Arrives after", h("span", { class: "heard" }, " so many seconds"), h("span", {}, delay, h("span", { "aria-hidden": "true" }, "s"))),
    h("button", { class: "primary", type: "submit" }, "Send"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wait = Number(delay.value) || 0;
    const sent = await attempt(
      () => api.deliver(id, { text: text.value, delay: wait }),
      wait ? `On its way: arrives in ${seconds(wait)}` : "Delivered",
    );
    if (sent) {
      text.value = "";
      delay.value = "0";
    }
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return { form, text };
}

function build(id) {
  const { form, text } = compose(id);
  const fact = (name) => {
    const value = h("dd");
    return { row: h("div", {}, h("dt", {}, name), value), value };
  };
  const facts = { cost: fact("Cost"), bought: fact("Bought"), ends: fact("Expires"), asked: fact("Status asked"), id: fact("Activation") };
  const number = h("h2", { id: "detail-title", tabindex: "-1" });
  view = {
    number,
    about: h("p", { class: "quiet" }),
    state: h("span", { class: "pill" }),
    left: h("span", { class: "left" }),
    thread: h("ol", { class: "thread", "aria-label": "Messages" }),
    empty: h("p", { class: "nothing" }),
    problem: h("p", { class: "problem", role: "alert" }),
    form,
    text,
    facts,
    actions: h(
      "p",
      { class: "buttons" },
      h("button", { type: "button", onclick: () => attempt(() => api.end(id, "cancelled"), "Cancelled and refunded") }, "Cancel the number"),
      h("button", { type: "button", onclick: () => attempt(() => api.end(id, "expired"), "Expired and refunded") }, "Let it expire"),
    ),
    messages: "",
  };
  pane.replaceChildren(
    h(
      "header",
      {},
      h("a", { class: "back", href: "#/" }, h("span", { "aria-hidden": "true" }, "‹ "), "All numbers"),
      h("div", { class: "title" }, number, h("button", { class: "small", type: "button", onclick: () => copy(store.activations.get(id)?.phone_number ?? "", number) }, "Copy", h("span", { class: "heard" }, " the number"))),
      h("p", { class: "standing" }, view.state, view.left),
      view.about,
    ),
    view.thread,
    view.empty,
    view.problem,
    form,
    view.actions,
    h("dl", { class: "facts" }, ...Object.values(facts).map((one) => one.row)),
  );
  drawnId = id;
}

function bubble(sms, id) {
  const code = sms.code && sms.text.includes(sms.code) ? sms.code : null;
  const [before, after] = code ? sms.text.split(code, 1).concat(sms.text.slice(sms.text.indexOf(code) + code.length)) : [sms.text, ""];
  const words = h("p", { class: "words" }, before, code ? h("mark", {}, code) : null, after);
  if (!sms.arrived) {
    return h(
      "li",
      { class: "bubble coming" },
      words,
      h("p", { class: "under" }, h("span", { class: "coming-in", "data-at": String(sms.at) }), h("button", { class: "small", type: "button", onclick: () => attempt(() => api.drop(id), "Dropped: it never comes") }, "Drop", h("span", { class: "heard" }, " what is on its way"))),
    );
  }
  return h(
    "li",
    { class: "bubble" },
    words,
    h("p", { class: "under" }, h("time", { datetime: isoTime(sms.at) }, timeOfDay(sms.at)), sms.code ? h("button", { class: "small", type: "button", onclick: (event) => copy(sms.code, event.target.closest("li").querySelector("mark") ?? words) }, "Copy code ", h("b", {}, sms.code)) : h("span", { class: "quiet" }, "no code recognised")),
  );
}

export function tick() {
  const row = store.activations.get(drawnId);
  if (!row || !view) return;
  const at = now();
  setText(view.left, isOpen(row) ? `${countdown(row.expires_at - at)} left` : `at ${timeOfDay(row.ended_at)}`);
  for (const element of pane.querySelectorAll(".coming-in")) {
    setText(element, `arrives in ${seconds(Number(element.dataset.at) - at)}`);
  }
}

export function paint(id) {
  const row = store.activations.get(id);
  if (!id) {
    drawnId = null;
    if (pane.firstChild) pane.replaceChildren(); // the style says what an empty one is for
    return;
  }
  if (!row) {
    drawnId = null;
    pane.replaceChildren(h("p", { class: "nothing" }, "This number is not known here (any more). "), h("a", { href: "#/" }, "All numbers"));
    return;
  }
  if (drawnId !== id) build(id);
  if (view.row === row) return;
  view.row = row;
  const open = isOpen(row);
  setText(view.number, phone(row.phone_number));
  setText(view.about, `${row.service} · ${row.country.toUpperCase()}`);
  setText(view.state, STATE_WORDS[row.state] ?? row.state);
  view.state.dataset.state = row.state;
  setText(view.facts.cost.value, money(row.cost));
  setText(view.facts.bought.value, timeOfDay(row.bought_at));
  setText(view.facts.ends.value, timeOfDay(row.expires_at));
  setText(view.facts.asked.value, `${row.status_calls} ×`);
  setText(view.facts.id.value, row.activation_id);
  const messages = JSON.stringify(row.messages);
  if (messages !== view.messages) {
    view.messages = messages;
    view.thread.replaceChildren(...row.messages.filter((sms) => sms.arrived || open).map((sms) => bubble(sms, id)));
  }
  const next = nextSms(row);
  setText(view.empty, latestSms(row) || (open && next) ? "" : open ? "No SMS is on its way. Send one, or let the client wait in vain." : "No SMS came.");
  view.form.hidden = !open;
  view.actions.hidden = row.state !== "waiting";
  tick();
}

export function write() {
  if (view && drawnId && !view.form.hidden) view.text.focus();
}

export function copyCode() {
  const row = store.activations.get(drawnId);
  const sms = row && latestSms(row);
  if (sms?.code) copy(sms.code, pane.querySelector("mark") ?? view.number);
}

export const focus = () => byId("detail-title")?.focus();
