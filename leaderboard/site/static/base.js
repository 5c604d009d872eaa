// What every page with a script shares: elements, numbers as Python writes them, state in the query string, downloads.
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

  // What method names may break after.
  function spec(name) {
    const parts = name.split(",");
    return h("span", { class: "spec" }, parts.flatMap((part, place) =>
      [h("span", {}, place < parts.length - 1 ? part + "," : part), place < parts.length - 1 ? document.createElement("wbr") : ""]));
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

  async function copyLink(button) {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "copied";
    } catch {
      window.prompt("Link", location.href);
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  const data = globalThis.boardData ?? {};
  document.documentElement.classList.add("script");
  return { h, svg, fixed, interval, spec, ranked, query, remember, download, csv, copyLink, data };
})();
