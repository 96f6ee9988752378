// Copies what a button names: a code, or a link in a field.
document.querySelectorAll("[data-copy]").forEach((button) => {
  const source = document.getElementById(button.dataset.copy);
  const status = button.parentElement.querySelector("[data-copied]");
  const text = () => source.value ?? source.textContent.trim();

  function select() {
    if (source.select) source.select();
    else getSelection().selectAllChildren(source);
  }

  async function copy() {
    status.textContent = "";
    try {
      await navigator.clipboard.writeText(text());
    } catch { // no clipboard without https
      select();
      if (!document.execCommand("copy")) return; // it stays selected, to be copied by hand
    }
    status.textContent = status.dataset.copied;
  }

  button.hidden = false;
  button.addEventListener("click", copy);
});
