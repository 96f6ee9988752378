// Lets a table's rows be sorted by a column: downwards first for numbers, again the other way, then as they came.
const NUMBER = /[−-]?\d[\d,]*(\.\d+)?(e[+−-]?\d+)?/i;
const DATE = /^\d{1,2} [A-Z][a-z]{2} \d{4}/;
const narrow = matchMedia("(max-width: 48rem)"); // where stacked tables show no heads

function textOf(row, column) {
  return row.cells[column]?.textContent.trim() ?? "";
}

function numberOf(text) {
  const found = NUMBER.exec(text);
  return found ? Number(found[0].replaceAll("−", "-").replaceAll(",", "")) : NaN;
}

function dateOf(text) {
  return Date.parse(text.replace(",", ""));
}

function keyOf(texts, isNumber) {
  if (isNumber || texts.every((text) => /^[−-]?[\d,.]+$/.test(text))) return numberOf;
  return texts.every((text) => DATE.test(text)) ? dateOf : null;
}

function compare(one, other, key, way) {
  if (!key) return way * one.localeCompare(other, "en", { numeric: true });
  const [a, b] = [key(one), key(other)];
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // without a value: last, both ways
  return way * (a - b);
}

function sort(table, heads, column, original) {
  const head = heads[column];
  const isNumber = head.classList.contains("number");
  const ways = isNumber ? ["descending", "ascending", null] : ["ascending", "descending", null];
  const next = ways[(ways.indexOf(head.getAttribute("aria-sort")) + 1) % ways.length];
  heads.forEach((each) => each.removeAttribute("aria-sort"));
  const rows = [...original];
  if (next) {
    head.setAttribute("aria-sort", next);
    const key = keyOf(rows.map((row) => textOf(row, column)).filter(Boolean), isNumber);
    const way = next === "ascending" ? 1 : -1;
    rows.sort((one, other) => compare(textOf(one, column), textOf(other, column), key, way));
  }
  table.tBodies[0].append(...rows);
}

function hasOrder(rows, column) {
  // a column of buttons and fields has none
  return rows.some((row) => textOf(row, column)) && !rows.some((row) => row.cells[column].querySelector("form, input"));
}

document.querySelectorAll("table[data-sortable]").forEach((table) => {
  const original = [...(table.tBodies[0]?.rows ?? [])];
  const heads = [...(table.tHead?.rows[0].cells ?? [])];
  if (original.length < 3 || original.some((row) => row.cells.length !== heads.length)) return;
  const buttons = [];
  heads.forEach((head, column) => {
    if (!head.textContent.trim() || !hasOrder(original, column)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, heads, column, original));
    head.append(button);
    buttons.push(button);
  });
  const reach = () => buttons.forEach((button) => { button.tabIndex = narrow.matches ? -1 : 0; });
  if (!table.classList.contains("stacked")) return;
  reach();
  narrow.addEventListener("change", reach);
});
