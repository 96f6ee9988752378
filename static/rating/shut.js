// Runs before the page is drawn: on a slow line the options stand there long before the module that measures them.
// Until it has run, no press is an answer; if it cannot be loaded, the form works as it does without JavaScript.

document.documentElement.classList.add("scripted");

function shut(event) {
  if (event.target.matches(".trial-form")) event.preventDefault();
}

addEventListener("submit", shut, true);
addEventListener("error", (event) => {
  if (!event.target.matches?.("script[type=module]")) return;
  document.documentElement.classList.remove("scripted");
  removeEventListener("submit", shut, true);
}, true);
