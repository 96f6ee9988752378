// The two pictures of a trial: loading, size, zoom.

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const page = document.querySelector("main.trial");
const frame = page.querySelector(".pictures");

export const images = { left: page.querySelector("[data-side=left]"), right: page.querySelector("[data-side=right]") };
export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const retryPause = (attempt) => wait(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);

function chromeHeight() {
  // Everything above and below the pictures: prompt, options, progress line, and the five gaps around them.
  const parts = ["#prompt", ".options", ".progress-line"].map((name) => page.querySelector(name).offsetHeight);
  return parts.reduce((a, b) => a + b, 5 * parseFloat(getComputedStyle(page).rowGap));
}

export function fit() {
  // Small pictures are enlarged by whole numbers, up to 512 pixels; large ones are shown whole, never enlarged.
  const stacked = matchMedia("(max-width: 48rem)").matches;
  const width = frame.clientWidth;
  const room = stacked
    ? { width, height: Math.max(128, (innerHeight - chromeHeight() - 4) / 2) }
    : { width: (width - 2) / 2, height: Math.max(128, innerHeight - chromeHeight()) };
  for (const image of Object.values(images)) {
    if (!image.naturalWidth) continue;
    const fitting = Math.min(room.width / image.naturalWidth, room.height / image.naturalHeight);
    const largest = Math.max(1, Math.floor(512 / Math.max(image.naturalWidth, image.naturalHeight)));
    const scale = fitting >= 1 ? Math.min(Math.floor(fitting), largest) : fitting;
    image.style.maxWidth = "none";
    image.style.width = `${image.naturalWidth * scale}px`;
    image.classList.toggle("smooth", image.naturalWidth * scale <= image.naturalWidth);
  }
}

async function loadOne(image, address, failed) {
  for (let attempt = 0; ; attempt += 1) {
    if (address && image.getAttribute("src") !== address) image.src = address;
    try {
      await image.decode();
      return;
    } catch {
      failed();
      await retryPause(attempt);
      const again = address || image.getAttribute("src");
      image.removeAttribute("src");
      address = again;
    }
  }
}

// Both pictures decoded; `failed` is called at each attempt that fails.
export const load = (addresses, failed) => Promise.all(
  Object.entries(images).map(([side, image]) => loadOne(image, addresses[side], failed)),
);

export async function preload(pairs) {
  for (const address of (pairs || []).flat()) {
    const image = new Image();
    image.src = address;
    try { await image.decode(); } catch { /* fetched again when its turn comes */ }
  }
}

// ---- zoom: both pictures together, at the same place

let zoomed = false;

export function zoom(on, event) {
  zoomed = on;
  frame.classList.toggle("zoomed", on);
  if (on && event) look(event);
}

export function toggleZoom() {
  for (const image of Object.values(images)) image.style.transformOrigin = "50% 50%";
  zoom(!zoomed);
}

function look(event) {
  const around = event.target.closest("figure")?.getBoundingClientRect();
  if (!around) return;
  const x = (100 * (event.clientX - around.left)) / around.width;
  const y = (100 * (event.clientY - around.top)) / around.height;
  for (const image of Object.values(images)) image.style.transformOrigin = `${x}% ${y}%`;
}

frame.addEventListener("click", (event) => zoom(!zoomed && Boolean(event.target.closest("figure")), event));
frame.addEventListener("pointermove", (event) => { if (zoomed) look(event); });
addEventListener("resize", fit);
