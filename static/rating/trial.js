// One trial after another on one page. The form works without this module; with it, answers are confirmed one by one,
// kept in the browser until then, and the next pictures are fetched beforehand.

const page = document.querySelector("main.trial");
const form = page.querySelector(".trial-form");
const images = { left: page.querySelector("[data-side=left]"), right: page.querySelector("[data-side=right]") };
const options = [...page.querySelectorAll(".option")];
const status = page.querySelector(".status");
const text = page.dataset;
const store = `evenhand:${text.home}`;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const TRY_AGAIN = [408, 425, 429]; // 4xx that say "later", not "no"

let trial = { id: form.elements.trial.value, position: page.querySelector("progress").value + 1, of: page.querySelector("progress").max };
let visibleSince = null; // when both pictures were decoded and could be seen; null while they cannot
let sending = false;
let marked = null; // the option that waits for confirmation
let spent = []; // seconds of this visit's answers

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (words = "") => { status.textContent = words; };

// ---- pictures

function chromeHeight() {
  // Everything above and below the pictures: prompt, options, progress line, and the five gaps around them.
  const parts = ["#prompt", ".options", ".progress-line"].map((name) => page.querySelector(name).offsetHeight);
  return parts.reduce((a, b) => a + b, 5 * parseFloat(getComputedStyle(page).rowGap));
}

function fit() {
  // Small pictures are enlarged by whole numbers, up to 512 pixels; large ones are shown whole, never enlarged.
  const stacked = matchMedia("(max-width: 48rem)").matches;
  const width = page.querySelector(".pictures").clientWidth;
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

async function load(image, address) {
  for (let attempt = 0; ; attempt += 1) {
    if (address && image.getAttribute("src") !== address) image.src = address;
    try {
      await image.decode();
      return;
    } catch {
      say(text.textFailed);
      await wait(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
      const again = address || image.getAttribute("src");
      image.removeAttribute("src");
      address = again;
    }
  }
}

const seen = () => document.visibilityState === "visible"
  ? Promise.resolve()
  : new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));

async function open(addresses = {}) {
  page.classList.add("waiting");
  page.dataset.state = "waiting";
  options.forEach((option) => { option.setAttribute("aria-disabled", "true"); option.classList.remove("pressed"); });
  visibleSince = null;
  if (marked) mark(null);
  const late = setTimeout(() => say(text.textWaiting), 400);
  await Promise.all([load(images.left, addresses.left), load(images.right, addresses.right)]);
  clearTimeout(late);
  fit();
  await seen();
  page.classList.remove("waiting");
  await new Promise(requestAnimationFrame);
  options.forEach((option) => option.removeAttribute("aria-disabled"));
  if (status.textContent !== text.textOffline) say();
  visibleSince = performance.now();
  page.dataset.state = "ready";
}

async function preload(pairs) {
  for (const address of (pairs || []).flat()) {
    const image = new Image();
    image.src = address;
    try { await image.decode(); } catch { /* fetched again when its turn comes */ }
  }
}

// ---- zoom: both pictures together, at the same place

const pictures = page.querySelector(".pictures");
let zoomed = false;

function zoom(on, event) {
  zoomed = on;
  pictures.classList.toggle("zoomed", on);
  if (on) look(event);
}

function look(event) {
  const frame = event.target.closest("figure")?.getBoundingClientRect();
  if (!frame) return;
  const x = (100 * (event.clientX - frame.left)) / frame.width;
  const y = (100 * (event.clientY - frame.top)) / frame.height;
  for (const image of Object.values(images)) image.style.transformOrigin = `${x}% ${y}%`;
}

pictures.addEventListener("click", (event) => zoom(!zoomed && Boolean(event.target.closest("figure")), event));
pictures.addEventListener("pointermove", (event) => { if (zoomed) look(event); });

// ---- answers

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // plain http on another host than this one
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const keep = (answer) => { try { localStorage.setItem(store, JSON.stringify(answer)); } catch { /* private windows */ } };
const forget = () => { try { localStorage.removeItem(store); } catch { /* nothing was kept */ } };
const kept = () => { try { return JSON.parse(localStorage.getItem(store)); } catch { return null; } };

