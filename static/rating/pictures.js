// The two pictures of a trial: loading, and fetching the next ones beforehand.

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const page = document.querySelector("main.trial");
const middle = page.querySelector(".middle");
const again = middle.querySelector("button");

export const images = { left: page.querySelector("[data-side=left]"), right: page.querySelector("[data-side=right]") };
export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A pause before another attempt; it ends early when the connection is back, the page is seen again, or a button asks.
export function retryPause(attempt, button) {
  const ms = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const done = () => { listeners.abort(); clearTimeout(timer); resolve(); };
    const timer = setTimeout(done, ms);
    const { signal } = listeners;
    addEventListener("online", done, { signal });
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") done(); }, { signal });
    button?.addEventListener("click", done, { signal });
  });
}

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
