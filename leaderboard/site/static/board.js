// Sorting and filtering of the tables; the state lives in the URL hash: #sort=fd&order=down&model=tiny-tango
"use strict";

const select = document.getElementById("model");
const tables = [...document.querySelectorAll("table.board")];
const original = new Map(tables.map((table) => [table, [...table.tBodies[0].rows]]));

function readState() {
  const hash = new URLSearchParams(location.hash.slice(1));
  return { sort: hash.get("sort"), order: hash.get("order") === "down" ? "down" : "up", model: hash.get("model") || "" };
}

function writeState(state) {
  const hash = new URLSearchParams();
  if (state.sort) { hash.set("sort", state.sort); hash.set("order", state.order); }
  if (state.model) hash.set("model", state.model);
  history.replaceState(null, "", hash.size ? "#" + hash : location.pathname + location.search);
  apply(state);
}

function sortValue(row, key) {
  const cell = [...row.cells].find((cell) => cell.dataset.key === key);
  if (!cell || cell.dataset.value === undefined) return null;
  return key === "method" ? cell.dataset.value : Number(cell.dataset.value);
}

// Missing values stay last in both orders; equal values keep their ranked order.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}

function apply(state) {
  const known = [...select.options].some((option) => option.value === state.model);
  select.value = known ? state.model : "";
  for (const element of document.querySelectorAll("tr[data-model], figure[data-model], details[data-model]")) {
    element.hidden = select.value !== "" && element.dataset.model !== select.value;
  }
  for (const table of tables) {
    const rows = [...original.get(table)];
    if (state.sort) {
      const values = new Map(rows.map((row) => [row, sortValue(row, state.sort)]));
      rows.sort((a, b) => compare(values.get(a), values.get(b), state.order === "down" ? -1 : 1));
    }
    table.tBodies[0].append(...rows);
    let previous = null;
    for (const row of rows.filter((row) => !row.hidden)) {
      row.classList.toggle("first", previous !== null && previous !== row.dataset.group && !state.sort);
      previous = row.dataset.group;
    }
    for (const button of table.querySelectorAll("button[data-sort]")) {
      const own = button.dataset.sort === state.sort;
      button.closest("th").setAttribute("aria-sort", own ? (state.order === "down" ? "descending" : "ascending") : "none");
    }
  }
}

for (const button of document.querySelectorAll("button[data-sort]")) {
  button.addEventListener("click", () => {
    const state = readState();
    const key = button.dataset.sort;
    const order = state.sort === key && state.order === "up" ? "down" : "up";
    writeState({ ...state, sort: key, order });
  });
}
select.addEventListener("change", () => writeState({ ...readState(), model: select.value }));
document.getElementById("reset").addEventListener("click", () => writeState({ sort: null, order: "up", model: "" }));

// A link to a cell's details opens them; a hash with a state in it restores the state.
function follow() {
  if (location.hash.includes("=")) return apply(readState());
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView(); }
}
window.addEventListener("hashchange", follow);
document.documentElement.classList.add("script");
apply(readState());
follow();
