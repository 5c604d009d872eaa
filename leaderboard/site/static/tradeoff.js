// Damage over cost: a panel a model, axes to choose, the front by the paired test. State: x and y in the query string.
"use strict";

(() => {
  const { h, fixed, interval } = board;
  const X = ["size", "step", "bits", "operations", "speedup", "weights_memory", "inference_memory", "memory"];
  const MOST_BESIDE = 9; // points of a panel that has others beside it
  const panels = document.getElementById("tradeoff-panels"), tools = document.getElementById("tradeoff-tools");
  const table = document.getElementById("tradeoff-table");
  const { boards } = front;
  const xs = X.map((key) => boards.flatMap((one) => one.columns).find((column) => column.key === key)).filter(Boolean);
  const ys = [...new Map(boards.flatMap((one) => one.scores).map((score) => [score.key, score])).values()];
  const known = new Map();
  if (!xs.length || !ys.length) { panels.append(h("p", {}, "No cell has both a score and a cost.")); return; }

  function axes() {
    const asked = board.query();
    return { x: xs.find((one) => one.key === asked.get("x")) ?? xs[0], y: ys.find((one) => one.key === asked.get("y")) ?? ys[0] };
  }

  function choose(key, value) {
    const asked = board.query();
    asked.set(key, value);
    board.remember(asked);
    render();
  }

  // Nothing that is at least as good across is shown to be better.
  function fronted(one, model, points, x, y) {
    const beaten = one.beaten(y.key, model);
    const sign = x.better === "higher" ? -1 : 1;
    const at = new Map(points.map((point) => [point.number, point.x]));
    return new Set(points.filter((point) => !(beaten.get(point.number) ?? []).some((other) =>
      at.has(other) && sign * at.get(other) <= sign * point.x)).map((point) => point.number));
  }

  function pointsOf(one, model, cells, x, y) {
    return cells.filter((cell) => cell.model === model).map((cell) => {
      const place = cell.scores[y.key], value = cell.values[x.key];
      return place?.value === undefined || value?.number === undefined ? null
        : { number: cell.number, name: one.methods[cell.method].name, method: cell.method, x: value.number, busy: value.tone === "busy", place, cell };
    }).filter(Boolean);
  }

  function option(one, model, points, x, y, choice) {
    const { scale } = choice;
    const own = fronted(one, model, points, x, y), ordered = one.ordered(y.key, model);
    return {
      grid: { left: 58, right: 24, top: 24, bottom: 46 },
      xAxis: plots.axis(`${x.label}, ${x.detail}${x.unit ? "," + x.unit : ""}`, { type: "value", nameGap: 28, boundaryGap: ["6%", "6%"] }),
      yAxis: plots.axis(y.label + (scale.log ? " (log)" : ""), { type: scale.log ? "log" : "value", nameGap: 40, min: scale.low, max: scale.high, ...plots.at(choice.ticks) }),
      series: [...points.flatMap((point) => {
        const color = plots.hue(point.method), filled = ordered && own.has(point.number);
        const at = [point.x, point.place.value, point.place.low, point.place.high];
        return [plots.whiskers([at], color), {
          type: "scatter", name: point.name, data: [{ value: at, name: point.name }], symbol: plots.shape(point.method), symbolSize: 11, z: 3,
          itemStyle: { color: filled ? color : plots.tone("--ground"), borderColor: color, borderWidth: 2, opacity: point.busy ? 0.75 : 1 },
          tooltip: { formatter: () => said(point, x, y) },
        }];
      }), plots.names(points.map((point) => [point.x, point.place.value]), points.map(({ name }) => name.length > 28 ? name.slice(0, 27) + "…" : name))],
    };
  }

  function said(point, x, y) {
    const { place } = point;
    const rank = board.ranked(place);
    return [point.name, `${y.label} ${fixed(place.value, y.places)}${place.low === undefined ? "" : " " + interval(place.low, place.high, y.places)}`,
      rank ? `rank ${rank}, ${place.letters}` : place.missing ?? "", `${x.label} ${fixed(point.x, x.places)}${x.unit}${point.busy ? " (busy machine)" : ""}`].filter(Boolean).join("\n");
  }

  function render() {
    const { x, y } = axes(), state = front.read();
    const wanted = [];
    boards.forEach((one, number) => {
      const cells = front.chosenCells(one, state);
      const choice = one.scores.find((own) => own.key === y.key);
      for (const model of choice ? [...new Set(cells.map((cell) => cell.model))].sort((a, b) => a - b).slice(0, 12) : []) {
        const points = pointsOf(one, model, cells, x, y);
        if (points.length) wanted.push({ key: `${number}-${model}`, one, model, points, choice });
      }
    });
    for (const [key, panel] of known) panel.figure.hidden = !wanted.some((panel) => panel.key === key);
    for (const want of wanted) {
      let panel = known.get(want.key);
      if (!panel) {
        const plot = h("div", { class: "plot" }), name = want.one.models[want.model].name;
        panel = { want, figure: h("figure", { "data-model": name }, h("figcaption", {}, name), plot) };
        panels.append(panel.figure);
        panel.chart = plots.draw(plot, `${y.label} over ${x.label}, ${name}`, () => option(panel.want.one, panel.want.model, panel.want.points, ...Object.values(axes()), panel.want.choice), true);
        known.set(want.key, panel);
      } else { panel.want = want; panel.chart.draw(); }
      panel.figure.classList.toggle("crowded", want.points.length > MOST_BESIDE);
      panel.chart.element.setAttribute("aria-label", `${y.label} over ${x.label}, ${want.one.models[want.model].name}; the table below has the same numbers`);
    }
    const rows = wanted.flatMap(({ one, model, points }) => {
      const own = fronted(one, model, points, x, y), ordered = one.ordered(y.key, model);
      return points.map(({ number, name, x: across, place }) => [board.spec(name), one.models[model].name, fixed(across, x.places),
        `${fixed(place.value, y.places)}${place.low === undefined ? "" : " " + interval(place.low, place.high, y.places)} ${place.letters ?? ""}`,
        !ordered ? "no paired test by this score here" : own.has(number) ? "yes" : "no"]);
    });
    table.replaceChildren(...board.tableParts(["Method", "Model", x.label + (x.unit ? "," + x.unit : ""), y.label, "On the front"], rows));
    const pick = (key, label, options, now) => h("label", {}, label + " ", h("select", { id: "axis-" + key, onchange: (event) => choose(key, event.target.value) },
      options.map((one) => h("option", { value: one.key, selected: one.key === now.key }, [one.label, key === "x" ? one.detail : ""].filter(Boolean).join(", ")))));
    const focused = document.activeElement?.id;
    tools.replaceChildren(pick("x", "Across", xs, x), pick("y", "Up", ys, y));
    tools.hidden = false;
    if (focused?.startsWith("axis-")) document.getElementById(focused)?.focus();
  }

  // Plots are drawn when they come near the view, or are printed; and again when what they show has changed.
  let near = false, drawn = "";
  function update() {
    const { chosen, q } = front.read();
    const wanted = JSON.stringify([q, Object.entries(chosen).map(([key, values]) => [key, [...values]])]);
    if (!near || wanted === drawn) return;
    drawn = wanted;
    render();
  }

  const watch = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) approach(); }, { rootMargin: "600px" });
  function approach() {
    near = true;
    watch.disconnect();
    update();
  }

  watch.observe(document.getElementById("tradeoff"));
  window.addEventListener("beforeprint", () => { // plots.js was asked before there were these
    approach();
    for (const { chart } of known.values()) chart.come();
  });
  front.onChange(update);
})();
