// Lets a table's rows be sorted by a column: downwards first for numbers, again the other way, then as they came.
const NUMBER = /[−-]?\d[\d,]*(\.\d+)?/;
const DATE = /^\d{1,2} [A-Z][a-z]{2} \d{4}/;

function textOf(row, column) {
  return row.cells[column]?.textContent.trim() ?? "";
}

function numberOf(text) {
  const found = NUMBER.exec(text);
  return found ? Number(found[0].replace("−", "-").replaceAll(",", "")) : NaN;
}

function keyOf(rows, column, isNumber) {
  const texts = rows.map((row) => textOf(row, column)).filter(Boolean);
  if (isNumber) return numberOf;
  return texts.every((text) => DATE.test(text)) ? (text) => Date.parse(text.replace(",", "")) : null;
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
    const key = keyOf(rows, column, isNumber);
    const way = next === "ascending" ? 1 : -1;
    rows.sort((one, other) => compare(textOf(one, column), textOf(other, column), key, way));
  }
  table.tBodies[0].append(...rows);
}

document.querySelectorAll("table[data-sortable]").forEach((table) => {
  const original = [...(table.tBodies[0]?.rows ?? [])];
  const heads = [...(table.tHead?.rows[0].cells ?? [])];
  if (original.length < 3 || original.some((row) => row.cells.length !== heads.length)) return;
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, heads, column, original));
    head.append(button);
  });
});
