// What stands around a trial: shortcuts on and off, skip or report, feedback after practice.

import { keep } from "./delivery.js";
import { beside } from "./layout.js";

const page = document.querySelector("main.trial");
const skip = page.querySelector(".skip");
const toggle = page.querySelector(".shortcuts");
const options = page.querySelectorAll(".option");

// shortcuts.on is what the page's keys obey; leaveOut sends that the open pair is skipped or reported.
export function listen(shortcuts, leaveOut) {
  const show = () => {
    page.classList.toggle("no-shortcuts", !shortcuts.on);
    toggle.textContent = shortcuts.on ? page.dataset.textOn : page.dataset.textOff;
    options.forEach((option, i) => {
      if (shortcuts.on) option.setAttribute("aria-keyshortcuts", i + 1);
      else option.removeAttribute("aria-keyshortcuts");
    });
  };
  show();
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    shortcuts.on = !shortcuts.on;
    keep("evenhand:shortcuts", shortcuts.on);
    show();
  });
  skip?.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    leaveOut({ reason: event.submitter.value, note: event.target.elements.note.value });
  });
  page.querySelector(".middle .skip-it")?.addEventListener("click", () => leaveOut({ reason: "skip" }));
}

export function told(feedback) {
  const dialog = page.querySelector(".feedback");
  dialog.querySelector("p").textContent = beside() ? feedback.text : feedback.text_by_letters ?? feedback.text;
  if (feedback.button) dialog.querySelector("button").textContent = feedback.button;
  dialog.showModal();
  dialog.querySelector("button").onclick = () => dialog.close();
  return new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
}
