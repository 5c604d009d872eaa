// The boards as packed.py packs them, unpacked once: cells as objects, with only what is known of each.
"use strict";

board.front = (() => {
  const { texts, facet_keys: facetKeys, facets, boards } = board.data.front;
  const PLACE = ["value", "low", "high", "first", "last", "letters", "word", "note", "missing"];
  const VALUE = ["number", "text", "note", "tone", "missing"];
  const NUMBERS = new Set(["value", "low", "high", "first", "last", "number"]);

  function named(keys, entries) {
    const found = {};
    for (let at = 0; at < entries.length; at++) {
      if (entries[at] !== null) found[keys[at]] = NUMBERS.has(keys[at]) ? entries[at] : texts[entries[at]];
    }
    return found;
  }

  function cell(one, number, [model, method, status, page, facetsOf, scores, values]) {
    const found = { number, model, method, status: texts[status], page, facets: {}, scores: {}, values: {} };
    facetsOf.forEach((text, at) => { found.facets[facetKeys[at]] = texts[text]; });
    scores.forEach((place, at) => { found.scores[one.scores[at].key] = place === 0 ? {} : named(PLACE, place); });
    values.forEach((value, at) => { found.values[one.columns[at].key] = value === 0 ? {} : typeof value === "number" ? { number: value } : named(VALUE, value); });
    return found;
  }

  // Which cell of a model is shown to be worse than which others: number of the cell -> numbers of those.
  function beaten(told) {
    const [order, packed] = told, bits = atob(packed), found = new Map();
    let pair = 0;
    for (let one = 0; one < order.length; one++) {
      for (let other = one + 1; other < order.length; other++, pair++) {
        if (!(bits.charCodeAt(pair >> 3) & (128 >> (pair & 7)))) continue;
        if (!found.has(order[other])) found.set(order[other], []);
        found.get(order[other]).push(order[one]);
      }
    }
    return found;
  }

  return {
    facets,
    boards: boards.map((one) => ({
      ...one,
      cells: one.cells.map((entries, number) => cell(one, number, entries)),
      ordered: (score, model) => Boolean(one.told[score]?.[model]),
      beaten: (score, model) => (one.told[score]?.[model] ? beaten(one.told[score][model]) : new Map()),
    })),
  };
})();
