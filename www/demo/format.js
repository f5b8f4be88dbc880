// Numbers as people read them.

const number = (value, digits) =>
  value.toLocaleString(undefined, { maximumFractionDigits: digits, minimumFractionDigits: digits });

/** 98362432 → "98.4 MB". */
export function bytes(value) {
  if (value < 1000) return `${value} B`;
  const units = ["kB", "MB", "GB"];
  let scaled = value / 1000;
  let unit = 0;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${number(scaled, scaled < 100 ? 1 : 0)} ${units[unit]}`;
}

/** 830 → "0.83 s", 75000 → "1 min 15 s". */
export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${number(seconds, seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function rate(perSecond) {
  return number(perSecond, perSecond < 10 ? 2 : 1);
}

export function count(value, one, many) {
  return `${value.toLocaleString()} ${value === 1 ? one : many}`;
}
