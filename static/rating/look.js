// Look closer: both pictures enlarged together, or both in one place by turns. Loaded when it is first asked for.

import { images } from "./pictures.js";
import { other, single, turn, view } from "./layout.js";

const FLIP_MS = 700;
const page = document.querySelector("main.trial");
const frame = page.querySelector(".pictures");
const own = Number(page.dataset.width);
const at = { x: 0.5, y: 0.5 }; // the part that is seen, 0–1
let level = 0; // 0: not zoomed
let flipping = null;

// One and two device pixels for a pixel of the file, as far as that enlarges; else twice what is shown.
function levels() {
  const shown = (view.width / own) * (devicePixelRatio || 1);
  const larger = [1, 2].filter((pixels) => pixels > shown * 1.05).map((pixels) => pixels / shown);
  return larger.length ? larger : [2];
}

function draw() {
  const factor = level ? levels()[level - 1] : 1;
  const place = `translate(${-at.x * (factor - 1) * view.width}px, ${-at.y * (factor - 1) * view.height}px)`;
  for (const image of Object.values(images)) image.style.transform = level ? `${place} scale(${factor})` : "";
  frame.classList.toggle("zoomed", level > 0);
  page.querySelector(".zoom")?.setAttribute("aria-pressed", String(level > 0));
}

export const zoomed = () => level > 0;

export function zoom(next, point) {
  level = next > levels().length ? 0 : next;
  Object.assign(at, level && point ? point : level ? {} : { x: 0.5, y: 0.5 });
  draw();
}

export const cycle = (point) => zoom(level + 1, point);

export function pan(dx, dy) {
  const clamp = (value) => Math.min(1, Math.max(0, value));
  Object.assign(at, { x: clamp(at.x + dx), y: clamp(at.y + dy) });
  draw();
}

// A drag by so many CSS pixels moves the picture with the finger.
export function drag(dx, dy) {
  const beyond = levels()[level - 1] - 1;
  pan(-dx / (beyond * view.width), -dy / (beyond * view.height));
}

export function flip(on) {
  clearInterval(flipping);
  flipping = null;
  frame.classList.toggle("flipping", on);
  page.querySelector(".flip")?.setAttribute("aria-pressed", String(on));
  if (on) {
    turn(single() ? other() : "left");
    flipping = setInterval(() => turn(other()), FLIP_MS);
  }
}
