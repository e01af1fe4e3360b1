// Type-ahead for the title fields: an editable combobox with a list (ARIA 1.2). The form works without it.

const WAIT_MS = 120;

class Combobox {
  constructor(root, status, done) {
    this.root = root;
    this.status = status;
    this.done = done;
    this.slot = root.closest("fieldset");
    this.input = root.querySelector("input[type=text]");
    this.asked = root.querySelector("[data-asked]");
    this.list = document.createElement("ul");
    this.list.id = `${this.input.id}-list`;
    this.list.className = "options";
    this.list.hidden = true;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Films");
    root.append(this.list);
    this.films = [];
    this.active = -1;
    this.request = null;
    this.describeInput();
    this.listen();
  }

  describeInput() {
    const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(attributes)) this.input.setAttribute(name, value);
  }

  listen() {
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.close());
    // Keeps the focus in the field, so that the press does not close the list before the click picks.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.pick(Number(option.dataset.index));
    });
  }

  changed() {
    if (this.picked()) {
      this.picked().remove();
      this.done();
    }
    this.asked.value = "";
    clearTimeout(this.timer);
    this.request?.abort();
    const text = this.input.value.trim();
    if (text.length < 2) {
      this.close();
      return;
    }
    this.timer = setTimeout(() => this.look(text), WAIT_MS);
  }

  async look(text) {
    this.request = new AbortController();
    try {
      const response = await fetch(`/suggest?q=${encodeURIComponent(text)}`, { signal: this.request.signal });
      if (!response.ok) throw new Error(`the search answered ${response.status}`);
      const { films } = await response.json();
      this.show(films);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.close();
      this.status.textContent = "The search does not answer. Submit the form to look the titles up.";
    }
  }

  show(films) {
    this.films = films;
    this.active = -1;
    this.input.removeAttribute("aria-activedescendant");
    this.list.replaceChildren(...films.map((film, index) => this.option(film, index)));
    const open = films.length > 0 && document.activeElement === this.input;
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    this.status.textContent = films.length === 0 ? "No film found." : `${films.length} ${films.length === 1 ? "film" : "films"} found.`;
  }

  option(film, index) {
    const item = document.createElement("li");
    item.id = `${this.list.id}-${index}`;
    item.dataset.index = String(index);
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    const words = document.createElement("span");
    words.className = "words";
    words.append(part("cite", "", film.title), " ", part("span", "year", film.year ?? ""), " ", part("span", "note", film.note));
    item.append(thumb(film), words);
    return item;
  }

  key(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const open = !this.list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (open) this.move(event.key === "ArrowDown" ? 1 : -1);
      else if (this.input.value.trim()) this.look(this.input.value.trim());
    } else if (open && event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else if (open && event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.pick(this.active);
    } else if (open && event.key === "Tab" && this.active >= 0) {
      this.pick(this.active);
    }
  }

  // Down from the last option and up from the first lead through the field itself, as the ARIA pattern has it.
  move(step) {
    const places = this.films.length + 1;
    this.active = ((this.active + 1 + step + places) % places) - 1;
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.active)));
    const current = this.list.children[this.active];
    if (current) {
      this.input.setAttribute("aria-activedescendant", current.id);
      current.scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  pick(index) {
    const { id, label } = this.films[index];
    this.slot.querySelector("[data-choices]")?.remove();
    this.slot.querySelector("[data-message]")?.remove();
    this.slot.classList.remove("slot-asks");
    this.input.removeAttribute("aria-invalid");
    this.input.removeAttribute("aria-describedby");
    const picked = this.picked() ?? document.createElement("input");
    picked.type = "hidden";
    picked.name = this.input.name.replace("title", "movie");
    picked.value = String(id);
    picked.dataset.picked = "";
    this.root.append(picked);
    this.input.value = label;
    this.asked.value = label;
    this.slot.dataset.given = "";
    this.close();
    this.status.textContent = `${label} picked.`;
    this.done();
  }

  picked() {
    return this.root.querySelector("[data-picked]");
  }

  close() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.list.hidden = true;
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}

function part(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return element;
}

// A small poster, or the film's initial in the colours of its card.
function thumb(film) {
  const frame = part("span", `thumb tone-${film.tone}`, film.poster ? "" : film.title.slice(0, 1));
  frame.setAttribute("aria-hidden", "true");
  if (film.poster) {
    const image = document.createElement("img");
    image.src = film.poster;
    image.alt = "";
    frame.append(image);
  }
  return frame;
}

// `done` is called whenever a film was picked or a pick became void.
export function connectComboboxes(form, status, done) {
  for (const root of form.querySelectorAll("[data-combobox]")) new Combobox(root, status, done);
}
