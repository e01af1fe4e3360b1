// The buttons "Seen" and "Not for me", which only a browser that remembers can offer.

import * as memory from "./memory.js";

export function showMarks(root) {
  if (!memory.works() || !memory.dataset) return;
  for (const marks of root.querySelectorAll("[data-marks]")) marks.hidden = false;
  paintMarks(root);
}

export function paintMarks(root) {
  for (const button of root.querySelectorAll("[data-mark]")) {
    const film = button.closest("[data-film]");
    button.setAttribute("aria-pressed", String(memory.has(button.dataset.mark, film.dataset.film)));
  }
}

// Calls `done` with the film, the kind and whether it is marked now.
export function listenToMarks(root, done) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-mark]");
    if (!button) return;
    const film = button.closest("[data-film]");
    const { film: id, label } = film.dataset;
    const kind = button.dataset.mark;
    const on = !memory.has(kind, id);
    if (on) memory.mark(kind, id, label);
    else memory.remove(kind, id);
    button.setAttribute("aria-pressed", String(on));
    done({ id, label, kind, on, film });
  });
}
