// One trial after another on one page. The form works without this module; with it, answers are confirmed one by one,
// kept in the browser until then, and the next pictures are fetched beforehand.

import { forget, keep, kept, send, uuid } from "./delivery.js";
import { fit, images, load, preload, toggleZoom, wait, zoom } from "./pictures.js";

const PRESSED_MS = 150; // a press is seen at least so long
const GAP_MS = 200; // of plain surround between two pairs
const page = document.querySelector("main.trial");
const form = page.querySelector(".trial-form");
const options = [...page.querySelectorAll(".option")];
const prompt = page.querySelector("#prompt");
const skip = page.querySelector(".skip");
const status = page.querySelector(".status");
const text = page.dataset;
const store = `evenhand:${text.home}`;
const still = matchMedia("(prefers-reduced-motion: reduce)");

let trial = { id: form.elements.trial.value, position: page.querySelector("progress").value + 1, of: page.querySelector("progress").max };
let openedAt = null; // when the options opened; null while they are shut
let marked = null; // the option that waits for confirmation, and since when
let spent = []; // seconds of this visit's answers

const say = (words = "") => { status.textContent = words; };

// ---- time: what the person could see, and what passed while the page was hidden

const clock = { since: null, seen: 0, hidden: 0, hiddenSince: null };

function startClock() {
  Object.assign(clock, { since: performance.now(), seen: 0, hidden: 0, hiddenSince: null });
}

document.addEventListener("visibilitychange", () => {
  const now = performance.now();
  if (document.visibilityState === "hidden" && clock.since !== null) {
    clock.seen += now - clock.since;
    clock.since = null;
    clock.hiddenSince = now;
  } else if (clock.hiddenSince !== null) {
    clock.hidden += now - clock.hiddenSince;
    clock.hiddenSince = null;
    clock.since = now;
  }
});

const elapsed = () => Math.round(clock.seen + (clock.since === null ? 0 : performance.now() - clock.since));

// ---- a trial is opened, shut, and followed by the next

const visible = () => document.visibilityState === "visible"
  ? Promise.resolve()
  : new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));

function shut() {
  openedAt = null;
  options.forEach((option) => option.setAttribute("aria-disabled", "true"));
}

async function open(addresses = {}) {
  page.classList.add("waiting");
  page.dataset.state = "waiting";
  shut();
  mark(null);
  const late = setTimeout(() => say(text.textWaiting), 400);
  await load(addresses, () => say(text.textFailed));
  clearTimeout(late);
  fit();
  await visible();
  page.classList.remove("waiting");
  await new Promise(requestAnimationFrame);
  if (status.textContent !== text.textOffline) say();
  startClock();
  page.dataset.state = "looking";
  await wait(Number(text.delay)); // a press that was meant for the pair before must not answer this one
  options.forEach((option) => option.removeAttribute("aria-disabled"));
  openedAt = performance.now();
  page.dataset.state = "ready";
}

function show(next) {
  trial = next.trial;
  zoom(false);
  page.querySelectorAll("input[name=trial]").forEach((input) => { input.value = trial.id; });
  closeSkip();
  page.querySelector(".back")?.removeAttribute("hidden");
  form.elements.key.value = uuid();
  prompt.textContent = trial.prompt;
  const bar = page.querySelector("progress");
  bar.max = trial.of;
  bar.value = trial.position - 1;
  const recent = spent.slice(-10);
  const pace = recent.length > 2 ? recent.reduce((a, b) => a + b, 0) / recent.length + 1 : Number(text.seconds);
  const minutes = Math.max(1, Math.round(((trial.of - trial.position + 1) * pace) / 60));
  page.querySelector(".progress-text").textContent = text.textProgress
    .replace("{n}", trial.position).replace("{of}", trial.of).replace("{minutes}", minutes);
  document.title = document.title.replace(/\d+/, trial.position);
  options.forEach((option) => option.classList.remove("pressed"));
  open(trial).then(() => preload(next.preload));
}

async function gap() {
  // A short look at the plain surround tells that another pair comes (ITU-R BT.500); a cut where motion is unwelcome.
  if (still.matches) return;
  page.classList.add("gap");
  await wait(GAP_MS);
  page.classList.remove("gap");
}

// ---- answers

