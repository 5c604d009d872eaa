// The plots of a model's or a method's page: latents by timestep, damage by bit width, error by layer class.
"use strict";

(() => {
  const { fixed } = board;
  const { curves, widths, score, components } = board.data.group;
  const legend = (extent = {}) => ({ type: "scroll", top: 0, ...extent, textStyle: { color: plots.tone("--ink") }, inactiveColor: plots.tone("--quiet"), pageTextStyle: { color: plots.tone("--ink") } });

  function show(name) { document.getElementById(name).hidden = false; }

  function fill(name, headings, rows) {
    document.getElementById(name + "-table").append(...board.tableParts(headings, rows));
  }

  const stepped = curves.filter((curve) => curve.steps.length);
  if (stepped.length) {
    show("steps");
    plots.draw(document.getElementById("steps-plot"), "Latent SQNR by timestep", () => ({
      legend: legend(), grid: { left: 58, right: 24, top: 40, bottom: 46 },
      xAxis: plots.axis("timestep, from noise to clip", { type: "value", inverse: true, nameGap: 28 }),
      yAxis: plots.axis("SQNR of latents, dB", { type: "value", nameGap: 40 }),
      series: stepped.map((curve, place) => ({
        type: "line", name: curve.name, data: curve.steps, symbol: plots.shape(place), symbolSize: 7, showAllSymbol: true, color: plots.hue(place),
        tooltip: { formatter: (point) => `${curve.name}\ntimestep ${point.value[0]}: ${fixed(point.value[1], 1)} dB` },
      })),
    }));
    const times = [...new Set(stepped.flatMap((curve) => curve.steps.map((step) => step[0])))].sort((a, b) => b - a);
    fill("steps", ["Timestep", ...stepped.map((curve) => `${curve.name}, dB`)], times.map((time) => [String(time),
      ...stepped.map((curve) => { const found = curve.steps.find((step) => step[0] === time); return found ? fixed(found[1], 1) : "–"; })]));
  }

  const lines = [...new Set(widths.map((point) => point.line))];
  // One method at one nominal width says nothing of widths, however many models it is of.
  if (lines.some((line) => new Set(widths.filter((point) => point.line === line).map((point) => point.name)).size > 1)) {
    show("widths");
    const bounds = widths.flatMap((point) => [point.low ?? point.value, point.high ?? point.value]);
    const scale = plots.logged(Math.min(...bounds), Math.max(...bounds));
    plots.draw(document.getElementById("widths-plot"), score + " by bit width", () => ({
      legend: legend(), grid: { left: 58, right: 24, top: 40, bottom: 46 },
      xAxis: plots.axis("bits a weight, on disk", { type: "value", nameGap: 28, boundaryGap: ["3%", "3%"] }),
      yAxis: plots.axis(score + (scale ? " (log)" : ""), { type: scale ? "log" : "value", nameGap: 40, ...scale }),
      series: lines.flatMap((line, place) => {
        const own = widths.filter((point) => point.line === line).sort((a, b) => a.bits - b.bits);
        const at = own.map((point) => [point.bits, point.value, point.low, point.high]);
        return [plots.whiskers(at, plots.hue(place)), {
          type: "line", name: line, color: plots.hue(place), symbol: plots.shape(place), symbolSize: 9, z: 3,
          data: own.map((point, index) => ({ value: at[index], name: point.name, point })),
          tooltip: { formatter: (item) => words(item.data.point) },
        }];
      }),
    }));
    fill("widths", ["Method", "Line", "Bits a weight", score, "Letters"], widths.map((point) =>
      [point.name, point.line, fixed(point.bits, 2), numbers(point), point.letters ?? ""]));
  }

  function numbers(point) {
    return `${point.value.toPrecision(3)}${point.low === null ? "" : ` [${point.low.toPrecision(3)}, ${point.high.toPrecision(3)}]`}`;
  }

  function words(point) {
    return `${point.name}\n${numbers(point)} ${point.letters ?? ""}\n${fixed(point.bits, 2)} bits a weight`;
  }

  // The table of components is in the page.
  if (components.points.length) {
    const kinds = [...new Set(components.points.map((point) => point.component))], methods = [...new Set(components.points.map((point) => point.method))];
    const bounds = components.points.flatMap((point) => [point.low ?? point.value, point.high ?? point.value]);
    const scale = plots.logged(Math.min(...bounds), Math.max(...bounds));
    const beside = (place) => 14 * (place - (methods.length - 1) / 2); // pixels from the middle of a component
    plots.draw(document.getElementById("components-plot"), components.score + " by component", () => ({
      legend: legend({ itemWidth: 12, itemHeight: 12 }), grid: { left: 58, right: 24, top: 40, bottom: 46 },
      xAxis: { type: "category", data: kinds, axisLabel: { color: plots.tone("--quiet") }, axisLine: { lineStyle: { color: plots.tone("--line") } } },
      yAxis: plots.axis(components.score + (scale ? " (log)" : ""), { type: scale ? "log" : "value", nameGap: 40, ...scale }),
      series: methods.flatMap((method, place) => {
        const own = components.points.filter((point) => point.method === method);
        const at = own.map((point) => [point.component, point.value, point.low, point.high]);
        return [plots.whiskers(at, plots.hue(place), beside(place)), {
          type: "scatter", name: method, color: plots.hue(place), symbol: plots.shape(place), symbolSize: 9, symbolOffset: [beside(place), 0], z: 3,
          data: own.map((point, index) => ({ value: at[index], point })),
          tooltip: { formatter: ({ data: { point } }) => `${point.component}, ${method}\n${components.score} ${numbers(point)}` },
        }];
      }),
    }));
  }

  // Names of classes, which are slanted, that are left out after each that has room for its own.
  function skipped(names) {
    return Math.max(0, Math.ceil((names * 14) / (document.getElementById("layers-plot").clientWidth - 82)) - 1);
  }

  const layered = curves.filter((curve) => curve.classes.length);
  if (layered.length) {
    show("layers");
    const kinds = [...new Set(layered.flatMap((curve) => curve.classes.map(([kind]) => kind)))];
    plots.draw(document.getElementById("layers-plot"), "Error of weights by layer class", () => ({
      legend: legend({ itemWidth: 12, itemHeight: 12 }), grid: { left: 58, right: 24, top: 40, bottom: 110 },
      xAxis: { type: "category", data: kinds, axisLabel: { color: plots.tone("--quiet"), rotate: 50, interval: skipped(kinds.length), fontSize: 10 }, axisLine: { lineStyle: { color: plots.tone("--line") } } },
      yAxis: plots.axis("median SQNR of weights, dB", { type: "value", nameGap: 40 }),
      series: layered.map((curve, place) => ({
        type: "scatter", name: curve.name, symbol: plots.shape(place), symbolSize: 9, color: plots.hue(place),
        data: curve.classes.map(([kind, count, db, bits]) => ({ value: [kind, db], count, bits })),
        tooltip: { formatter: (point) => `${curve.name}\n${point.value[0]}, ${point.data.count} layers of ${point.data.bits} bits: ${fixed(point.value[1], 1)} dB` },
      })),
    }));
    fill("layers", ["Class of layers", ...layered.map((curve) => curve.name)], kinds.map((kind) => [kind,
      ...layered.map((curve) => { const found = curve.classes.find(([own]) => own === kind); return found ? `${fixed(found[2], 1)} dB (${found[1]} of ${found[3]} bits)` : "–"; })]));
  }
})();
