// The latest requests.

import { byId, h, setText } from "./dom.js";
import { isoTime, plural, timeOfDay } from "./format.js";
import { store } from "./store.js";

const ENDS = { refuse: "connection refused", hang: "no answer", drop: "connection closed", truncate: "cut off" };
const body = byId("request-rows");
let drawn = null; // the latest request that is drawn

function line(entry) {
  const end = ENDS[entry.delivery];
  const level = end || entry.status >= 400 || entry.status === 0 ? "bad" : "ok";
  return h(
    "tr",
    {},
    h("td", {}, h("time", { datetime: isoTime(entry.at) }, timeOfDay(entry.at))),
    h("td", {}, h("span", { class: "method" }, entry.method), " ", entry.route),
    h("td", {}, h("span", { class: "pill", "data-level": level }, entry.status ? String(entry.status) : "–"), end ? ` ${end}` : ""),
  );
}

export function paint() {
  const total = store.summary?.requests ?? 0;
  setText(byId("requests-note"), total ? `${plural(total, "request")} since the start; the latest ${store.requests.length} are here.` : "None so far.");
  if (store.requests[0] === drawn) return;
  const known = store.requests.indexOf(drawn);
  if (known < 0) body.replaceChildren();
  const news = known < 0 ? store.requests : store.requests.slice(0, known);
  body.prepend(...news.map(line));
  while (body.children.length > store.requests.length) body.lastChild.remove();
  drawn = store.requests[0] ?? null;
}