async function send(answer) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(text.rate, {
        method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(answer), referrerPolicy: "no-referrer",
      });
      const later = response.status >= 500 || TRY_AGAIN.includes(response.status);
      if (!later) return { status: response.status, body: await contentOf(response) };
    } catch { /* no connection, or an acknowledgement that did not come from this server */ }
    say(text.textOffline);
    await wait(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
  }
}

async function contentOf(response) {
  // What stands between the page and the server may refuse in its own words; only the server's JSON acknowledges.
  try { return await response.json(); } catch (error) {
    if (response.ok) throw error;
    return null;
  }
}

function mark(option) {
  // In a study that wants confirmation, the first press marks an option; Enter, or pressing it again, takes it.
  options.forEach((each) => each.setAttribute("aria-pressed", String(each === option)));
  marked = option;
  if (option) say(text.textConfirm);
}

async function answer(option) {
  if (sending || visibleSince === null) return;
  if ("confirm" in text && marked !== option) { mark(option); return; }
  if (marked) { mark(null); say(); }
  sending = true;
  option.classList.add("pressed");
  const elapsed = Math.round(performance.now() - visibleSince);
  spent.push(elapsed / 1000);
  const corrects = form.elements.corrects ? { corrects: form.elements.corrects.value } : {};
  await deliver({
    ...corrects, trial: trial.id, choice: option.value, elapsed_ms: String(elapsed), key: uuid(),
    viewport_width: String(innerWidth), viewport_height: String(innerHeight), picture_width: String(images.left.clientWidth),
  });
}

async function deliver(given) {
  sending = true;
  keep(given);
  const slow = setTimeout(() => say(text.textSending), 300);
  const result = await send(given);
  clearTimeout(slow);
  if (!result.body) {
    forget();
    say(text.textRefused);
    return;
  }
  if (result.status !== 403) forget(); // a study that is paused takes the answer when it goes on
  if (result.body.feedback) await told(result.body.feedback);
  const next = form.elements.corrects ? null : result.body.next; // the page of a correction is left for the open trial
  if (next && next.state === text.step) {
    say();
    show(next);
  } else {
    location.replace(text.home); // the end, a pause, or an answer that was refused: the page says which
  }
}

function told(feedback) {
  const panel = page.querySelector(".feedback");
  const button = panel.querySelector("button");
  panel.querySelector("p").textContent = feedback.text;
  panel.hidden = false;
  button.focus();
  return new Promise((resolve) => button.addEventListener("click", () => { panel.hidden = true; resolve(); }, { once: true }));
}

function show(next) {
  trial = next.trial;
  zoom(false);
  page.querySelectorAll("input[name=trial]").forEach((input) => { input.value = trial.id; });
  page.querySelector(".skip")?.removeAttribute("open");
  page.querySelector(".back")?.removeAttribute("hidden");
  form.elements.key.value = uuid();
  page.querySelector("#prompt").textContent = trial.prompt;
  const bar = page.querySelector("progress");
  bar.max = trial.of;
  bar.value = trial.position - 1;
  const recent = spent.slice(-10);
  const pace = recent.length > 2 ? recent.reduce((a, b) => a + b, 0) / recent.length + 1 : Number(text.seconds);
  const minutes = Math.max(1, Math.round(((trial.of - trial.position + 1) * pace) / 60));
  page.querySelector(".progress-text").textContent = text.textProgress
    .replace("{n}", trial.position).replace("{of}", trial.of).replace("{minutes}", minutes);
  document.title = document.title.replace(/\d+/, trial.position);
  sending = false;
  open(trial).then(() => preload(next.preload));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter) answer(event.submitter);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("textarea")) return;
  if (event.key === "Escape") zoom(false);
  if (event.key === "z") {
    for (const image of Object.values(images)) image.style.transformOrigin = "50% 50%";
    zoomed = pictures.classList.toggle("zoomed");
  }
  if (event.key === "Enter" && marked && !event.target.matches("a, summary, button:not(.option)")) { event.preventDefault(); answer(marked); return; }
  const option = options[Number(event.key) - 1];
  if (option) { event.preventDefault(); answer(option); }
});
addEventListener("resize", fit);
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // an old page from the history

const unsent = kept();
if (unsent) deliver(unsent);
else open().then(() => preload(JSON.parse(document.getElementById("preload").textContent)));
