// Answers the form as it changes. Without this the form works all the same, by its button.

import { connectComboboxes } from "./combobox.js";
import { keepSynced } from "./consent.js";
import { listenToMarks, showMarks } from "./marks.js";
import * as memory from "./memory.js";

const WAIT_MS = 60;
const FAME_WORDS = {
  "-2": "only little-known films",
  "-1": "rather little-known films",
  0: "all films",
  1: "rather well-known films",
  2: "only well-known films",
};
const form = document.querySelector("[data-form]");
const answers = document.querySelector("[data-answers]");
const status = document.querySelector("[data-status]");
let timer;
let request;

if (form) start();

function start() {
  connectComboboxes(form, status, changed);
  form.addEventListener("change", changed);
  form.addEventListener("change", (event) => {
    if (event.target.closest(".rating")) event.target.closest(".slot").dataset.given = "";
  });
  form.addEventListener("input", (event) => {
    if (event.target.type === "range") changed();
  });
  form.addEventListener("submit", rememberRatings);
  const fame = form.querySelector("[data-fame]");
  fame.addEventListener("input", () => describeFame(fame));
  describeFame(fame);
  offerHiding();
  offerOwnRatings();
  answers.addEventListener("click", clicked);
  listenToMarks(answers, marked);
  decorate();
  keepSynced();
  const hidden = new Set(memory.idsToHide());
  if ([...answers.querySelectorAll("[data-film]")].some((card) => hidden.has(card.dataset.film))) refresh({ quiet: true });
}

function describeFame(fame) {
  fame.setAttribute("aria-valuetext", FAME_WORDS[fame.value]);
  form.querySelector("[data-fame-words]").textContent = FAME_WORDS[fame.value];
}

function offerHiding() {
  if (!memory.works()) return;
  const label = form.querySelector("[data-hide-seen]");
  const box = form.querySelector("[data-hide-seen-box]");
  label.hidden = false;
  box.checked = memory.hidesSeen();
  box.addEventListener("change", () => memory.setHidesSeen(box.checked));
}

function offerOwnRatings() {
  const latest = memory.entries("ratings").slice(0, 5);
  if (latest.length === 0 || results()) return;
  const back = form.querySelector("[data-back]");
  const link = document.createElement("a");
  link.href = `/?${latest.map(({ id, stars }) => `seed=${id}:${stars}`).join("&")}&taste=0.75`;
  link.textContent = latest.length === 1 ? "Start from the film you rated last" : `Start from the ${latest.length} films you rated last`;
  back.append("Welcome back. ", link, ".");
  back.hidden = false;
}

function results() {
  return answers.querySelector("[data-query]");
}

// What has no answer yet waits for the button; what has one follows every change.
function changed() {
  if (!results()) return;
  clearTimeout(timer);
  timer = setTimeout(() => refresh(), WAIT_MS);
}

// What somebody's link or the example filled in is not the visitor's own until they rate it themselves.
function rememberRatings() {
  for (const slot of form.querySelectorAll(".slot[data-given]")) {
    const picked = slot.querySelector("input[type=hidden][data-picked]");
    const title = slot.querySelector(".title");
    const stars = slot.querySelector(".rating input:checked");
    if (picked && stars && slot.querySelector("[data-asked]").value === title.value) {
      memory.rate(picked.value, title.value, Number(stars.value));
    }
  }
}

async function refresh({ count = 10, quiet = false } = {}) {
  request?.abort();
  request = new AbortController();
  const seeds = [...form.querySelectorAll("[data-picked]")].map((picked) => picked.value);
  const body = new URLSearchParams(new FormData(form));
  if (seeds.length > 0) body.delete("surprise");
  body.set("n", String(count));
  body.set("mine", memory.idsToHide().join(","));
  answers.setAttribute("aria-busy", "true");
  try {
    const response = await fetch("/answers", { method: "POST", body, signal: request.signal });
    if (!response.ok) throw new Error(`the site answered ${response.status}`);
    answers.classList.add("live"); // only what comes with the page floats in
    // The same site wrote and escaped it; the policy of this page lets no script in it run.
    answers.innerHTML = await response.text();
  } catch (error) {
    if (error.name === "AbortError") return;
    status.textContent = "The site does not answer. Use the button to try again.";
    return;
  } finally {
    answers.removeAttribute("aria-busy");
  }
  const found = results();
  if (found) history.replaceState(null, "", `/?${found.dataset.query}`);
  if (!quiet) rememberRatings();
  decorate();
  if (!quiet) status.textContent = found ? `${found.dataset.count} films, up to date.` : "Name a film to get recommendations.";
}

function decorate() {
  showMarks(answers);
  const copy = answers.querySelector("[data-copy]");
  if (copy && navigator.clipboard) copy.hidden = false;
}

async function clicked(event) {
  const more = event.target.closest("[data-more]");
  if (more && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    const shown = Number(results().dataset.count);
    await refresh({ count: Number(new URL(more.href).searchParams.get("n")), quiet: true });
    answers.querySelector(`#film-${shown + 1} a`)?.focus();
    status.textContent = `${results().dataset.count} films now.`;
  }
  if (event.target.closest("[data-copy]")) {
    await navigator.clipboard.writeText(answers.querySelector("[data-link]").href);
    event.target.textContent = "Copied";
    status.textContent = "The link is copied.";
  }
}

// The film goes and the next one moves up: the focus stays at its place, and the way back is at hand.
async function marked({ id, label, kind, on, film }) {
  if (!on) return;
  if (kind === "seen" && !memory.hidesSeen()) {
    status.textContent = `${label}: seen.`;
    return;
  }
  const place = film.id;
  await refresh({ count: Math.max(10, Number(results().dataset.count)), quiet: true });
  const undo = document.createElement("p");
  undo.className = "undo";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet-button";
  button.textContent = "Undo";
  button.addEventListener("click", async () => {
    memory.remove(kind, id);
    await refresh({ count: Math.max(10, Number(results().dataset.count)), quiet: true });
    status.textContent = `${label} is back.`;
    answers.querySelector("h2")?.focus();
  });
  const said = kind === "seen" ? `${label}: seen.` : `${label}: not for you.`;
  undo.append(`${said} `, button);
  answers.querySelector(".results-head")?.after(undo);
  status.textContent = said;
  (answers.querySelector(`#${place} a`) ?? answers.querySelector("h2"))?.focus({ preventScroll: true });
}
