// Webhooks: where they are posted and how, what goes wrong with them, and the latest posts.

import * as api from "./api.js";
import { byId, h, onSubmit, say, setText } from "./dom.js";
import { faultForm } from "./fault-form.js";
import { isoTime, plural, seconds, timeOfDay } from "./format.js";
import { now, store } from "./store.js";

// By kind: what happens in words, and what may be given as a detail.
const KINDS = {
  loss: ["an SMS is not told of", ""],
  late: ["the post leaves late", "Seconds, such as 60, or LOW-HIGH such as 0-30, drawn evenly."],
  duplicate: ["the post is made again", "How many more, 1 to 10."],
  reorder: ["overtaken by a later one", "Seconds that it waits for one at most, such as 5."],
  replay: ["the same bytes again, later", "Seconds until then, such as 600."],
  forged_code: ["forged: a wrong code", "Within so many seconds of the purchase, such as 10."],
  forged_id: ["forged: an unknown id", "Within so many seconds of the purchase, such as 10."],
  forged_path: ["forged: a guessed path", "Within so many seconds of the purchase, such as 10."],
};
const POSTS = {
  sms: "SMS",
  duplicate: "duplicate",
  replay: "replay",
  forged_code: "forged code",
  forged_id: "forged id",
  forged_path: "forged path",
  lost: "lost",
};
const ERRORS = { refused: "connection refused", unreachable: "not reachable", timed_out: "timed out", broken: "connection broken" };
const SHAPES = { flat: "activation_id, code, full_text", nested: "id, sms", camel: "activationId, code, text" };

const form = byId("webhook-form");
const body = byId("post-rows");
let paintFaults = null;
let drawn = null; // the latest post that is drawn
let setting; // the one that is drawn

const took = (count) => (count < 1 ? `${Math.max(1, Math.round(count * 1000))} ms` : `${count.toFixed(1)} s`);

function result(post) {
  if (post.kind === "lost") return h("span", { class: "quiet" }, "not posted");
  const level = post.status >= 200 && post.status < 300 ? "ok" : "bad";
  return [
    post.status ? h("span", { class: "pill", "data-level": level }, String(post.status)) : h("span", { class: "failed" }, ERRORS[post.error] ?? "no answer"),
    " ",
    h("span", { class: "quiet took" }, took(post.took)),
  ];
}

function line(post) {
  const id = post.activation_id;
  const about = store.activations.has(id) ? h("a", { href: `#/number/${encodeURIComponent(id)}` }, id) : h("span", { class: "quiet" }, id);
  const nature = post.forged ? "forged" : post.duplicate ? "again" : post.kind === "lost" ? "lost" : null;
  return h(
    "tr",
    {},
    h("td", {}, h("time", { datetime: isoTime(post.at) }, timeOfDay(post.at))),
    h("td", {}, h("span", { class: "kind", "data-nature": nature }, POSTS[post.kind] ?? post.kind), " ", about),
    h("td", {}, post.attempt ? String(post.attempt) : "–"),
    h("td", {}, ...[result(post)].flat()),
  );
}

function paintLog({ posted }) {
  const kept = store.posts.length;
  byId("posts").hidden = kept === 0;
  setText(byId("posts-note"), posted ? `${plural(posted, "post")} since the start${kept < posted ? `; the latest ${kept} are here` : ""}.` : "None so far.");
  if (store.posts[0] === drawn) return;
  const known = store.posts.indexOf(drawn);
  if (known < 0) body.replaceChildren();
  body.prepend(...(known < 0 ? store.posts : store.posts.slice(0, known)).map(line));
  while (body.children.length > kept) body.lastChild.remove();
  drawn = store.posts[0] ?? null;
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function paintSetting(wanted) {
  const { faults: _, ...now } = wanted ?? {};
  const text = wanted ? JSON.stringify(now) : "";
  if (text === setting) return;
  const first = setting === undefined;
  setting = text;
  byId("webhook-facts").replaceChildren(
    ...(wanted
      ? [
          fact("URL", h("code", {}, wanted.url)),
          fact("Signed", wanted.signed ? "yes, with whsec_…" : "no"),
          fact("Attempts", `up to ${wanted.attempts}`),
          fact("Pause", `${wanted.backoff} s, then three times as long`),
          fact("Timeout", `${wanted.timeout} s`),
          fact("Body", h("code", {}, SHAPES[wanted.shape] ?? wanted.shape)),
        ]
      : []),
  );
  byId("webhook-none").hidden = Boolean(wanted);
  byId("webhook-off").hidden = !wanted;
  setText(byId("webhook-change"), wanted ? "Change it" : "Set it");
  setText(byId("webhook-hint"), wanted ? "With both left empty, URL and secret stay as they are; a new URL needs its secret again, or its posts are not signed. Posts that are planned are dropped." : "Posts stay on this machine unless the sandbox was started with --webhook-remote.");
  byId("webhook-faults-form").hidden = !wanted;
  byId("webhook-faults-none").hidden = Boolean(wanted);
  form.elements.url.required = !wanted;
  if (first || !wanted) form.closest("details").open = !wanted;
  // The form follows what is in force until a person changes it.
  for (const name of wanted ? ["attempts", "backoff", "timeout", "shape"] : []) form.elements[name].value = String(wanted[name]);
}

export function tick() {
  const webhooks = store.summary?.webhooks;
  if (!webhooks) return;
  const parts = [];
  if (webhooks.under_way) parts.push(`${webhooks.under_way} under way`);
  if (webhooks.planned) parts.push(`${webhooks.planned} planned, next in ${seconds(webhooks.next_at - now())}`);
  setText(byId("webhook-planned"), parts.join(" · "));
}

export function paint() {
  const webhooks = store.summary?.webhooks;
  if (!webhooks) return;
  paintSetting(webhooks.setting);
  paintFaults(webhooks.faults);
  paintLog(webhooks);
  tick();
}

// What is left empty is not sent: then URL and secret stay, or posts are not signed.
function wish() {
  const { url, secret, attempts, backoff, timeout, shape } = form.elements;
  const faults = store.summary?.webhooks.faults.map(({ fault }) => fault) ?? [];
  return {
    ...(url.value.trim() ? { url: url.value.trim() } : {}),
    ...(secret.value.trim() ? { secret: secret.value.trim() } : {}),
    attempts: Number(attempts.value),
    backoff: Number(backoff.value),
    timeout: Number(timeout.value),
    shape: shape.value,
    faults,
  };
}

export function start() {
  paintFaults = faultForm(byId("webhook-faults-card"), {
    kinds: KINDS,
    unit: "event",
    add: api.addWebhookFault,
    remove: api.removeWebhookFault,
    removeAll: api.removeWebhookFaults,
  });
  for (const [shape, words] of Object.entries(SHAPES)) form.elements.shape.append(h("option", { value: shape }, `${shape}: ${words}`));
  onSubmit(form, async () => {
    const { webhook } = await api.setWebhook(wish());
    // What was typed is a secret: it does not stay on the screen.
    form.elements.url.value = form.elements.secret.value = "";
    form.closest("details").open = false;
    form.closest("details").querySelector("summary").focus();
    say(`Webhooks go to ${webhook.url}`);
  });
  byId("webhook-off").addEventListener("click", () =>
    api.removeWebhook().then(
      () => say("No webhooks are posted any more"),
      (error) => setText(form.querySelector(".problem"), error.message),
    ),
  );
}
