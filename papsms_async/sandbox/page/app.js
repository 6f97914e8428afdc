// Puts the page together: address, views, keys, theme, news.

import * as controls from "./controls.js";
import * as detail from "./detail.js";
import { announce, byId, setText } from "./dom.js";
import { phone, plural } from "./format.js";
import * as inbox from "./inbox.js";
import { start as startKeys } from "./keys.js";
import { follow } from "./live.js";
import * as lost from "./lost.js";
import * as requests from "./requests.js";
import * as start from "./start.js";
import { changed, latestSms, onChange, store, take } from "./store.js";
import * as summary from "./summary.js";
import { start as startTheme } from "./theme-switch.js";
import * as webhooks from "./webhooks.js";

const VIEWS = { inbox: "", requests: "Requests · ", webhooks: "Webhooks · ", controls: "Controls · " };

// The address after the #: "/", "/number/ID", "/requests", "/webhooks" or "/controls".
function place() {
  const [, view, id] = location.hash.slice(1).split("/");
  if (view === "number" && id) return { view: "inbox", id: decodeURIComponent(id) };
  return { view: Object.hasOwn(VIEWS, view) ? view : "inbox", id: null };
}

function paint() {
  const { view, id } = place();
  const empty = view === "inbox" && id === null && store.summary && store.activations.size === 0;
  byId("view-start").hidden = !empty;
  byId("view-inbox").hidden = view !== "inbox" || Boolean(empty) || !store.summary;
  byId("view-requests").hidden = view !== "requests";
  byId("view-webhooks").hidden = view !== "webhooks";
  byId("view-controls").hidden = view !== "controls";
  document.body.dataset.open = id === null ? "list" : "number";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  summary.paint();
  lost.paint(view === "inbox");
  if (empty) start.paint();
  if (view === "inbox") {
    inbox.paint(id);
    detail.paint(id);
  }
  if (view === "requests") requests.paint();
  if (view === "webhooks") webhooks.paint();
  if (view === "controls") controls.paint();
}

function told(news) {
  const arrived = take(news);
  if (arrived.length === 1) {
    const [row] = arrived;
    announce(`SMS for ${phone(row.phone_number)}: ${latestSms(row).text}`);
  } else if (arrived.length) {
    announce(`${plural(arrived.length, "SMS", "SMS")} arrived`);
  }
}

let last = place();

function moved() {
  const before = last;
  last = place();
  paint();
  // The focus goes where the eye goes.
  if (last.id !== null && last.id !== before.id) detail.focus();
  else if (last.id === null && before.id !== null && last.view === "inbox") inbox.focusRow(before.id);
  else if (last.view !== before.view) byId("main").focus();
  setText(document.querySelector("title"), `${VIEWS[last.view]}PapSMS sandbox`);
}

onChange(paint);
inbox.start(changed);
controls.start();
webhooks.start();
start.start();
startTheme();
startKeys(place);
addEventListener("hashchange", moved);
setInterval(() => {
  inbox.tick();
  detail.tick();
  webhooks.tick();
}, 1000);
follow(told);
paint();