function mark(option) {
  // In a study that wants confirmation, the first press marks an option; Enter, or pressing it again, takes it.
  if (marked === null && option === null) return;
  options.forEach((each) => each.setAttribute("aria-pressed", String(each === option)));
  marked = option && { option, at: performance.now() };
  say(option ? text.textConfirm : "");
}

const mayConfirm = (option) => marked !== null && marked.option === option && performance.now() - marked.at >= Number(text.delay);

async function answer(option) {
  if (openedAt === null) return;
  if ("confirm" in text && !mayConfirm(option)) {
    if (marked?.option !== option) mark(option);
    return;
  }
  mark(null);
  const time = elapsed();
  const hidden = Math.round(clock.hidden);
  shut();
  page.dataset.state = "pressed";
  option.classList.add("pressed");
  prompt.focus({ preventScroll: true }); // a key that is still held down must not press the option of the next pair
  spent.push(time / 1000);
  const corrects = form.elements.corrects ? { corrects: form.elements.corrects.value } : {};
  await deliver({
    ...corrects, trial: trial.id, choice: option.value, elapsed_ms: String(time), hidden_ms: String(hidden), key: uuid(),
    viewport_width: String(innerWidth), viewport_height: String(innerHeight), picture_width: String(images.left.clientWidth),
  });
}

async function deliver(given) {
  const pressed = wait(PRESSED_MS);
  const { refused, ...sent } = given;
  keep(store, given);
  const slow = setTimeout(() => say(text.textSending), 300);
  const result = await send(text.rate, sent, () => say(text.textOffline));
  clearTimeout(slow);
  if (!result.body) {
    // Something before the server refused: the answer goes once more when the page is read again, then it is dropped.
    if (refused) {
      forget(store);
      open();
    } else {
      keep(store, { ...sent, refused: true });
      say(text.textRefused);
    }
    return;
  }
  if (result.status !== 403) forget(store); // a study that is paused takes the answer when it goes on
  await pressed;
  if (result.body.feedback) await told(result.body.feedback);
  const next = form.elements.corrects ? null : result.body.next; // the page of a correction is left for the open trial
  if (next && next.state === text.step) {
    say();
    await gap();
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

// ---- presses: what began before the options opened, or is a key's repetition, was not meant for this pair

let keyAt = 0; // when the last key was pressed, and the pointer
let pointerAt = 0;
let keyEventAt = -Infinity; // of any key event, repetitions and releases among them
let repeating = false;

const meant = (at) => openedAt !== null && at >= openedAt;
// Keys press a button by a click without a pointer. Screen readers do so without any key event.
const byKey = () => performance.now() - keyEventAt < 100;
const clickMeant = (event) => (event.detail > 0 ? meant(pointerAt) : byKey() ? meant(keyAt) && !repeating : openedAt !== null);
const skipping = () => Boolean(skip?.open);

function closeSkip() {
  if (!skip) return;
  skip.removeAttribute("open");
  skip.querySelector("form").reset(); // a note belongs to its pair
}

document.addEventListener("pointerdown", () => { pointerAt = performance.now(); }, true);
document.addEventListener("keydown", (event) => {
  keyEventAt = performance.now();
  repeating = event.repeat;
  if (!event.repeat) keyAt = keyEventAt;
}, true);
document.addEventListener("keyup", () => { keyEventAt = performance.now(); repeating = false; }, true);
options.forEach((option) => option.addEventListener("click", (event) => {
  event.preventDefault();
  if (!skipping() && clickMeant(event)) answer(option);
}));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "Escape") {
    if (skipping()) {
      closeSkip();
      skip.querySelector("summary").focus();
    }
    zoom(false);
  }
  if (skipping() || event.target.matches("textarea")) return;
  if (event.key === "z") toggleZoom();
  if (event.key === "Enter" && marked && !event.target.matches("a, summary, button")) {
    event.preventDefault();
    answer(marked.option);
    return;
  }
  const option = options[Number(event.key) - 1];
  if (option && meant(keyAt)) {
    event.preventDefault();
    answer(option);
  }
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // an old page from the history

const unsent = kept(store);
if (unsent) deliver(unsent);
else open().then(() => preload(JSON.parse(document.getElementById("preload").textContent)));
