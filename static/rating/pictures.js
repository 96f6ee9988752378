// The two pictures of a trial: loading, and fetching the next ones beforehand.

import { retryPause } from "./delivery.js";

const page = document.querySelector("main.trial");
const middle = page.querySelector(".middle");
const again = middle.querySelector("button");

export const images = { left: page.querySelector("[data-side=left]"), right: page.querySelector("[data-side=right]") };
export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Words in the middle of the pictures; none hides them.
export function tell(words = "", retry = false) {
  middle.hidden = !words;
  middle.querySelector("p").textContent = words;
  middle.querySelector(".choices").hidden = !retry;
}

async function loadOne(image, address, over) {
  for (let attempt = 0; ; attempt += 1) {
    if (address && image.getAttribute("src") !== address) image.src = address;
    try {
      await image.decode();
      return;
    } catch {
      if (over()) return;
      tell(page.dataset.textFailed, true);
      await retryPause(attempt, again);
      if (over()) return;
      const source = address || image.getAttribute("src");
      image.removeAttribute("src");
      address = source;
    }
  }
}

// Both pictures decoded, unless the pair is over before; a slow line is told in their place.
export async function load(addresses, over) {
  tell();
  const late = setTimeout(() => { if (!over()) tell(page.dataset.textWaiting); }, 400);
  await Promise.all(Object.entries(images).map(([side, image]) => loadOne(image, addresses[side], over)));
  clearTimeout(late);
  if (!over()) tell();
}

export async function preload(pairs) {
  for (const address of (pairs || []).flat()) {
    const image = new Image();
    image.src = address;
    try { await image.decode(); } catch { /* fetched again when its turn comes */ }
  }
}
