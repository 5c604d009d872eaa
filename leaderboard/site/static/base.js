// What all pages share: elements, numbers as Python writes them, state in the query string, links to parts, downloads.
"use strict";

const board = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  // h("td", {class: "score"}, "text", element): texts become text nodes, never markup.
  function h(tag, attributes = {}, ...children) {
    return filled(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes = {}, ...children) {
    return filled(document.createElementNS(SVG, tag), attributes, children);
  }

  function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }

  // A number with a fixed count of decimals and a true minus sign; numbers.py has the same as `fixed`.
  function fixed(value, places) {
    let text = Math.abs(value) < 1e6 ? value.toFixed(places) : value.toPrecision(3);
    if (/^[-+]?0*\.?0*$/.test(text)) text = text.replace(/^[-+]/, "");
    return text.replace("-", "\u2212");
  }

  function interval(low, high, places) {
    return `[${fixed(low, places)}, ${fixed(high, places)}]`;
  }

  // A method's name, which breaks only before its options and between them.
  function spec(name) {
    const parts = name.split(/(?<=,)|(?=\[)/);
    return h("span", { class: "spec" }, parts.flatMap((part, place) => [place ? document.createElement("wbr") : "", h("span", {}, part)]));
  }

  function ranked(place) {
    if (place.first === undefined) return "";
    return place.first === place.last ? `${place.first}` : `${place.first}-${place.last}`;
  }

  // The state of a page is its query string; what a page does not know there is kept.
  function query() {
    return new URLSearchParams(location.search);
  }

  function remember(parameters) {
    const text = parameters.toString();
    history.replaceState(null, "", location.pathname + (text ? "?" + text : "") + location.hash);
  }

  function download(name, type, text) {
    const link = h("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // Text that a spreadsheet would run as a formula is quoted.
  function csvField(value) {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function csv(rows) {
    const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    return [keys, ...rows.map((row) => keys.map((key) => row[key]))]
      .map((line) => line.map(csvField).join(",")).join("\r\n") + "\r\n";
  }

  // The writer of Parquet files is loaded when it is first wanted, from the path that the page names.
  let writer = null;
  function parquetWriter() {
    const path = document.querySelector("[data-parquet]").dataset.parquet;
    writer ??= new Promise((done, failed) => document.head.append(h("script", { src: path, onload: done, onerror: failed })));
    return writer;
  }

  // Rows as a Parquet file. A column is of numbers, of booleans or of texts, as in downloads.py.
  async function parquetFile(rows) {
    await parquetWriter();
    const columnData = [...new Set(rows.flatMap((row) => Object.keys(row)))].map((name) => {
      const data = rows.map((row) => row[name] ?? null), kinds = new Set(data.filter((value) => value !== null).map((value) => typeof value));
      const type = kinds.size !== 1 ? "STRING" : { number: "DOUBLE", boolean: "BOOLEAN" }[[...kinds][0]] ?? "STRING";
      return { name, type, nullable: true, data: type === "STRING" ? data.map((value) => (value === null ? null : String(value))) : data };
    });
    return parquet.parquetWriteBuffer({ columnData });
  }

  // Buttons for exactly the rows that are shown; `rows` returns them.
  function downloads(name, rows, ending = "") {
    const button = (id, text, save) => h("button", { type: "button", id, onclick: save }, text + ending);
    return [
      button("csv", "CSV", () => download(name + ".csv", "text/csv", csv(rows()))),
      button("json", "JSON", () => download(name + ".json", "application/json", JSON.stringify(rows(), null, 1) + "\n")),
      button("parquet", "Parquet", async () => {
        const found = rows();
        if (found.length) download(name + ".parquet", "application/vnd.apache.parquet", await parquetFile(found));
        else said(document.getElementById("parquet"), "no rows");
      }),
    ];
  }

  function said(button, text) {
    const before = button.textContent;
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  async function copyLink(button) {
    try {
      await navigator.clipboard.writeText(location.href);
      said(button, "copied");
    } catch {
      window.prompt("Link", location.href);
    }
  }

  // The head and the body of a table, whose rows have a text or an element for each heading. What an entry is stands
  // beside it too: on a phone a row is a card.
  function tableParts(headings, rows) {
    const entry = (part, place) => place ? h("td", { "data-label": headings[place] }, part) : h("th", { scope: "row" }, part);
    return [
      h("thead", {}, h("tr", {}, headings.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map((parts) => h("tr", {}, parts.map(entry)))),
    ];
  }

  function permalink(name) {
    return h("a", { class: "permalink", href: "#" + name, "aria-label": "Link to this part" }, "#");
  }

  // The row or part that the hash names is marked and brought into view; scripts may have made it after the page was there.
  function point() {
    for (const old of document.querySelectorAll(".pointed")) old.classList.remove("pointed");
    const name = hash(), target = name && document.getElementById(name);
    if (!target) return;
    target.classList.add("pointed");
    target.scrollIntoView({ block: target.matches("tr") ? "center" : "start" });
  }

  function hash() {
    try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
  }

  document.documentElement.classList.add("script");
  for (const heading of document.querySelectorAll("main :is(h2, h3)[id]:not(.unseen)")) heading.append(" ", permalink(heading.id));
  window.addEventListener("hashchange", point);
  window.addEventListener("load", () => { if (location.hash) point(); });
  return {
    h, svg, fixed, interval, spec, ranked, query, remember, download, downloads, copyLink, tableParts, permalink, hash, said,
    get data() { return globalThis.boardData ?? {}; },
  };
})();
