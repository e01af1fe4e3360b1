// What this browser remembers of its visitor: ratings, seen, not interested. Nothing of it leaves from here.
// A film's number means something only within one data set, so each data set has a list of its own.

const KEY = "nightreel";
const VERSION = 1;
const MOST_SENT = 1900;
export const KINDS = ["ratings", "seen", "hidden"];
export const dataset = document.body.dataset.dataset ?? "";

const listeners = new Set();
window.addEventListener("storage", (event) => {
  if (event.key === KEY) listeners.forEach((tell) => tell());
});

export function onChange(tell) {
  listeners.add(tell);
}

export function works() {
  try {
    localStorage.setItem(`${KEY}-works`, "1");
    localStorage.removeItem(`${KEY}-works`);
    return true;
  } catch {
    return false;
  }
}

function empty() {
  return { version: VERSION, hideSeen: true, token: null, unsent: false, sets: {} };
}

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY));
    return stored?.version === VERSION && isMapping(stored.sets) ? { ...empty(), ...stored } : empty();
  } catch {
    return empty();
  }
}

function change(edit) {
  const stored = read();
  stored.sets[dataset] = mine(stored);
  edit(stored.sets[dataset], stored);
  try {
    localStorage.setItem(KEY, JSON.stringify(stored));
  } catch {
    return false;
  }
  listeners.forEach((tell) => tell());
  return true;
}

function mine(stored) {
  const set = stored.sets[dataset] ?? {};
  return Object.fromEntries(KINDS.map((kind) => [kind, isMapping(set[kind]) ? set[kind] : {}]));
}

export function entries(kind) {
  const list = Object.entries(mine(read())[kind]).map(([id, entry]) => ({ id, ...entry }));
  return list.sort((one, other) => (other.at ?? 0) - (one.at ?? 0));
}

export function has(kind, id) {
  return String(id) in mine(read())[kind];
}

export function rating(id) {
  return mine(read()).ratings[String(id)]?.stars ?? null;
}

export function rate(id, label, stars) {
  if (rating(id) === stars) return true;
  return change((set, stored) => {
    set.ratings[String(id)] = { label, stars, at: Date.now() };
    stored.unsent = true;
  });
}

export function mark(kind, id, label) {
  return change((set) => {
    set[kind][String(id)] = { label, at: Date.now() };
  });
}

export function remove(kind, id) {
  return change((set, stored) => {
    delete set[kind][String(id)];
    if (kind === "ratings") stored.unsent = true;
  });
}

// Who rated a film has seen it.
export function idsToHide() {
  const kinds = hidesSeen() ? ["hidden", "seen", "ratings"] : ["hidden"];
  const ids = new Set(kinds.flatMap((kind) => entries(kind).map((entry) => entry.id)));
  return [...ids].slice(0, MOST_SENT);
}

export function hidesSeen() {
  return read().hideSeen !== false;
}

export function setHidesSeen(on) {
  return change((set, stored) => {
    stored.hideSeen = on;
  });
}

export function token() {
  return read().token;
}

export function setToken(value) {
  return change((set, stored) => {
    stored.token = value;
    stored.unsent = value !== null;
  });
}

export function unsent() {
  const stored = read();
  return Boolean(stored.token && stored.unsent);
}

export function sent() {
  return change((set, stored) => {
    stored.unsent = false;
  });
}

// The token stays out: whoever has the file could withdraw or change what the training has.
export function exported() {
  const { sets } = read();
  return JSON.stringify({ nightreel: VERSION, sets }, null, 2);
}

export function imported(text) {
  const content = JSON.parse(text);
  if (content?.nightreel !== VERSION || !isMapping(content.sets)) throw new Error("no list of Nightreel");
  const sets = Object.entries(content.sets).map(([name, set]) => [name, checkedSet(set)]);
  let count = 0;
  change((own, stored) => {
    for (const [name, set] of sets) {
      const target = name === dataset ? own : (stored.sets[name] ??= checkedSet({}));
      for (const kind of KINDS) {
        Object.assign(target[kind], set[kind]);
        count += Object.keys(set[kind]).length;
      }
    }
    stored.unsent = true;
  });
  return count;
}

export function erase() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    return;
  }
  listeners.forEach((tell) => tell());
}

function checkedSet(set) {
  return Object.fromEntries(KINDS.map((kind) => [kind, checkedKind(kind, isMapping(set) ? set[kind] : {})]));
}

function checkedKind(kind, list) {
  const good = Object.entries(isMapping(list) ? list : {}).filter(
    ([id, entry]) =>
      /^\d{1,18}$/.test(id) && typeof entry?.label === "string" && (kind !== "ratings" || [1, 2, 3, 4, 5].includes(entry.stars)),
  );
  return Object.fromEntries(
    good.map(([id, { label, stars, at }]) => [id, { label: label.slice(0, 600), at: Number(at) || 0, ...(kind === "ratings" ? { stars } : {}) }]),
  );
}

function isMapping(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
