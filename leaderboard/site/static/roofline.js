// The roofline of one cell: operations a second of each layer over operations per byte, below what the machine gives.
"use strict";

(() => {
  const { fixed } = board;
  const { roofs: [float, integer, bytes], layers } = board.data.roofline;
  const kernels = [...new Set(layers.map((layer) => layer[1]))];
  const at = layers.map((layer) => layer[3]), rates = layers.map((layer) => layer[4]);
  const x = plots.logged(Math.min(...at) / 2, Math.max(...at) * 2), y = plots.logged(Math.min(...rates) / 2, Math.max(float, integer, ...rates) * 1.2);
  const giga = (value) => String(Number((value / 1e9).toPrecision(3)));

  // A roof rises with the bandwidth and is flat at the rate of its products.
  function roof(rate) {
    const corner = Math.min(Math.max(rate / bytes, x.min), x.max);
    return [...new Set([x.min, corner, x.max])].map((at) => [at, Math.min(rate, at * bytes)]);
  }

  plots.draw(document.getElementById("roofline-plot"), "Roofline", () => ({
    legend: { type: "scroll", top: 0, itemWidth: 12, itemHeight: 12, textStyle: { color: plots.tone("--ink") }, inactiveColor: plots.tone("--quiet"), pageTextStyle: { color: plots.tone("--ink") } },
    grid: { left: 64, right: 24, top: 40, bottom: 46 },
    xAxis: plots.axis("operations per byte (log)", { type: "log", nameGap: 28, ...x }),
    yAxis: (() => {
      const axis = plots.axis("billion operations a second (log)", { type: "log", nameGap: 44, ...y });
      return { ...axis, axisLabel: { ...axis.axisLabel, formatter: giga } };
    })(),
    series: [
      ...[["roof of int8", integer, "solid"], ["roof of float32", float, "dashed"]].map(([name, rate, type]) => ({
        type: "line", name, data: roof(rate), symbol: "none", color: plots.tone("--quiet"), lineStyle: { type, width: 1.5 },
      })),
      ...kernels.map((kernel, place) => ({
        type: "scatter", name: kernel, symbol: plots.shape(place), symbolSize: 9, itemStyle: { color: plots.hue(place), opacity: 0.8 },
        data: layers.filter((layer) => layer[1] === kernel).map((layer) => ({ value: [layer[3], layer[4]], name: layer[0], layer })),
        tooltip: { formatter: ({ data: { layer } }) => `${layer[0]}\n${fixed(layer[5], 3)} ms, at least ${fixed(layer[6], 3)} ms\nlimited by ${layer[2]}` },
      })),
    ],
  }));
  document.getElementById("roofline-table").append(...board.tableParts(
    ["Layer", "Kernel", "ms", "At least, ms", "Limited by", "Operations per byte", "Billion operations a second"],
    layers.map(([name, kernel, limit, intensity, rate, ms, bound]) => [name, kernel, fixed(ms, 3), fixed(bound, 3), limit, fixed(intensity, 2), giga(rate)])));
})();
