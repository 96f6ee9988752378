// Tells before the consent whether the pictures would be shown large enough in this window, or needs a computer.
// Without this script nobody is refused.
const MARGINS = 34; // beside two pictures: the page's edges and the gap between them, CSS pixels
const AROUND = 240; // above and below them: prompt, question, options and progress

const notice = document.getElementById("too-small");
const form = document.querySelector("form[data-fits]");
const smallest = Number(notice.dataset.smallest);

// About what the trial page shows: two pictures side by side in a wide window, one at full width in an upright one.
function pictureWidth() {
  const below = innerHeight - AROUND;
  return innerWidth >= innerHeight ? Math.min((innerWidth - MARGINS) / 2, below) : Math.min(innerWidth - MARGINS / 2, below);
}

const onComputer = () => matchMedia("(any-pointer: fine)").matches && matchMedia("(any-hover: hover)").matches;

function check() {
  const why = "computer" in notice.dataset && !onComputer() ? "computer" : pictureWidth() < smallest ? "window" : "";
  notice.querySelectorAll("[data-why]").forEach((each) => { each.hidden = each.dataset.why !== why; });
  notice.hidden = !why;
  form.hidden = Boolean(why);
}

addEventListener("resize", check);
check();
