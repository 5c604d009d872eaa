// Every cell with every column, by Tabulator: sorting best first, a filter a column, downloads of what is left.
// The state is in the query string, for table N: N.sort=FIELD:asc, and N.FIELD=TEXT of each filter.
"use strict";

(() => {
  const { h, fixed, ranked } = board;
  const { boards } = board.front;
  const tables = [], built = new Set();

  function rowsOf(one) {
    return one.cells.map((cell) => {
      const row = { page: cell.page, model: one.models[cell.model].name, method: one.methods[cell.method].name, status: cell.status };
      const place = cell.scores[one.score] ?? {};
      row.rank = ranked(place) ? `${ranked(place)} ${place.letters}` : "";
      row.rank_low = place.first ?? null;
      for (const score of one.scores) row["score." + score.key] = cell.scores[score.key]?.value ?? null;
      for (const column of one.columns) {
        const value = cell.values[column.key];
        row["fact." + column.key] = value?.number ?? value?.text ?? null;
        if (value?.tone === "busy") (row.busy ??= {})["fact." + column.key] = value.note;
      }
      return row;
    });
  }

  // Missing values last, whichever way.
  function byNumber(a, b, first, second, column, way) {
    if (a === null || b === null) return ((a === null) - (b === null)) * (way === "desc" ? -1 : 1);
    return a - b;
  }

  function number(field, title, tip, better, format) {
    return {
      field, title, headerTooltip: tip, hozAlign: "right", sorter: byNumber, headerSortStartingDir: better === "higher" ? "desc" : "asc",
      formatter: (cell) => numeric(cell, field, format), headerFilter: "input", headerFilterPlaceholder: "≤ or >",
      headerFilterFunc: (asked, value) => within(asked, value), minWidth: 84,
    };
  }

  // A time that was taken beside other work is grey, as on the front page.
  function numeric(cell, field, format) {
    if (cell.getValue() === null) return "–";
    const text = format(cell.getValue()), beside = cell.getRow().getData().busy?.[field];
    return beside === undefined ? text : h("span", { class: "busy", title: beside }, "⚠ " + text);
  }

  // "<5", ">= 2", "3": at most, at least, or at most where no sign is typed.
  function within(asked, value) {
    const found = /^\s*(<=?|>=?|=)?\s*(-?[\d.]+(?:e-?\d+)?)\s*$/i.exec(String(asked).replace("≤", "<=").replace("≥", ">="));
    if (!found) return true;
    if (value === null) return false;
    const bound = Number(found[2]);
    return { "<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound, "=": value === bound }[found[1] ?? "<="];
  }

  function words(field, title, more = {}) {
    return { field, title, sorter: "string", headerFilter: "input", formatter: "plaintext", minWidth: 96, ...more };
  }

  // Of a cell that is not done, why it has no number.
  function rank(cell) {
    const { status } = cell.getRow().getData();
    return h("span", { class: status === "done" ? "" : "bad" }, status === "done" ? cell.getValue() : status);
  }

  function link(cell) {
    return h("a", { href: cell.getRow().getData().page }, cell.getValue());
  }

  // What Tabulator puts into a row to unfold it, for the keyboard and for readers of the screen.
  function unfoldable(row) {
    const element = row.getElement(), button = element.querySelector(".tabulator-responsive-collapse-toggle");
    element.querySelector(".tabulator-responsive-collapse")?.setAttribute("role", "gridcell");
    if (!button || button.tabIndex === 0) return;
    button.tabIndex = 0;
    button.setAttribute("role", "button");
    button.setAttribute("aria-label", `The rest of ${row.getData().method} on ${row.getData().model}`);
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      button.click();
      event.preventDefault();
    });
  }

  const tools = document.getElementById("cells-tools");
  const count = h("span", { "aria-live": "polite" });
  const left = boards.map((one) => one.cells.length);
  function sayCount(place, rows) {
    if (place !== undefined) left[place] = rows;
    const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
    count.textContent = `${sum(left)} of ${sum(boards.map((one) => one.cells.length))} cells`;
  }
  // On a phone a row has what fits the width; a button unfolds the rest below it.
  const narrow = matchMedia("(max-width: 44rem)").matches;
  const unfolding = { title: "+", formatter: "responsiveCollapse", width: 36, minWidth: 36, hozAlign: "center", headerSort: false, resizable: false };
  boards.forEach((one, place) => {
    const columns = [
      ...(narrow ? [unfolding] : []),
      words("method", "Method", { frozen: !narrow, formatter: link, minWidth: narrow ? 130 : 190 }),
      words("model", "Model", narrow ? { minWidth: 90, formatter: "textarea" } : { minWidth: 130 }),
      words("rank", "Rank", { formatter: rank, sorter: (a, b, first, second, column, way) => byNumber(first.getData().rank_low, second.getData().rank_low, 0, 0, column, way) }),
      ...one.scores.map((score) => number("score." + score.key, score.label + (score.better === "lower" ? " ↓" : " ↑"), score.meaning, score.better, (value) => fixed(value, score.places))),
      ...one.columns.map((column) => one.cells.some((cell) => cell.values[column.key]?.number !== undefined)
        ? number("fact." + column.key, [column.label, column.unit?.trim()].filter(Boolean).join(", "), column.meaning, column.better, (value) => fixed(value, column.places))
        : words("fact." + column.key, column.label, { headerTooltip: column.meaning })),
      words("status", "Status"),
    ];
    const table = new Tabulator("#cells-" + place, {
      data: rowsOf(one), columns, layout: narrow ? "fitColumns" : "fitDataFill", responsiveLayout: narrow && "collapse", responsiveLayoutCollapseStartOpen: false, rowFormatter: narrow && unfoldable, maxHeight: "75vh", renderVerticalBuffer: 300, nestedFieldSeparator: false,
      placeholder: "No cell is left by these filters.", columnDefaults: { headerWordWrap: true }, ...asked(place, columns),
    });
    table.on("dataSorted", () => keep(place));
    table.on("dataFiltered", () => keep(place));
    table.on("tableBuilt", () => { keyboard(table); built.add(place); sayCount(); });
    table.on("dataFiltered", (_, rows) => sayCount(place, rows.length));
    tables.push(table);
  });

  // What the address asks of a table, of columns that it has.
  function asked(place, columns) {
    const query = board.query(), fields = new Set(columns.map((column) => column.field).filter(Boolean));
    const [, field, dir] = /^(.*):(asc|desc)$/.exec(query.get(`${place + 1}.sort`) ?? "") ?? [];
    const filters = [...fields].map((name) => ({ field: name, value: (query.get(`${place + 1}.${name}`) ?? "").slice(0, 200) }));
    return { initialSort: fields.has(field) ? [{ column: field, dir }] : [], initialHeaderFilter: filters.filter(({ value }) => value) };
  }

  function keep(place) {
    if (!built.has(place)) return;
    const query = board.query(), mine = `${place + 1}.`, table = tables[place];
    for (const key of [...query.keys()]) if (key.startsWith(mine)) query.delete(key);
    const [sorter] = table.getSorters();
    if (sorter) query.set(mine + "sort", `${sorter.field}:${sorter.dir}`);
    for (const { field, value } of table.getHeaderFilters()) if (value) query.set(mine + field, value);
    board.remember(query);
  }

  // Headings sort from the keyboard too.
  function keyboard(table) {
    for (const heading of table.element.querySelectorAll(".tabulator-col.tabulator-sortable")) {
      heading.tabIndex = 0;
      heading.addEventListener("keydown", (event) => {
        if (event.target === heading && (event.key === "Enter" || event.key === " ")) { heading.click(); event.preventDefault(); }
      });
      const input = heading.querySelector("input"), title = heading.querySelector(".tabulator-col-title");
      if (input && title) input.setAttribute("aria-label", "Filter " + title.textContent);
    }
    const holder = table.element.querySelector(".tabulator-tableholder"); // a grid's rows are its children: what lies between is nothing
    holder.setAttribute("role", "presentation");
    holder.removeAttribute("tabindex");
  }

  function shown() {
    return tables.flatMap((table, place) => table.getData("active").map(({ page, rank_low, busy, ...row }) => ({ board: place + 1, ...row })));
  }

  tools.append(count, h("span", { class: "downloads" },
    h("button", { type: "button", id: "copy", onclick: (event) => board.copyLink(event.target) }, "copy link"),
    board.downloads("cells", shown, " of these"), "everything:",
    h("a", { href: "table.csv", download: "" }, "CSV"), h("a", { href: "table.json", download: "" }, "JSON"),
    h("a", { href: "table.parquet", download: "" }, "Parquet")));
  tools.hidden = false;
})();
