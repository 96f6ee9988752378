// One trial after another on one page. The form works without this module; with it, answers are confirmed one by one,
// kept in the browser until then, and the next pictures are fetched beforehand.

import { forget, keep, kept, send, uuid } from "./delivery.js";
import { fit, measures, setCriterion, setPrompt, single, turn, view } from "./layout.js";
import { load, preload, wait } from "./pictures.js";

const PRESSED_MS = 150; // a press is seen at least so long
const GAP_MS = 200; // of plain surround between two pairs
const SAID_MS = 5000; // for which is seen that the pair before was skipped
const page = document.querySelector("main.trial");
const form = page.querySelector(".trial-form");
const options = [...page.querySelectorAll(".option")];
const prompt = page.querySelector("#prompt");
const skip = page.querySelector(".skip");
const confirm = page.querySelector(".confirm");
const now = page.querySelector(".now");
const text = page.dataset;
const store = `evenhand:${text.home}`;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const extra = {}; // modules that are loaded when they are needed
const bar = page.querySelector("progress");

const why = form.querySelector(".why");
let trial = { id: form.elements.trial.value, position: bar.value + 1, of: bar.max, part: 1, asks: why && !why.hidden };
let openedAt = null; // when the options opened; null while they are shut
let marked = null; // the option that waits for confirmation, and since when
let used = {}; // what was used to look at this pair
let spent = []; // seconds of this visit's answers
let said = ""; // what is told beside the next pair
let opening = 0; // counts pairs, so that what waits for one leaves the next alone
let answeredAt = 0;

const say = (words = "") => { page.querySelector(".status").textContent = words; now.hidden = true; };
const announce = (words) => { page.querySelector(".announce").textContent = words; };
const filled = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const waiting = (why) => { say(text[`text${why[0].toUpperCase()}${why.slice(1)}`]); now.hidden = false; };

// ---- time: what the person could see, and what passed while the page was hidden

const clock = { since: null, seen: 0, hidden: 0, hiddenSince: null };
const startClock = () => Object.assign(clock, { since: performance.now(), seen: 0, hidden: 0, hiddenSince: null });
const elapsed = () => Math.round(clock.seen + (clock.since === null ? 0 : performance.now() - clock.since));

document.addEventListener("visibilitychange", () => {
  const at = performance.now();
  if (document.visibilityState === "hidden" && clock.since !== null) {
    clock.seen += at - clock.since;
    clock.since = null;
    clock.hiddenSince = at;
  } else if (clock.hiddenSince !== null) {
    clock.hidden += at - clock.hiddenSince;
    clock.hiddenSince = null;
    clock.since = at;
  }
});

// ---- a trial is opened, shut, and followed by the next

const visible = () => document.visibilityState === "visible"
  ? Promise.resolve()
  : new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));

function shut() {
  openedAt = null;
  options.forEach((option) => option.setAttribute("aria-disabled", "true"));
}

async function open(addresses = {}, part = 1) {
  const mine = ++opening;
  const over = () => mine !== opening;
  page.classList.toggle("waiting", part === 1);
  text.state = "waiting";
  shut();
  mark(null);
  await load(addresses, over);
  if (over()) return; // skipped, because a picture did not come
  if (part === 1) turn("left", true);
  fit();
  await visible();
  page.classList.remove("waiting");
  await new Promise(requestAnimationFrame);
  say(said);
  startClock();
  if (trial.asks) import("./why.js").catch(() => {});
  used = { zoomed: Boolean(extra.look?.zoomed()), flipped: false };
  text.state = "looking";
  await Promise.all([wait(Number(text.delay)), bothSeen()]); // a press meant for the pair before must not answer this
  if (over()) return;
  options.forEach((option) => option.removeAttribute("aria-disabled"));
  openedAt = performance.now();
  text.state = "ready";
  const told = said;
  said = "";
  if (told) setTimeout(() => { if (page.querySelector(".status").textContent === told) say(); }, SAID_MS);
}

