// Your list: look through it, carry it away, erase it, and let the training have its ratings.

import * as consent from "./consent.js";
import * as memory from "./memory.js";

const root = document.querySelector("[data-list]");
const status = document.querySelector("[data-status]");
const find = (name) => root.querySelector(`[data-${name}]`);
const WORDS = { 1: "hated it", 2: "disliked it", 3: "so-so", 4: "liked it", 5: "loved it" };

function paint() {
  let any = false;
  for (const kind of memory.KINDS) {
    const part = root.querySelector(`[data-part=${kind}]`);
    const entries = memory.entries(kind);
    any ||= entries.length > 0;
    part.hidden = entries.length === 0;
    part.querySelector(".rows").replaceChildren(...entries.map((entry) => row(kind, entry)));
  }
  find("nothing").hidden = any;
  const latest = memory.entries("ratings").slice(0, 5);
  find("use").href = `/?${latest.map(({ id, stars }) => `seed=${id}:${stars}`).join("&")}&taste=0.75`;
  paintConsent();
}

function row(kind, { id, label, stars }) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `/films/${id}`;
  link.textContent = label;
  item.append(link);
  if (stars) item.append(ratingMenu(id, label, stars));
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "quiet-button";
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove ${label}`);
  remove.addEventListener("click", () => {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    const place = [...item.parentElement.children].indexOf(next);
    memory.remove(kind, id);
    const rows = root.querySelectorAll(`[data-part=${kind}] .rows > li`);
    (rows[Math.min(Math.max(place, 0), rows.length - 1)]?.querySelector("button") ?? document.querySelector("#main")).focus();
    status.textContent = `${label} is removed.`;
  });
  item.append(remove);
  return item;
}

function ratingMenu(id, label, stars) {
  const menu = document.createElement("select");
  menu.setAttribute("aria-label", `My rating of ${label}`);
  for (const [value, words] of Object.entries(WORDS).reverse()) {
    menu.add(new Option(`${"★".repeat(Number(value))} ${words}`, value, false, Number(value) === stars));
  }
  menu.addEventListener("change", () => {
    memory.rate(id, label, Number(menu.value));
    root.querySelector(`[data-part=ratings] [href="/films/${id}"]`)?.parentElement.querySelector("select").focus();
  });
  return menu;
}

function paintConsent(said = "") {
  const given = memory.token() !== null;
  find("consent").hidden = given || !memory.dataset;
  find("withdraw").hidden = !given;
  find("consent-state").textContent = said || (given ? "Your ratings join the nightly training." : "At the moment nothing leaves this browser.");
}

async function trying(work, done) {
  try {
    const said = done(await work());
    paintConsent(said);
    status.textContent = said;
  } catch (error) {
    const said = `That did not work: ${error.message}.`;
    paintConsent(said);
    status.textContent = said;
  }
}

function listen() {
  find("consent").addEventListener("click", async () => {
    await trying(consent.give, (kept) => `Thank you: ${kept ?? 0} ${kept === 1 ? "rating joins" : "ratings join"} the nightly training.`);
    if (memory.token()) find("withdraw").focus();
  });
  find("withdraw").addEventListener("click", async () => {
    await trying(consent.withdraw, () => "It is deleted: the training has nothing of you any more.");
    if (!memory.token()) find("consent").focus();
  });
  find("export").addEventListener("click", (event) => {
    event.currentTarget.href = URL.createObjectURL(new Blob([memory.exported()], { type: "application/json" }));
  });
  find("import").addEventListener("change", async (event) => {
    try {
      const count = memory.imported(await event.target.files[0].text());
      status.textContent = `${count} ${count === 1 ? "entry" : "entries"} imported.`;
    } catch {
      status.textContent = "That file is no list of Nightreel: choose one that was exported here.";
      paintConsent(status.textContent);
    }
    event.target.value = "";
  });
  find("erase").addEventListener("click", () => {
    find("sure").hidden = false;
    find("erase-no").focus();
  });
  find("erase-no").addEventListener("click", () => {
    find("sure").hidden = true;
    find("erase").focus();
  });
  find("erase-yes").addEventListener("click", eraseAll);
}

async function eraseAll() {
  try {
    if (memory.token()) await consent.withdraw();
  } catch (error) {
    status.textContent = `Nothing is erased yet, for the training's copy could not be: ${error.message}.`;
    paintConsent(status.textContent);
    return;
  }
  memory.erase();
  find("sure").hidden = true;
  find("erase").focus();
  status.textContent = "Everything is erased.";
}

if (memory.works()) {
  memory.onChange(paint);
  listen();
  paint();
  consent.keepSynced();
} else {
  root.hidden = true;
  status.classList.remove("quiet");
  status.textContent = "This browser keeps nothing for this site, so there is no list.";
}
