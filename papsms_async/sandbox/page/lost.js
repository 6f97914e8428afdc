// Messages of applications to numbers that nobody held.

import { byId, h, setText } from "./dom.js";
import { isoTime, phone, plural, timeOfDay } from "./format.js";
import { store } from "./store.js";

let drawn = "";

const line = (message) =>
  h(
    "li",
    {},
    h("time", { datetime: isoTime(message.at) }, timeOfDay(message.at)),
    " ",
    h("span", { class: "number" }, phone(message.to)),
    " ",
    h("span", { class: "text" }, message.text),
  );

export function paint(shown) {
  const { count, latest } = store.summary?.undelivered ?? { count: 0, latest: [] };
  byId("lost").hidden = !shown || count === 0;
  const newest = `${count} ${latest.at(-1)?.sid}`;
  if (newest === drawn) return;
  drawn = newest;
  const some = count > latest.length ? `; the latest ${latest.length} are here` : "";
  setText(byId("lost-title"), `${plural(count, "message")} undelivered${some}`);
  byId("lost-rows").replaceChildren(...latest.toReversed().map(line));
}
