// The list of numbers: search, order, and which row has the focus.

import { byId, h, setAttribute, setText } from "./dom.js";
import { countdown, phone, plural, seconds } from "./format.js";
import { isOpen, latestSms, nextSms, now, store } from "./store.js";

const PAGE = 100; // rows drawn at first; more on demand, so that thousands stay quick

const list = byId("numbers");
const search = byId("search");
const rows = new Map(); // drawn rows by id
let shown = PAGE;
let order = []; // ids that match, newest number first
let focused = null; // id of the row that Tab leads to

export const STATE_WORDS = {
  waiting: "Waiting",
  received: "Received",
  completed: "Completed",
  cancelled: "Cancelled",
  expired: "Expired",
};

const chosen = () => document.querySelector("input[name=which]:checked").value;

function matching() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const which = chosen();
  const digits = search.value.replace(/[\s()+.-]/g, "");
  const isNumber = /^\d{2,}$/.test(digits);
  return [...store.activations.values()]
    .filter((row) => which === "all" || isOpen(row) === (which === "open"))
    .filter(
      (row) =>
        words.every((word) => row.searched.includes(word)) ||
        (isNumber && row.phone_number.includes(digits)),
    )
    .sort((a, b) => b.bought_at - a.bought_at || (a.activation_id < b.activation_id ? 1 : -1))
    .map((row) => row.activation_id);
}

function draw(id) {
  const line = {
    ring: h("span", { class: "ring", "aria-hidden": "true" }, h("b")),
    number: h("strong", { class: "number" }),
    about: h("span", { class: "about" }),
    last: h("span", { class: "last" }),
    code: h("span", { class: "code" }),
    state: h("span", { class: "state" }),
    left: h("span", { class: "left" }),
  };
  const link = h(
    "a",
    { href: `#/number/${encodeURIComponent(id)}`, "data-id": id, tabindex: "-1" },
    line.ring,
    h("span", { class: "what" }, h("span", {}, line.number, " ", line.about), line.last),
    h("span", { class: "how" }, h("span", {}, line.state, " ", line.left), line.code),
  );
  return { element: h("li", {}, link), link, ...line };
}

function fill(line, row) {
  const sms = latestSms(row);
  setText(line.ring.firstChild, row.service.replace(/^test-/, "").slice(0, 2));
  setText(line.number, phone(row.phone_number));
  setText(line.about, `${row.service} · ${row.country.toUpperCase()}`);
  setText(line.code, sms?.code ?? "");
  setText(line.state, STATE_WORDS[row.state] ?? row.state);
  setAttribute(line.link, "data-state", row.state);
  if (sms) setText(line.last, sms.text);
}

// What changes with time alone.
export function tick() {
  const at = now();
  for (const [id, line] of rows) {
    const row = store.activations.get(id);
    if (!row) continue;
    const open = isOpen(row);
    const left = row.expires_at - at;
    setText(line.left, open ? countdown(left) : "");
    const share = open ? Math.max(0, Math.min(1, left / (row.expires_at - row.bought_at))) : 0;
    line.ring.style.setProperty("--left", `${(share * 100).toFixed(1)}%`);
    if (!latestSms(row)) setText(line.last, waitingFor(row, at));
  }
}

export function waitingFor(row, at) {
  if (!isOpen(row)) return "No SMS came";
  const next = nextSms(row);
  if (!next || next.at >= row.expires_at) return "No SMS on its way";
  return `SMS in ${seconds(next.at - at)}`;
}

export function paint(selected) {
  order = matching();
  const visible = order.slice(0, shown);
  const keep = new Set(visible);
  for (const [id, line] of rows) {
    if (!keep.has(id)) {
      line.element.remove();
      rows.delete(id);
    }
  }
  let place = list.firstChild;
  if (!keep.has(focused)) focused = keep.has(selected) ? selected : (visible[0] ?? null);
  for (const id of visible) {
    let line = rows.get(id);
    if (!line) rows.set(id, (line = draw(id)));
    const row = store.activations.get(id);
    if (line.row !== row) fill(line, (line.row = row));
    setAttribute(line.link, "aria-current", id === selected ? "true" : null);
    setAttribute(line.link, "tabindex", id === focused ? "0" : "-1");
    if (line.element === place) place = place.nextSibling;
    else list.insertBefore(line.element, place);
  }
  const more = order.length - visible.length;
  byId("more").hidden = more <= 0;
  setText(byId("more"), `Show ${Math.min(more, PAGE)} of ${more} more`);
  const nothing = byId("nothing");
  nothing.hidden = order.length > 0;
  setText(nothing, search.value ? `Nothing matches “${search.value}”.` : "No numbers here.");
  byId("left-out").hidden = !store.leftOut;
  setText(byId("left-out"), `${plural(store.leftOut, "older number")} not shown.`);
  tick();
}

// Moves the focus by so many rows, or to the first (-Infinity) or last (Infinity) one.
export function move(by) {
  const drawn = order.slice(0, shown);
  if (!drawn.length) return;
  const inList = list.contains(document.activeElement);
  const from = drawn.indexOf(focused);
  const to = inList ? from + by : Math.max(0, from);
  focused = drawn[Math.max(0, Math.min(drawn.length - 1, to))];
  for (const [id, line] of rows) setAttribute(line.link, "tabindex", id === focused ? "0" : "-1");
  rows.get(focused).link.focus();
}

export function focusRow(id) {
  if (rows.has(id)) focused = id;
  (rows.get(focused)?.link ?? search).focus();
}

export function start(repaint) {
  search.addEventListener("input", () => ((shown = PAGE), repaint()));
  byId("which").addEventListener("change", () => ((shown = PAGE), repaint()));
  byId("more").addEventListener("click", () => ((shown += PAGE), repaint()));
  list.addEventListener("focusin", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    focused = link.dataset.id;
    for (const [id, line] of rows) setAttribute(line.link, "tabindex", id === focused ? "0" : "-1");
  });
  list.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(by);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || (event.key === "Enter" && order.length)) {
      event.preventDefault();
      focusRow(order[0]);
    }
  });
}
