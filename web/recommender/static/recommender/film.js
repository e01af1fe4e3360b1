// A film's page: my rating, seen, not for me.

import { keepSynced } from "./consent.js";
import { listenToMarks, paintMarks, showMarks } from "./marks.js";
import * as memory from "./memory.js";

const film = document.querySelector("article[data-film]");
const mine = document.querySelector("[data-my-film]");
const status = document.querySelector("[data-status]");

if (mine && memory.works() && memory.dataset) {
  const { film: id, label } = film.dataset;
  const back = mine.querySelector("[data-unrate]");
  const paint = () => {
    const stars = memory.rating(id);
    for (const input of mine.querySelectorAll("[name=mine]")) input.checked = Number(input.value) === stars;
    back.hidden = stars === null;
    paintMarks(document);
  };
  mine.hidden = false;
  mine.addEventListener("change", (event) => {
    if (event.target.name !== "mine") return;
    memory.rate(id, label, Number(event.target.value));
    status.textContent = `${label}: ${event.target.value} of 5 stars, kept in this browser.`;
  });
  back.addEventListener("click", () => {
    memory.remove("ratings", id);
    status.textContent = "Your rating is taken back.";
    mine.querySelector("[name=mine]").focus();
  });
  listenToMarks(document, ({ label: name, kind, on }) => {
    const what = kind === "seen" ? "seen" : "not for me";
    status.textContent = on ? `${name}: ${what}.` : `${name}: no longer ${what}.`;
  });
  memory.onChange(paint);
  showMarks(document);
  paint();
  keepSynced();
}
