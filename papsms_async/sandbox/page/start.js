// What stands in place of an empty inbox: how to get the first number.

import * as api from "./api.js";
import { byId, copy, say, setText } from "./dom.js";
import { store } from "./store.js";

export function paint() {
  const base = `${location.origin}/api/v1/`;
  const key = store.summary?.key ?? "KEY";
  setText(byId("start-url"), base);
  setText(byId("start-key"), store.summary && !store.summary.key ? "the one given with --api-key" : key);
  setText(
    byId("start-curl"),
    `curl ${base}numbers/purchase -H 'Authorization: Bearer ${key}' -d '{"country": "us", "service": "whatsapp"}'`,
  );
  setText(byId("start-papsms"), `PAPSMS_BASE_URL=${base} PAPSMS_API_KEY=${key} papsms verify whatsapp us`);
  byId("buy").parentElement.hidden = !store.summary?.key;
}

export function start() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const from = byId(button.dataset.copy);
    button.addEventListener("click", () => copy(from.textContent, from));
  }
  byId("buy").addEventListener("click", async () => {
    try {
      const bought = await api.buy(store.summary.key, "test-never", "us");
      location.hash = `#/number/${encodeURIComponent(bought.activation_id)}`;
    } catch (error) {
      say(`Not bought: ${error.message}`);
    }
  });
}
