// Opens the chapter that the address names, and folds those of a long page (data-chapter) on a narrow screen. Without
// JavaScript, on wide screens and in print these are open.
const chapters = [...document.querySelectorAll("details[data-chapter]")];
const narrow = matchMedia("(max-width: 48rem)");

function openNamed() {
  const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const first = named && named.closest("details");
  if (!first) return;
  for (let each = first; each; each = each.parentElement.closest("details")) each.open = true;
  named.scrollIntoView();
}

function fold() {
  chapters.forEach((chapter) => { chapter.open = !narrow.matches; });
  openNamed();
}

fold();
narrow.addEventListener("change", fold);
addEventListener("hashchange", openNamed);
document.querySelectorAll('a[href^="#"]').forEach((link) => {
  // to a chapter that the address names already, and that was folded again
  link.addEventListener("click", () => { if (link.hash === location.hash) openNamed(); });
});

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details[data-chapter], details.fold")].filter((chapter) => !chapter.open);
  folded.forEach((chapter) => { chapter.open = true; });
});
addEventListener("afterprint", () => folded.forEach((chapter) => { chapter.open = false; }));
