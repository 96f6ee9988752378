// How large the pictures are: one size for all pairs of a study in one window, in whole device pixels.

import { largest } from "./size.js";

const SIZES = [[60, "large"], [160, "medium"], [Infinity, "small"]]; // characters of a prompt, size of its type
const HAIR = 2; // CSS pixels between the pictures
const page = document.querySelector("main.trial");
const show = page.querySelector(".show");
const frame = page.querySelector(".pictures");
const tabs = page.querySelector(".tabs");
const prompt = page.querySelector("#prompt");
const scale = page.querySelector(".scale-row");
const text = page.dataset;
const own = { width: Number(text.width), height: Number(text.height) };
const criteria = JSON.parse(document.getElementById("criteria").textContent);

export const view = { layout: "row", shown: "left", seen: new Set(), width: 0, height: 0 };
export const single = () => view.layout === "single";
export const beside = () => view.layout === "row" || view.layout === "side"; // one is left, the other right

const heightOf = (selector) => {
  const element = page.querySelector(selector);
  return element ? element.offsetHeight + parseFloat(getComputedStyle(page).rowGap) : 0;
};

// The type's size follows the text's length; from three lines on it stands on the left.
export function setPrompt(words) {
  if (words !== undefined) prompt.textContent = words || text.textAlone;
  const length = prompt.textContent.trim().length;
  prompt.dataset.size = SIZES.find(([most]) => length <= most)[1];
  const range = document.createRange();
  range.selectNodeContents(prompt);
  const lines = range.getBoundingClientRect().height / parseFloat(getComputedStyle(prompt).lineHeight);
  prompt.classList.toggle("long", lines > 2.5);
  const scrolls = prompt.scrollHeight > prompt.clientHeight + 1;
  prompt.tabIndex = scrolls ? 0 : -1; // so that the keyboard can scroll it
}

// Room for the study's longest prompt, whichever is shown.
function promptHeight() {
  const longest = Math.max(Number(text.longest), text.textAlone.length);
  const probe = prompt.cloneNode();
  probe.removeAttribute("id");
  probe.className = "prompt probe";
  prompt.after(probe);
  let height = 0;
  for (const [most, size] of SIZES) {
    const length = Math.min(most, longest);
    probe.dataset.size = size;
    probe.textContent = "nonsense ".repeat(Math.ceil(length / 9)).slice(0, length);
    height = Math.max(height, probe.scrollHeight);
    if (longest <= most) break;
  }
  probe.remove();
  return Math.min(height, Math.max(40, innerHeight * (innerWidth < innerHeight ? 0.2 : innerHeight < 500 ? 0.13 : 0.17)));
}

export function setOptions({ question, options }) {
  page.querySelector(".question").textContent = question;
  options.forEach((option, i) => {
    const button = scale.children[i];
    button.value = option.choice;
    button.querySelector(".by-side").textContent = option.text;
    button.querySelector(".by-letter").textContent = option.letters;
  });
}

let current = criteria[Number(text.criterion)];
export function setCriterion(criterion) {
  current = criterion;
  setOptions(criterion);
}

// The options' height by the longest of the study's criteria.
function optionsHeight() {
  const options = page.querySelector(".options");
  options.style.minHeight = "";
  if (criteria.length === 1) return options.offsetHeight;
  const height = Math.max(...criteria.map((criterion) => { setOptions(criterion); return options.offsetHeight; }));
  setOptions(current);
  options.style.minHeight = `${height}px`;
  return height;
}

function roomIn(layout) {
  page.dataset.layout = layout;
  tabs.hidden = layout !== "single";
  const style = getComputedStyle(page);
  const gap = parseFloat(getComputedStyle(page.querySelector(".stage")).rowGap);
  const width = page.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const around = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
  const chrome = around + heightOf(".progress-line");
  const height = innerHeight - chrome - prompt.offsetHeight - gap;
  const below = height - optionsHeight() - gap;
  const mark = frame.querySelector("figcaption").offsetHeight;
  if (layout === "side") {
    const room = height - page.querySelector(".question").offsetHeight - 4;
    const fits = scale.offsetHeight <= room;
    return fits ? { width: (width - scale.offsetWidth - 16 - HAIR) / 2, height: room } : null;
  }
  if (layout === "stack") return { width, height: (below - HAIR) / 2 - mark };
  if (layout === "single") return { width, height: below - tabs.offsetHeight };
  return { width: (width - HAIR) / 2, height: below };
}

export function fit() {
  prompt.style.height = `${Math.ceil(promptHeight())}px`;
  const { layout, scale: times } = largest(own, roomIn);
  Object.assign(view, { layout, width: own.width * times, height: own.height * times });
  roomIn(layout);
  frame.style.setProperty("--picture-width", `${view.width}px`);
  frame.style.setProperty("--picture-height", `${view.height}px`);
  const enlarged = times * (devicePixelRatio || 1);
  frame.classList.toggle("smooth", "mixed" in text || Math.abs(enlarged - Math.round(enlarged)) > 1e-6);
  page.dataset.fitted = "";
  turn(view.shown);
  setPrompt();
}

// Show one of the two in the common place; what was seen is remembered until the next pair.
export function turn(side, fresh = false) {
  if (fresh) view.seen.clear();
  view.shown = side;
  frame.dataset.shown = side;
  if (single()) view.seen.add(side);
  for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab.value === side));
  page.dispatchEvent(new Event("turned"));
}

export const other = () => (view.shown === "left" ? "right" : "left");

export function measures() {
  const ratio = devicePixelRatio || 1;
  return {
    viewport_width: innerWidth, viewport_height: innerHeight, device_pixel_ratio: ratio, layout: view.layout,
    picture_width: Math.round(view.width * 100) / 100, picture_height: Math.round(view.height * 100) / 100,
    picture_width_device: Math.round(view.width * ratio), picture_height_device: Math.round(view.height * ratio),
  };
}

for (const tab of tabs.children) tab.addEventListener("click", () => turn(tab.value));
addEventListener("resize", fit);
show.addEventListener("dragstart", (event) => event.preventDefault());
