"use strict";
const table = document.getElementById("cases");
const body = table.tBodies[0];
const rows = [...body.rows];
const words = document.getElementById("words");
const noticed = document.getElementById("noticed");
const collator = new Intl.Collator("en", { numeric: true });

function sortBy(heading) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = (row) => row.cells[heading.cellIndex].dataset.sort;
  const compare = heading.dataset.kind === "number" ? (a, b) => a - b : collator.compare;
  rows.sort((first, second) => {
    const a = key(first), b = key(second);
    // What a case does not have comes last, whichever way is asked for.
    if (a === "" || b === "") return (a === "") - (b === "");
    return ascending ? compare(a, b) : compare(b, a);
  });
  body.append(...rows);
}

function filter() {
  const wanted = words.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const fits = row.textContent.toLowerCase().includes(wanted);
    row.hidden = !fits || (noticed.checked && !("noticed" in row.dataset));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${rows.length} shown`;
}

for (const heading of table.tHead.rows[0].cells) {
  if (!heading.dataset.kind) continue;
  const button = document.createElement("button");
  button.textContent = heading.textContent;
  button.addEventListener("click", () => sortBy(heading));
  heading.replaceChildren(button);
}
words.addEventListener("input", filter);
noticed.addEventListener("change", filter);
words.form.addEventListener("submit", (event) => event.preventDefault());
words.form.hidden = false;
filter();
