// On the page of a study that takes no answers: says so where this browser still keeps one (see delivery.js).
for (const words of document.querySelectorAll(".kept")) {
  try { words.hidden = localStorage.getItem(`evenhand:${words.dataset.home}`) === null; } catch { /* private windows */ }
}
