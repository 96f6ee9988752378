// Ask for reasons after an answer. Loaded when a study asks.

const panel = document.querySelector(".why");
const button = panel.querySelector("button");
const remark = panel.querySelector("[name=remark]");
const tags = [...panel.querySelectorAll("[name=reasons]")];

// Resolves to the fields of the answer once the button, or Enter in the line of text, is pressed.
export function ask() {
  tags.forEach((tag) => { tag.checked = tag.defaultChecked; });
  if (remark) remark.value = remark.defaultValue;
  panel.hidden = button.hidden = false;
  panel.classList.add("asking");
  (tags[0] || remark || button).focus();
  return new Promise((resolve) => {
    const done = () => {
      panel.classList.remove("asking");
      button.onclick = panel.onkeydown = null;
      resolve({
        reasons: tags.filter((tag) => tag.checked).map((tag) => tag.value),
        ...(remark && remark.value.trim() ? { remark: remark.value.trim() } : {}),
      });
    };
    button.onclick = done;
    panel.onkeydown = (event) => {
      if (event.key === "Enter" && !event.repeat && event.target !== button) {
        event.preventDefault();
        done();
      }
    };
  });
}