// Where one picture is seen at a time, both must have been.
async function bothSeen() {
  if (!single() || view.seen.size > 1) return;
  say(text.textLook);
  while (single() && view.seen.size < 2) await new Promise((done) => page.addEventListener("turned", done, { once: true }));
  say(said);
}

function show(next) {
  trial = next.trial;
  if (trial.part === 1) extra.look?.zoom(0);
  page.querySelectorAll("input[name=trial]").forEach((input) => { input.value = trial.id; });
  closeSkip();
  page.querySelector(".back")?.removeAttribute("hidden");
  form.elements.key.value = uuid();
  setCriterion(trial.criterion);
  setPrompt(trial.prompt);
  prompt.lang = trial.prompt ? "" : document.documentElement.lang;
  bar.max = trial.of;
  bar.value = trial.position - 1;
  const recent = spent.slice(-10);
  const pace = recent.length > 2 ? recent.reduce((a, b) => a + b, 0) / recent.length + 1 : Number(text.seconds);
  const minutes = Math.max(1, Math.round(((trial.of - trial.position + 1) * pace) / 60));
  const values = { n: trial.position, minutes, text: prompt.textContent, ...trial, question: trial.criterion.question };
  page.querySelector(".progress-text").textContent = filled(text.textProgress, values);
  announce(filled(trial.part > 1 ? text.textPart : text.textPair, values));
  document.title = document.title.replace(/\d+/, trial.position);
  if (trial.parts > 1) highlight(page.querySelector(".question"));
  options.forEach((option) => option.classList.remove("pressed", "given"));
  open(trial, trial.part).then(() => preload(next.preload));
}

function highlight(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // or the animation would not begin again
  element.classList.add("changed");
}

async function gap(next) {
  // A short look at the plain surround tells that another pair comes (ITU-R BT.500); a cut where motion is unwelcome.
  if (still.matches || next.trial.part > 1) return;
  page.classList.add("gap");
  await wait(GAP_MS);
  page.classList.remove("gap");
}

function leave(stale = "") {
  location.replace(text.home + stale);
}

async function follow(body) {
  const next = form.elements.corrects ? null : body.next; // the page of a correction is left for the open trial
  if (next?.trial && next.state === text.step) {
    await gap(next);
    show(next);
  } else leave(); // the end, a pause, or an answer that was refused: the page says which
}

// ---- answers

function mark(option) {
  // In a study that wants confirmation, the first press marks an option; a button, Enter, or another press takes it.
  if (marked === null && option === null) return;
  options.forEach((each) => each.setAttribute("aria-pressed", String(each === option)));
  marked = option && { option, at: performance.now() };
  if (confirm) confirm.hidden = !option;
  if (option) announce(text.textConfirm);
}

const mayConfirm = (option) => marked?.option === option && performance.now() - marked.at >= Number(text.delay);

async function answer(option, pointer) {
  if (openedAt === null) return;
  if ("confirm" in text && !mayConfirm(option)) {
    if (marked?.option !== option) mark(option);
    return;
  }
  const given = {
    trial: trial.id, choice: option.value, elapsed_ms: elapsed(), hidden_ms: Math.round(clock.hidden), key: uuid(),
    ...measures(), ...used, pointer,
  };
  if (form.elements.corrects) given.corrects = form.elements.corrects.value;
  press();
  option.classList.add("pressed");
  spent.push(given.elapsed_ms / 1000);
  if (trial.asks) {
    keep(store, given); // who closes the page now has answered all the same
    const asking = await import("./why.js").catch(() => null);
    if (asking) Object.assign(given, await asking.ask());
  }
  await deliver(given);
}

function press() {
  mark(null);
  shut();
  text.state = "pressed";
  answeredAt = performance.now();
  prompt.focus({ preventScroll: true }); // a key that is still held down must not press the option of the next pair
}

