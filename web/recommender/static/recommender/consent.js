// Lets the nightly training have this browser's ratings, for as long as the visitor likes.

import * as memory from "./memory.js";

const MOST_RATINGS = 500;
const WAIT_MS = 800;
let timer;

async function csrfToken() {
  const read = () => document.cookie.match(/(?:^|;\s*)csrftoken=([^;]+)/)?.[1];
  if (!read()) await fetch("/list");
  return read() ?? "";
}

async function send(method, path, body) {
  const headers = { "X-CSRFToken": await csrfToken() };
  if (memory.token()) headers.Authorization = `Bearer ${memory.token()}`;
  if (body) headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, body: body && JSON.stringify(body), keepalive: true });
}

async function problem(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `the server answered ${response.status}`;
  }
}

export async function give() {
  const response = await send("POST", "/remember/consent");
  if (!response.ok) throw new Error(await problem(response));
  const { token } = await response.json();
  if (!memory.setToken(token)) throw new Error("this browser keeps nothing for this site");
  return sync();
}

export async function withdraw() {
  const response = await send("DELETE", "/remember/consent");
  // 401: the server knows nothing of this token any more, which is what is wanted.
  if (!response.ok && response.status !== 401) throw new Error(await problem(response));
  memory.setToken(null);
}

function latestRatings() {
  const latest = memory.entries("ratings").slice(0, MOST_RATINGS);
  return Object.fromEntries(latest.map(({ id, stars }) => [id, stars]));
}

export async function sync() {
  if (!memory.unsent()) return null;
  const ratings = latestRatings();
  const response = await send("PUT", "/remember/ratings", { dataset: memory.dataset, ratings });
  if (response.status === 401) memory.setToken(null);
  if (!response.ok) throw new Error(await problem(response));
  // What was rated meanwhile has still to be sent.
  if (JSON.stringify(latestRatings()) === JSON.stringify(ratings)) memory.sent();
  return (await response.json()).kept;
}

// A page may be left at any moment: what was not sent then is sent by the next one.
export function keepSynced() {
  const soon = () => {
    clearTimeout(timer);
    if (memory.unsent()) timer = setTimeout(() => sync().catch(() => undefined), WAIT_MS);
  };
  memory.onChange(soon);
  soon();
}
