// The stream of news. A hidden tab lets go of it: browsers share six connections among all tabs of
// an address, and on return the sandbox tells everything that was missed.

import { byId, setText } from "./dom.js";

const WORDS = { live: "Live", waiting: "Connecting", lost: "Not connected" };

let source = null;
let seen = "";

function show(state) {
  const link = byId("connection");
  link.dataset.state = state;
  setText(link.querySelector("span"), WORDS[state]);
}

function open(onNews) {
  if (source) return;
  show("waiting");
  source = new EventSource(`/_sandbox/events${seen ? `?since=${encodeURIComponent(seen)}` : ""}`);
  source.addEventListener("open", () => show("live"));
  source.addEventListener("news", (event) => {
    // Events of one batch but the last have no id: a break among them begins the batch again.
    if (event.lastEventId) seen = event.lastEventId;
    onNews(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    show("lost");
    // The browser tries again by itself unless it was refused; then this does.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(() => document.hidden || open(onNews), 3000);
    }
  });
}

function close() {
  source?.close();
  source = null;
}

export function follow(onNews) {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open(onNews)));
  if (!document.hidden) open(onNews);
}
