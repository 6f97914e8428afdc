// The sandbox's control API; what it refuses is thrown as an Error with its own sentence.

async function send(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The sandbox does not answer; is it still running?");
  }
  const value = await answer.json().catch(() => ({}));
  // An objection may quote what was sent; what looks like a signing secret is not shown again.
  const objection = value.error?.replace(/whsec_[^\s'"]+/gi, "whsec_…");
  if (!answer.ok) throw new Error(objection ?? `The sandbox answered ${answer.status}`);
  return value;
}

const control = (method, name, body) => send(method, `/_sandbox/${name}`, body);

export const deliver = (activationId, { text, delay }) =>
  control("POST", "deliver", {
    activation_id: activationId,
    ...(text ? { text } : {}),
    ...(delay ? { delay } : {}),
  });

export const drop = (activationId) => control("POST", "drop", { activation_id: activationId });

export const end = (activationId, state) =>
  control("POST", "end", { activation_id: activationId, state });

export const addFault = (fault) => control("POST", "faults", { faults: [fault] });

export const removeFault = (fault) => control("DELETE", "faults", { faults: [fault] });

export const removeFaults = () => control("DELETE", "faults");

// Secrets go this way and never come back: the answer has neither the path of the URL nor the secret.
export const setWebhook = (webhook) => control("PUT", "webhook", webhook);

export const removeWebhook = () => control("DELETE", "webhook");

export const addWebhookFault = (fault) => control("POST", "webhook-faults", { faults: [fault] });

export const removeWebhookFault = (fault) => control("DELETE", "webhook-faults", { faults: [fault] });

export const removeWebhookFaults = () => control("DELETE", "webhook-faults");

export const setLimit = (limit) => control("PUT", "limit", { limit });

export const reset = (seed) => control("POST", "reset", seed === null ? {} : { seed });

// Buys as any client does, and counts like one.
export async function buy(key, service, country) {
  const answer = await fetch("/api/v1/numbers/purchase", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify({ service, country }),
  });
  const value = await answer.json().catch(() => null);
  if (!value?.success) throw new Error(value?.error?.message ?? `Refused with ${answer.status}`);
  return value.data;
}
