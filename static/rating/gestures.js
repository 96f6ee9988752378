// Looking at the pictures by mouse, keyboard and touch: one at a time, enlarged, or in one place by turns.

import { cycle, drag, flip, pan, zoom, zoomed } from "./look.js";
import { other, single, turn, view } from "./layout.js";

const DRAG_PX = 6; // a press that moves no farther is a click
const SWIPE_PX = 40;
const page = document.querySelector("main.trial");
const frame = page.querySelector(".pictures");
const zoomButton = page.querySelector(".zoom");
const flipButton = page.querySelector(".flip");

// on: whether shortcuts act now; use: notes what was used; extra: where the page finds what it has to end.
export function listen({ on, use, extra }) {
  extra.look = { zoom, zoomed };
  let start = null; // of the press in the pictures
  let moved = false;

  const zoomBy = (point) => {
    if (!zoomButton) return;
    cycle(point);
    if (zoomed()) use("zoomed");
  };
  const hold = (down) => {
    if (!flipButton) return;
    flip(down);
    if (down) use("flipped");
  };

  frame.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".frame") || event.button) return;
    start = { x: event.clientX, y: event.clientY };
    moved = false;
    if (zoomed()) frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
    if (!moved && Math.hypot(dx, dy) < DRAG_PX) return;
    moved = true;
    if (!zoomed()) return;
    drag(dx, dy);
    start = { x: event.clientX, y: event.clientY };
  });
  frame.addEventListener("pointerup", (event) => {
    if (!start) return;
    const dx = event.clientX - start.x;
    const box = event.target.closest(".frame")?.getBoundingClientRect();
    const pressed = start;
    start = null;
    if (zoomed() && moved) return;
    if (single() && !zoomed()) {
      if (!moved || Math.abs(dx) > SWIPE_PX) turn(other());
    } else if (!moved && box) {
      zoomBy({ x: (pressed.x - box.left) / view.width, y: (pressed.y - box.top) / view.height });
    }
  });
  frame.addEventListener("pointercancel", () => { start = null; });

  zoomButton?.addEventListener("click", () => zoomBy());
  flipButton?.addEventListener("pointerdown", () => hold(true));
  flipButton?.addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key) && !event.repeat) hold(true); });
  for (const end of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) {
    flipButton?.addEventListener(end, () => hold(false));
  }

  const ARROWS = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && zoomed()) zoom(0);
    if (event.target.matches("textarea, input")) return;
    if (zoomed() && ARROWS[event.key]) {
      event.preventDefault();
      pan(...ARROWS[event.key]);
    }
    if (!on() || event.repeat) return;
    if (event.key === "z") zoomBy();
    if (event.key === "f") hold(true);
    if (single() && !zoomed() && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
      turn(event.key === "ArrowLeft" ? "left" : "right");
    }
  });
  document.addEventListener("keyup", (event) => { if (event.key === "f") hold(false); });
  addEventListener("blur", () => hold(false));
}
