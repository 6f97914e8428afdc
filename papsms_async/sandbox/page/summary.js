// The four tiles on top.

import { byId, setAttribute, setText } from "./dom.js";
import { money, seconds } from "./format.js";
import { store } from "./store.js";

const SVG = "http://www.w3.org/2000/svg";
const bars = byId("bars");
let drawn = "";

function plot(counts) {
  const text = JSON.stringify(counts);
  if (text === drawn) return;
  drawn = text;
  const top = Math.max(1, ...counts.map(([all]) => all));
  bars.setAttribute("viewBox", `0 0 ${counts.length * 4} 20`);
  const bar = (index, from, height, name) => {
    const rect = document.createElementNS(SVG, "rect");
    const values = { x: index * 4, y: 20 - from - height, width: 3, height, class: name };
    for (const [key, value] of Object.entries(values)) rect.setAttribute(key, value);
    return rect;
  };
  bars.replaceChildren(
    ...counts.flatMap(([all, refused], index) => {
      const high = (refused / top) * 20;
      const low = ((all - refused) / top) * 20;
      return [bar(index, 0, Math.max(low, 0.6), "ok"), bar(index, low, high, "refused")];
    }),
  );
}

export function paint() {
  const summary = store.summary;
  if (!summary) return;
  const { states, traffic, faults, webhooks } = summary;
  setText(byId("balance"), money(summary.balance));
  setText(byId("spent"), `${money(summary.spent)} spent`);
  const ended = states.completed + states.cancelled + states.expired;
  setText(byId("count"), String(states.waiting + states.received + ended));
  const parts = { waiting: states.waiting, received: states.received, ended };
  const some = Object.entries(parts).filter(([, count]) => count);
  setText(byId("states"), some.map(([word, count]) => `${count} ${word}`).join(" · ") || "none so far");
  setText(byId("quota-title"), `Requests in ${seconds(traffic.window)}`);
  const limit = traffic.limit;
  setText(byId("quota"), limit === null ? `${traffic.used}` : `${traffic.used} of ${limit}`);
  const meter = byId("quota-meter");
  meter.hidden = limit === null;
  setAttribute(meter, "aria-valuemax", String(limit ?? 1));
  setAttribute(meter, "aria-valuenow", String(Math.min(traffic.used, limit ?? 0)));
  const share = limit === null ? 0 : Math.min(1, traffic.used / limit);
  meter.firstChild.style.setProperty("--share", `${(share * 100).toFixed(1)}%`);
  meter.dataset.level = share >= 1 ? "full" : share > 0.85 ? "high" : "fine";
  setText(byId("refused"), traffic.refused ? `${traffic.refused} refused with 429` : limit === null ? "no limit" : "none refused");
  byId("refused").dataset.bad = traffic.refused ? "yes" : "no";
  plot(traffic.bars);
  const names = [...faults.map(({ fault }) => fault), ...webhooks.faults.map(({ fault }) => `webhook ${fault}`)];
  setText(byId("fault-count"), names.length ? `${names.length} in force` : "None");
  setText(byId("fault-names"), names.join(", ") || "all goes well");
  byId("fault-count").parentElement.dataset.bad = names.length ? "yes" : "no";
}
