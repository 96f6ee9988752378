// What stands around a trial: shortcuts on and off, skip or report, feedback after practice.

const page = document.querySelector("main.trial");
const skip = page.querySelector(".skip");
const toggle = page.querySelector(".shortcuts");
const KEY = "evenhand:shortcuts";

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; } // private windows
}

// shortcuts.on is what the page's keys obey; leaveOut sends that the open pair is skipped or reported.
export function listen(shortcuts, leaveOut) {
  const set = (on) => {
    shortcuts.on = on;
    page.classList.toggle("no-shortcuts", !on);
    toggle.setAttribute("aria-pressed", String(on));
    toggle.textContent = on ? page.dataset.textOn : page.dataset.textOff;
  };
  set(remembered() !== "off");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    set(!shortcuts.on);
    try { localStorage.setItem(KEY, shortcuts.on ? "on" : "off"); } catch { /* private windows */ }
  });
  skip?.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    leaveOut({ reason: event.submitter.value, note: event.target.elements.note.value });
  });
}

export function told(feedback) {
  const dialog = page.querySelector(".feedback");
  dialog.querySelector("p").textContent = feedback.text;
  if (feedback.button) dialog.querySelector("button").textContent = feedback.button;
  dialog.showModal();
  dialog.querySelector("button").onclick = () => dialog.close();
  return new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
}
