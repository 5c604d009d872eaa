// The matrix of methods by models: filters, columns, sorting, links and downloads. All state is in the query string:
// score, sort, order, q, columns, and one key a facet, repeated for each chosen value.
"use strict";

const front = (() => {
  const { h, svg, fixed, interval, spec, ranked } = board;
  const { boards, facets } = board.front;
  const tables = [...document.querySelectorAll("table.matrix")];
  const tools = document.getElementById("tools");
  const listeners = [];
  const BAR = { width: 120, height: 16, pad: 6 }, DIGIT = 6.4; // width of a digit on the axis
  const MOST_MODELS = 6, MOST_ROWS = 50, MOST_REASON = 60; // characters of a reason: the cell's page has all
  let everything = false;

  const textOf = (value) => JSON.stringify(value, (_, one) => (one instanceof Set ? [...one] : one));

  const columnsOf = () => {
    const found = new Map();
    for (const one of boards) for (const column of one.columns) if (!found.has(column.key)) found.set(column.key, column);
    return [...found.values()];
  };
  const allColumns = columnsOf();
  const allScores = [...new Map(boards.flatMap((one) => one.scores).map((score) => [score.key, score])).values()];

  function read() {
    const asked = board.query();
    const chosen = {};
    for (const facet of facets) {
      const values = asked.getAll(facet.key).filter((value) => facet.values.includes(value));
      if (values.length) chosen[facet.key] = new Set(values);
    }
    const known = new Set(allColumns.map((column) => column.key));
    const columns = asked.has("columns")
      ? asked.get("columns").split(",").filter((key) => known.has(key))
      : allColumns.filter((column) => column.shown).map((column) => column.key);
    const score = allScores.find((one) => one.key === asked.get("score"))?.key ?? null;
    return {
      chosen, columns, score,
      q: (asked.get("q") ?? "").slice(0, 200),
      sort: asked.get("sort"),
      order: asked.get("order") === "worst" ? "worst" : "best",
    };
  }

  function write(state) {
    const asked = new URLSearchParams();
    if (state.q) asked.set("q", state.q);
    if (state.score) asked.set("score", state.score);
    for (const [key, values] of Object.entries(state.chosen)) for (const value of values) asked.append(key, value);
    const usual = allColumns.filter((column) => column.shown).map((column) => column.key).join(",");
    if (state.columns.join(",") !== usual) asked.set("columns", state.columns.join(","));
    if (state.sort) { asked.set("sort", state.sort); asked.set("order", state.order); }
    board.remember(asked);
    render();
  }

  // Which cells of a board are chosen, by the number of their model and method.
  function chosenCells(one, state) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return one.cells.filter((cell) => {
      const model = one.models[cell.model].name, method = one.methods[cell.method];
      if (state.chosen.model && !state.chosen.model.has(model)) return false;
      for (const [key, values] of Object.entries(state.chosen)) {
        if (key !== "model" && !values.has(cell.facets[key])) return false;
      }
      if (!words.length) return true;
      const text = `${method.name} ${method.detail} ${model} ${Object.values(cell.facets).join(" ")}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  function arranged(one, state) {
    const cells = chosenCells(one, state);
    const models = [...new Set(cells.map((cell) => cell.model))].sort((a, b) => a - b);
    const rows = new Map();
    for (const cell of cells) {
      if (!rows.has(cell.method)) rows.set(cell.method, new Map());
      rows.get(cell.method).set(cell.model, cell);
    }
    const shown = everything || state.chosen.model ? models : models.slice(0, MOST_MODELS);
    const score = one.scores.find((choice) => choice.key === state.score) ?? one.scores[0];
    let order = [...rows.keys()].sort((a, b) => a - b);
    if (state.sort) order = sorted(one, order, rows, state, score);
    else if (shown.length === 1 && score) order = sorted(one, order, rows, { sort: "model:" + one.models[shown[0]].name, order: "best" }, score);
    return { cells, models, shown, rows, order, score };
  }

  // Best first; what has no value stays last whichever way, equal values keep the order of rows.
  function sorted(one, order, rows, state, score) {
    const column = one.columns.find((candidate) => candidate.key === state.sort);
    const model = one.models.findIndex((candidate) => "model:" + candidate.name === state.sort);
    const value = (method) => {
      const cells = rows.get(method);
      if (state.sort === "method") return one.methods[method].name;
      if (model >= 0) return cells.get(model)?.scores[score?.key]?.value ?? null;
      if (!column) return null;
      const own = [...cells.values()].map((cell) => cell.values[column.key]).filter((found) => found && !found.missing);
      if (!own.length) return null;
      if (own[0].number === undefined) return own.map((found) => found.text).sort()[0];
      return own.reduce((sum, found) => sum + found.number, 0) / own.length;
    };
    const better = model >= 0 ? score?.better : column?.better;
    const sign = (better === "higher" ? -1 : 1) * (state.order === "worst" ? -1 : 1);
    const values = new Map(order.map((method) => [method, value(method)]));
    return [...order].sort((a, b) => {
      const [first, second] = [values.get(a), values.get(b)];
      if (first === null || second === null) return (first === null) - (second === null);
      const apart = typeof first === "string" ? first.localeCompare(second, "en", { numeric: true }) : first - second;
      return sign * apart;
    });
  }

  function across(scale, value) {
    const bounded = Math.min(Math.max(value, scale.low), scale.high);
    const share = scale.high <= scale.low ? 0.5
      : scale.log ? Math.log(bounded / scale.low) / Math.log(scale.high / scale.low)
      : (bounded - scale.low) / (scale.high - scale.low);
    return BAR.pad + share * (BAR.width - 2 * BAR.pad);
  }

  function bar(score, place) {
    const middle = BAR.height / 2;
    const picture = svg("svg", { class: "bar", viewBox: `0 0 ${BAR.width} ${BAR.height}`, "aria-hidden": "true" });
    for (const tick of score.ticks) {
      const x = across(score.scale, tick);
      picture.append(svg("path", { class: "tick", d: `M${x} 0V${BAR.height}` }));
    }
    if (place.low !== undefined) {
      picture.append(svg("path", { class: "interval", d: `M${across(score.scale, place.low)} ${middle}H${across(score.scale, place.high)}` }));
    }
    picture.append(svg("circle", { cx: across(score.scale, place.value), cy: middle, r: 4 }));
    return picture;
  }

  function axis(score) {
    const picture = svg("svg", { class: "axis", viewBox: `0 0 ${BAR.width} 12`, "aria-hidden": "true" });
    let free = -Infinity; // up to where there are texts
    for (const tick of score.ticks) {
      const text = String(Number(tick.toPrecision(3))), x = across(score.scale, tick), half = DIGIT * text.length / 2;
      if (x - half < free) continue;
      picture.append(svg("text", { x, y: 10, "text-anchor": "middle" }, text));
      free = x + half + DIGIT / 2;
    }
    return picture;
  }

  function scoreCell(one, cell, score, label) {
    const place = cell?.scores[score?.key];
    if (!place || place.value === undefined) {
      const why = place?.missing ?? (cell ? "not asked for" : "not run");
      const short = why.length > MOST_REASON + 20 ? why.slice(0, MOST_REASON).trimEnd() + "…" : why;
      return h("td", { class: cell ? "score" : "score absent", "data-label": label }, h("span", { class: "none" }, "–"), " ",
        short === why ? h("small", {}, why) : h("a", { class: "shortened", href: cell.page, title: why }, h("small", {}, short)));
    }
    const numbers = [place.low === undefined ? "" : interval(place.low, place.high, score.places),
      ranked(place) && "rank " + ranked(place)].filter(Boolean).join(", ");
    return h("td", { class: "score", "data-label": label },
      h("a", { class: "number", href: cell.page, title: place.note ?? "" },
        bar(score, place), h("b", {}, fixed(place.value, score.places)), place.letters ? letters(place.letters) : ""),
      h("small", {}, numbers), place.missing ? h("small", {}, place.missing) : "");
  }

  // Many letters break after every four of them, and not inside of "a1".
  function letters(text) {
    return h("sup", {}, ...text.match(/(?:\D\d*){1,4}/g).flatMap((four) => [four, h("wbr", {})]));
  }

  // One text for a method on several models: columns.py says the same as `span`.
  function span(column, values) {
    const numbers = values.map((value) => value.number).filter((number) => number !== undefined);
    if (!numbers.length) return [...new Set(values.map((value) => value.text).filter(Boolean))].join(", ") || "–";
    const [low, high] = [fixed(Math.min(...numbers), column.places), fixed(Math.max(...numbers), column.places)];
    return (low === high ? low : `${low}–${high}`) + column.unit;
  }

  function factCell(column, cells) {
    const values = cells.map((cell) => cell.values[column.key]).filter(Boolean);
    const cell = h("td", { class: "fact", "data-label": column.label });
    if (column.key === "verdict") return filledVerdict(cell, cells, values);
    const there = values.filter((value) => !value.missing);
    if (!there.length) {
      const why = values[0]?.missing ?? ""; // up to a colon here, whole on the cell's page
      cell.append(h("span", { class: "none", title: why }, "–"), " ", h("small", { title: why }, why.split(": ")[0]));
      return cell;
    }
    const tones = [...new Set(there.map((value) => value.tone ?? ""))];
    const notes = [...new Set(there.map((value) => value.note).filter(Boolean))];
    cell.append(h("span", { class: tones.length === 1 ? tones[0] : tones.includes("busy") ? "busy" : "", title: notes.join("\n") }, span(column, there)));
    if (tones.includes("busy")) cell.append(" ", h("small", { class: "busy" }, "⚠ busy machine"));
    return cell;
  }

  function filledVerdict(cell, cells, values) {
    const counts = new Map();
    for (const value of values) if (value.text) counts.set(value.text, [...(counts.get(value.text) ?? []), value]);
    if (!counts.size) {
      cell.append(h("span", { class: "none" }, "–"), " ", h("small", {}, values[0]?.missing ?? ""));
      return cell;
    }
    const total = values.filter((value) => value.text).length;
    const marks = { "no worse": "✓", worse: "✗", "cannot be told": "?" };
    for (const word of ["no worse", "worse", "cannot be told"]) {
      const own = counts.get(word);
      if (!own) continue;
      const share = total === 1 ? "" : ` on ${own.length} of ${total}`;
      cell.append(h("span", { class: "word " + own[0].tone, title: own.map((value) => value.note).join("\n") },
        h("span", { "aria-hidden": "true" }, marks[word] + " "), word + share));
    }
    return cell;
  }

  function heading(key, label, detail, better, state, extra = []) {
    const own = state.sort === key;
    const best = better === "higher" ? "descending" : "ascending", worst = better === "higher" ? "ascending" : "descending";
    const sorting = own ? (state.order === "worst" ? worst : best) : "none";
    const button = h("button", { type: "button", "data-sort": key, onclick: () => {
      const now = read();
      write({ ...now, sort: key, order: now.sort === key && now.order === "best" ? "worst" : "best" });
      document.querySelector(`button[data-sort="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    } }, label, better ? h("span", { class: "arrow", "aria-hidden": "true" }, better === "lower" ? "↓" : "↑") : "",
    better ? h("span", { class: "unseen" }, ` (${better} is better)`) : "");
    return h("th", { scope: "col", "aria-sort": sorting }, button, ...extra, detail ? h("small", {}, detail) : "");
  }

  // What the hash of a link to a row says: the name of the method's page, and the table from the second on.
  function rowName(one, method) {
    const number = boards.indexOf(one), name = one.methods[method].page.split("/").pop().replace(/\.html$/, "");
    return number ? `${name}-${number + 1}` : name;
  }

  // Returns what makes the row of a method, or has it from before: a sort puts other rows in order, and changes none.
  const kept = new Map();
  function keptRows(table, shows, make) {
    const now = textOf(shows);
    if (kept.get(table)?.now !== now) kept.set(table, { now, rows: new Map() });
    const { rows } = kept.get(table);
    return (method) => {
      if (!rows.has(method)) rows.set(method, make(method));
      return rows.get(method);
    };
  }

  function renderBoard(table, one, state) {
    const view = arranged(one, state);
    if (board.hash() && view.order.slice(MOST_ROWS).some((method) => rowName(one, method) === board.hash())) everything = true;
    const { shown, rows, score } = view;
    const order = everything ? view.order : view.order.slice(0, MOST_ROWS);
    const columns = one.columns.filter((column) => state.columns.includes(column.key));
    const head = h("tr", {},
      heading("method", "Method", "", "", state),
      shown.map((model) => heading("model:" + one.models[model].name, one.models[model].name,
        score ? score.label : "", score?.better, state, score ? [axis(score)] : [])),
      columns.map((column) => {
        const cell = heading(column.key, column.label, column.detail, column.better, state);
        cell.title = column.meaning;
        return cell;
      }));
    const row = (method) => {
      const own = rows.get(method), about = one.methods[method];
      const cells = shown.map((model) => own.get(model)).filter(Boolean);
      const failed = cells.filter((cell) => cell.status !== "done");
      return h("tr", { "data-method": about.name, id: rowName(one, method), class: "hue-" + (method % 8) + (board.hash() === rowName(one, method) ? " pointed" : "") },
        h("th", { scope: "row" }, h("a", { href: about.page }, svg("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("circle", { cx: 5, cy: 5, r: 4.5 })), spec(about.name)), " ", board.permalink(rowName(one, method)), h("small", {}, about.detail),
          failed.length ? h("small", { class: "bad" }, `${failed[0].status} on ${failed.length} of ${cells.length}`) : ""),
        shown.map((model) => scoreCell(one, own.get(model), score, one.models[model].name)),
        columns.map((column) => factCell(column, cells)));
    };
    const body = order.map(keptRows(table, [score?.key, shown, columns.map((column) => column.key), state.chosen, state.q, board.hash()], row));
    const left = [];
    if (order.length < view.order.length) left.push(`${view.order.length - order.length} more methods`);
    if (shown.length < view.models.length) left.push(`${view.models.length - shown.length} more models`);
    if (left.length) {
      body.push(h("tr", {}, h("td", { class: "why", colspan: 1 + shown.length + columns.length },
        left.join(" and ") + " are not shown. ", h("button", { type: "button", onclick: () => { everything = true; render(); } }, "Show all"))));
    }
    if (!order.length) body.push(h("tr", {}, h("td", { class: "why", colspan: 1 + columns.length }, "No cell is left by these filters.")));
    table.tHead.replaceChildren(head);
    table.tBodies[0].replaceChildren(...body);
  }

  // A menu of check boxes, open until a click outside or Escape.
  function menu(label, summary, options, chosen, change) {
    const box = h("details", { class: "menu" }, h("summary", {}, label + " ", h("b", {}, summary)),
      h("fieldset", {}, h("legend", { class: "unseen" }, label), options.map(({ value, text }) =>
        h("label", {}, h("input", { type: "checkbox", value, checked: chosen.has(value), onchange: () => {
          change(new Set([...box.querySelectorAll("input:checked")].map((input) => input.value)));
        } }), " ", text))));
    box.dataset.menu = label;
    return box;
  }

  let tooled = "";
  function renderTools(state) {
    const { sort, order, ...asked } = state;
    const now = textOf(asked);
    if (now === tooled) return; // of a sort the tools say nothing
    const open = tools.querySelector("details[open]")?.dataset.menu;
    const focused = document.activeElement?.closest?.("#tools") ? [open, document.activeElement.value, document.activeElement.type] : null;
    const menus = facets.filter((facet) => facet.values.length > 1).map((facet) => {
      const chosen = state.chosen[facet.key];
      const summary = !chosen ? `all ${facet.values.length}` : chosen.size === 1 ? [...chosen][0] : `${chosen.size} of ${facet.values.length}`;
      return menu(facet.label, summary, facet.values.map((value) => ({ value, text: value })), chosen ?? new Set(), (values) => {
        const now = read();
        if (values.size) now.chosen[facet.key] = values; else delete now.chosen[facet.key];
        write(now);
      });
    });
    const columns = menu("Columns", `${state.columns.length} of ${allColumns.length}`,
      allColumns.map((column) => ({ value: column.key, text: [column.label, column.detail].filter(Boolean).join(", ") })),
      new Set(state.columns), (values) => {
        write({ ...read(), columns: allColumns.map((column) => column.key).filter((key) => values.has(key)) });
      });
    const score = h("label", {}, "Score ", h("select", { id: "score", onchange: (event) => {
      write({ ...read(), score: event.target.value === allScores[0].key ? null : event.target.value });
    } }, allScores.map((one) => h("option", { value: one.key, selected: one.key === (state.score ?? allScores[0].key) }, one.label))));
    const byModel = [...new Set(boards.flatMap((one) => one.models.map((model) => model.name)))].map((name) => ["model:" + name, name]);
    const byColumn = allColumns.filter((column) => state.columns.includes(column.key)).map((column) => [column.key, column.label]);
    const sorting = h("label", { class: "narrow" }, "Sort ", h("select", { id: "sort", onchange: (event) => {
      write({ ...read(), sort: event.target.value || null, order: "best" });
    } }, [["", "as ranked"], ["method", "Method"], ...byModel, ...byColumn].map(([value, text]) => h("option", { value }, text))));
    const search = h("label", {}, "Search ", h("input", { type: "search", id: "q", size: 12, value: state.q, maxlength: 200, oninput: (event) => {
      write({ ...read(), q: event.target.value });
    } }));
    const buttons = h("span", { class: "downloads" },
      h("button", { type: "button", id: "copy", onclick: (event) => board.copyLink(event.target) }, "copy link"),
      board.downloads("board", shownRows),
      h("button", { type: "button", id: "reset", onclick: () => { everything = false; write({ ...read(), chosen: {}, q: "", sort: null, score: null, columns: allColumns.filter((column) => column.shown).map((column) => column.key) }); } }, "reset"));
    if (document.activeElement?.id === "q" && tools.contains(document.activeElement)) {
      return; // typing goes on in the field that is there
    }
    tooled = now;
    tools.replaceChildren(...[score, sorting, ...menus, columns, search, buttons].filter(Boolean));
    tools.hidden = false;
    if (open) {
      const again = [...tools.querySelectorAll("details")].find((one) => one.dataset.menu === open);
      if (again) again.open = true;
      if (focused) [...(again?.querySelectorAll("input") ?? [])].find((input) => input.value === focused[1])?.focus();
    } else if (focused?.[2] === "select-one") tools.querySelector("#score").focus();
  }

  // Exactly what is shown, a row a cell, in the order of the page.
  function shownRows() {
    const state = read();
    const found = [];
    boards.forEach((one, number) => {
      const { shown, rows, score, ...view } = arranged(one, state);
      const order = everything ? view.order : view.order.slice(0, MOST_ROWS);
      const columns = one.columns.filter((column) => state.columns.includes(column.key));
      for (const method of order) for (const model of shown) {
        const cell = rows.get(method).get(model);
        if (!cell) continue;
        const place = cell.scores[score?.key] ?? {};
        const row = { board: number + 1, model: one.models[model].name, method: one.methods[method].name, status: cell.status, score: score?.key ?? null,
          value: place.value ?? null, low: place.low ?? null, high: place.high ?? null, letters: place.letters ?? null,
          rank_low: place.first ?? null, rank_high: place.last ?? null, missing: place.missing ?? null };
        for (const column of columns) row[column.key] = cell.values[column.key]?.number ?? cell.values[column.key]?.text ?? null;
        found.push(row);
      }
    });
    return found;
  }

  function render() {
    const state = read();
    tables.forEach((table, number) => renderBoard(table, boards[number], state));
    renderTools(state);
    document.getElementById("sort").value = state.sort ?? "";
    for (const listener of listeners) listener();
  }

  document.addEventListener("click", (event) => {
    for (const box of tools.querySelectorAll("details[open]")) if (!box.contains(event.target)) box.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const box = tools.querySelector("details[open]");
    if (box) { box.open = false; box.querySelector("summary").focus(); }
  });
  window.addEventListener("popstate", render);
  render();
  return { read, chosenCells, onChange: (listener) => listeners.push(listener), boards };
})();
