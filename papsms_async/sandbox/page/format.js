// How numbers, money and times are written.

const GROUPS = [
  [/^\+1(\d{3})(\d{3})(\d{4})$/, "+1 $1 $2 $3"],
  [/^\+44(\d{4})(\d{6})$/, "+44 $1 $2"],
  [/^\+33(\d)(\d{2})(\d{2})(\d{2})(\d{2})$/, "+33 $1 $2 $3 $4 $5"],
];

export function phone(number) {
  for (const [pattern, form] of GROUPS) {
    if (pattern.test(number)) return number.replace(pattern, form);
  }
  return number;
}

export const money = (amount) => `$${Number(amount).toFixed(2)}`;

// Seconds as 19:42 or 1:02:03; what is over is 0:00.
export function countdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

export function seconds(count) {
  const whole = Math.max(0, Math.ceil(count));
  return whole < 120 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const timeOfDay = (at) => clock.format(new Date(at * 1000));

export const isoTime = (at) => new Date(at * 1000).toISOString();

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