// Send an answer, or that the pair is skipped or reported: what has a reason.
async function deliver(given) {
  const pressed = wait(PRESSED_MS);
  const { refused, ...sent } = given;
  keep(store, given);
  const slow = setTimeout(() => say(text.textSending), 300);
  const result = await send(sent.reason ? text.skip : text.rate, sent, waiting, now);
  clearTimeout(slow);
  say();
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
  if (result.status === 409) return leave("?notice=stale");
  if (result.body.feedback) await (await import("./controls.js")).told(result.body.feedback);
  if (sent.reason && result.status === 200) said = sent.reason === "report" ? text.textReported : text.textSkipped;
  await follow(result.body);
}

function closeSkip() {
  if (!skip) return;
  skip.removeAttribute("open");
  skip.querySelector("form").reset(); // a note belongs to its pair
}

function leaveOut(fields) {
  if (text.state === "pressed") return;
  closeSkip();
  press();
  opening += 1;
  deliver({ ...fields, trial: trial.id });
}

// ---- presses: what began before the options opened, or is a key's repetition, was not meant for this pair

let keyAt = 0; // when the last key was pressed, and the pointer
let pointerAt = 0;
let pointerKind = "mouse";
let keyEventAt = -Infinity; // of any key event, repetitions and releases among them
let repeating = false;
const shortcuts = { on: kept("evenhand:shortcuts") !== false };

const meant = (at) => openedAt !== null && at >= openedAt;
// Keys press a button by a click without a pointer. Screen readers do so without any key event.
const byKey = () => performance.now() - keyEventAt < 100;
const clickMeant = (event) => (event.detail > 0 ? meant(pointerAt) : byKey() ? meant(keyAt) && !repeating : openedAt !== null);
const skipping = () => Boolean(skip?.open);

document.addEventListener("pointerdown", (event) => { pointerAt = performance.now(); pointerKind = event.pointerType; }, true);
document.addEventListener("keydown", (event) => {
  keyEventAt = performance.now();
  repeating = event.repeat;
  if (!event.repeat) keyAt = keyEventAt;
  else if (keyAt < answeredAt) event.preventDefault(); // the key that answered is still down
}, true);
document.addEventListener("keyup", () => { keyEventAt = performance.now(); repeating = false; }, true);
options.forEach((option) => option.addEventListener("click", (event) => {
  event.preventDefault();
  if (!skipping() && clickMeant(event)) answer(option, event.detail > 0 ? pointerKind : "key");
}));
form.addEventListener("submit", (event) => event.preventDefault());
confirm?.addEventListener("click", () => { if (marked) answer(marked.option, pointerKind); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "Escape" && skipping()) {
    closeSkip();
    skip.querySelector("summary").focus();
  }
  if (!shortcuts.on || skipping() || event.target.matches("textarea, input")) return;
  if (event.key === "Enter" && marked && !event.target.matches("a, summary, button")) {
    event.preventDefault();
    answer(marked.option, "key");
    return;
  }
  const option = options[Number(event.key) - 1];
  if (option && meant(keyAt)) {
    event.preventDefault();
    answer(option, "key");
  }
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // an old page from the history

// Before the pair is seen: its time begins when this is read.
async function tellStale() {
  const stale = page.querySelector(".stale");
  if (!stale) return;
  page.classList.add("waiting");
  stale.remove();
  history.replaceState(null, "", text.home);
  const controls = await import("./controls.js").catch(() => null);
  await controls?.told({ text: stale.textContent.trim(), button: text.textShow });
}

fit();
const unsent = kept(store);
if (unsent) deliver(unsent);
else tellStale().then(open).then(() => preload(JSON.parse(document.getElementById("preload").textContent)));
import("./controls.js").then(({ listen }) => listen(shortcuts, leaveOut));
import("./gestures.js").then(({ listen }) => listen({
  on: () => shortcuts.on && !skipping(), use: (way) => { used[way] = true; }, extra,
}));
