// What the page knows. News from the sandbox goes in; whoever draws is called once a frame.

export const store = {
  activations: new Map(), // by id, in the order of their purchase
  requests: [], // latest first
  posts: [], // webhooks, latest first
  summary: null,
  leftOut: 0,
  offset: 0, // seconds that the sandbox's clock is ahead of this one
};

const KEPT = 200; // requests, and as many posts
const painters = [];
let scheduled = false;

export function onChange(paint) {
  painters.push(paint);
}

export function changed() {
  if (scheduled) return;
  scheduled = true;
  // A tab in the background gets no frames; there is nothing to draw for anyway.
  requestAnimationFrame(() => {
    scheduled = false;
    for (const paint of painters) paint();
  });
}

// Takes in one piece of news and returns the activations whose first or next SMS just arrived.
export function take(news) {
  const arrived = [];
  if (news.fresh) {
    store.activations.clear();
    store.requests = [];
    store.posts = [];
    store.leftOut = 0;
  }
  store.offset = news.now - Date.now() / 1000;
  if (news.summary) store.summary = news.summary;
  if (news.left_out !== undefined) store.leftOut = news.left_out;
  for (const row of news.activations ?? []) {
    const before = store.activations.get(row.activation_id);
    if (!news.fresh && arrivals(row) > (before ? arrivals(before) : 0)) arrived.push(row);
    row.searched = [row.phone_number, row.service, row.country, row.activation_id, row.state]
      .concat(row.messages.filter((sms) => sms.arrived).map((sms) => sms.text))
      .join("\n")
      .toLowerCase();
    store.activations.set(row.activation_id, row);
  }
  for (const log of ["requests", "posts"]) {
    if (news[log]?.length) store[log] = [...news[log].toReversed(), ...store[log]].slice(0, KEPT);
  }
  changed();
  return arrived;
}

export const now = () => Date.now() / 1000 + store.offset;

const arrivals = (row) => row.messages.reduce((count, sms) => count + (sms.arrived ? 1 : 0), 0);

export const isOpen = (row) => row.state === "waiting" || row.state === "received";

export const latestSms = (row) => row.messages.findLast((sms) => sms.arrived) ?? null;

export const nextSms = (row) => row.messages.find((sms) => !sms.arrived) ?? null;
