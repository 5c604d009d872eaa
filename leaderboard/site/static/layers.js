// Error by layer of one cell: a point a layer, in the order of the network, a shape and colour for its bits.
"use strict";

(() => {
  const { fixed } = board;
  const { layers } = board.data.layers;
  const bits = [...new Set(layers.map((layer) => layer[2]))].sort((a, b) => a - b);
  const words = (layer) => `${layer[0]}\n${layer[4] === null ? "–" : fixed(layer[4], 1) + " dB"}, ${layer[2] ?? "?"} bit weights, ${layer[3] ?? "?"} bit activations`;
  plots.draw(document.getElementById("layers-plot"), "Error of the weights, layer by layer", () => ({
    legend: { top: 0, itemWidth: 12, itemHeight: 12, textStyle: { color: plots.tone("--ink") }, inactiveColor: plots.tone("--quiet") },
    grid: { left: 58, right: 24, top: 40, bottom: 70 },
    dataZoom: layers.length > 60 ? [{ type: "slider", height: 16, bottom: 8, borderColor: plots.tone("--line"), textStyle: { color: plots.tone("--quiet") } }] : [],
    xAxis: plots.axis("layer, in the order of the network", { type: "value", nameGap: 26, min: 0, max: layers.length, scale: false }),
    yAxis: plots.axis("SQNR of weights, dB", { type: "value", nameGap: 40 }),
    series: bits.map((width, place) => ({
      type: "scatter", name: `${width ?? "?"} bits`, symbol: plots.shape(place), symbolSize: 8, itemStyle: { color: plots.hue(place) },
      data: layers.map((layer, index) => [index + 1, layer]).filter(([, layer]) => layer[2] === width).map(([at, layer]) => ({ value: [at, layer[4]], name: layer[0], layer })),
      tooltip: { formatter: (point) => words(point.data.layer) },
    })),
  }));
  document.getElementById("layers-table").append(...board.tableParts(["Layer", "Class", "Weight bits", "Activation bits", "SQNR, dB"],
    layers.map(([name, kind, weights, activations, error]) => [name, kind, String(weights ?? "–"), String(activations ?? "–"), fixed(error, 1)])));
})();
