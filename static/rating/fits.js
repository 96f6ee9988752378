// Tells before the consent whether the pictures would be shown large enough in this window, or needs a computer.
// Without this script nobody is refused.

import { largest } from "./size.js";

const notice = document.getElementById("too-small");
const form = document.querySelector("form[data-fits]");
const { smallest, width, height, longest } = notice.dataset;
const own = { width: Number(width), height: Number(height) };

// The parts of the trial page around the pictures, in CSS pixels; the tests hold them to what that page measures.
function roomIn(layout) {
  const rem = innerWidth >= 3400 ? 24 : innerWidth >= 2560 ? 20 : 16;
  const phone = innerWidth <= 37.5 * rem;
  const low = innerHeight <= 32 * rem;
  const edge = low || phone ? 8 : rem;
  const above = low ? 64 : phone ? 138 : 4.5 * rem; // progress, skipping and the page's edges
  const options = phone ? 106 : innerWidth > innerHeight * 1.5 ? 5 * rem : 6.5 * rem;
  const gaps = low ? 8 : phone ? 16 : 2 * rem;
  const across = innerWidth - 2 * edge;
  const below = innerHeight - above - gaps - promptHeight(across, rem, phone || low);
  if (layout === "side") return low || innerWidth > innerHeight ? { width: (across - 194) / 2, height: below - 23 } : null;
  if (layout === "stack") return { width: across, height: (below - options) / 2 - 20 };
  if (layout === "single") return { width: across, height: below - options - 48 };
  return { width: (across - 2) / 2, height: below - options };
}

function promptHeight(across, rem, small) {
  const characters = Number(longest);
  const size = characters > 160 ? 1 : characters > 60 ? (small ? 1.0625 : 1.25) : small ? 1.25 : 1.75; // rem
  const lines = Math.ceil((characters * 0.5 * size * rem) / Math.min(across, 60 * rem));
  const most = innerHeight * (innerWidth < innerHeight ? 0.2 : innerHeight < 500 ? 0.13 : 0.17);
  return Math.min(lines * 1.35 * size * rem + 4, Math.max(40, most));
}

const pictureWidth = () => own.width * largest(own, roomIn).scale;
const onComputer = () => matchMedia("(any-pointer: fine)").matches && matchMedia("(any-hover: hover)").matches;

function check() {
  const shown = pictureWidth();
  const why = "computer" in notice.dataset && !onComputer() ? "computer" : shown < Number(smallest) ? "window" : "";
  notice.dataset.shown = Math.round(shown);
  notice.querySelectorAll("[data-why]").forEach((each) => { each.hidden = each.dataset.why !== why; });
  notice.hidden = !why;
  form.hidden = Boolean(why);
}

addEventListener("resize", check);
check();
