// Look closely at a pair: one picture in the other's place by turns, and both enlarged together.

const look = document.querySelector(".look");
const images = [...look.querySelectorAll("img")];
const said = look.querySelector("[data-said]");
const LEVELS = [1, 2, 4];
let shown = null; // the side that is seen alone; none: both
let level = 0;
let at = { x: 0.5, y: 0.5 };

const button = (name) => look.querySelector(`[data-do="${name}"]`);

function draw() {
  look.classList.toggle("alone", shown !== null);
  for (const figure of look.querySelectorAll("figure")) figure.hidden = shown !== null && figure.dataset.side !== shown;
  for (const image of images) {
    image.style.transformOrigin = `${at.x * 100}% ${at.y * 100}%`;
    image.style.transform = level ? `scale(${LEVELS[level]})` : "";
  }
  look.classList.toggle("zoomed", level > 0);
  button("flip").setAttribute("aria-pressed", String(shown !== null));
  button("both").hidden = shown === null;
  button("zoom").setAttribute("aria-pressed", String(level > 0));
  const parts = [shown && `the ${shown} picture`, level && `${LEVELS[level]} times as large`];
  said.textContent = parts.filter(Boolean).join(", ");
}

const actions = {
  flip: () => { shown = shown === "left" ? "right" : "left"; },
  both: () => { shown = null; },
  zoom: () => { level = (level + 1) % LEVELS.length; },
};

function act(name) {
  actions[name]();
  draw();
}

const keys = { f: "flip", s: "both", z: "zoom" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "Escape") [shown, level] = [null, 0];
  const name = keys[event.key.toLowerCase()];
  if (name) act(name);
  else if (event.key === "Escape") draw();
});
for (const each of look.querySelectorAll("[data-do]")) each.addEventListener("click", () => act(each.dataset.do));
for (const image of images) {
  const frame = image.parentElement;
  const point = (event) => {
    const box = frame.getBoundingClientRect();
    at = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  };
  frame.addEventListener("click", (event) => { point(event); act("zoom"); });
  frame.addEventListener("pointermove", (event) => { if (level) { point(event); draw(); } });
}
look.querySelector(".look-tools").hidden = false;
