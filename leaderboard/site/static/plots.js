// Plots by ECharts, as SVG: the colours of the page in light and dark, shapes as well as colours, text that is no markup.
"use strict";

const plots = (() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const FALLING = "path://M0 1H10L5 10Z", CROSS = "path://M3 0H7V3H10V7H7V10H3V7H0V3H3Z";
  const SHAPES = ["circle", "rect", "triangle", "diamond", FALLING, CROSS, "roundRect"];
  const charts = [];

  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const hue = (place) => tone("--hue-" + (place % 8));
  const shape = (place) => SHAPES[place % SHAPES.length];

  function axis(name, more = {}) {
    return {
      name, nameLocation: "middle", nameTextStyle: { color: tone("--quiet"), fontSize: 12 }, scale: true,
      axisLabel: { color: tone("--quiet"), hideOverlap: true, formatter: (value) => String(Number(value.toPrecision(4))) },
      axisLine: { lineStyle: { color: tone("--line") } }, splitLine: { lineStyle: { color: tone("--faint") } }, minorTick: { show: false },
      ...more,
    };
  }

  // Labels and lines of an axis at given numbers.
  function at(numbers) {
    return {
      axisTick: { show: false, customValues: numbers }, splitLine: { lineStyle: { color: tone("--faint") } },
      axisLabel: { color: tone("--quiet"), customValues: numbers, formatter: (value) => String(Number(value.toPrecision(3))) },
    };
  }

  // A logarithmic axis from one number to another, labelled at 1, 2 and 5; null where there is no logarithm.
  function logged(low, high) {
    if (!(low > 0) || !(high > low)) return null;
    const marks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) for (const digit of [1, 2, 5]) marks.push(digit * 10 ** power);
    const first = marks.filter((mark) => mark <= low).pop() ?? low, last = marks.find((mark) => mark >= high) ?? high;
    return { min: first, max: last, ...at(marks.filter((mark) => mark >= first && mark <= last)) };
  }

  // Vertical 95 % intervals of points [x, value, low, high].
  function whiskers(points, color) {
    return {
      type: "custom", silent: true, data: points.filter((point) => point[2] !== undefined && point[2] !== null), z: 1,
      encode: { x: 0, y: [1, 2, 3] },
      renderItem: (_, api) => {
        const [x, low] = api.coord([api.value(0), api.value(2)]);
        const high = api.coord([api.value(0), api.value(3)])[1];
        return { type: "line", shape: { x1: x, y1: low, x2: x, y2: high }, style: { stroke: color, lineWidth: 1.8 } };
      },
    };
  }

  // Draw into an element what `option` returns, again when the colours or the width change. Arrow keys move along points.
  // Of many plots each is drawn when it comes near the view, has the focus, or is printed.
  function draw(element, label, option, many = false) {
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", label + "; the table below has the same numbers");
    element.tabIndex = 0;
    let near = !many, chart = null;
    const one = {
      element,
      come: () => {
        if (near) return;
        near = true;
        one.draw();
      },
      draw: () => {
        if (!near) return;
        if (!chart) {
          chart = echarts.init(element, null, { renderer: "svg" });
          new ResizeObserver(() => chart.resize()).observe(element);
        }
        const wanted = option();
        one.series = wanted.series.map((series, place) => [place, series]).filter(([, series]) => series.type !== "custom" && series.data.length);
        chart.setOption({
          animation: false, textStyle: { fontFamily: "system-ui, sans-serif", color: tone("--ink") },
          tooltip: { renderMode: "richText", trigger: "item", confine: true, backgroundColor: tone("--ground"), borderColor: tone("--line"), textStyle: { color: tone("--ink"), fontSize: 12 } },
          ...wanted,
        }, true);
      },
    };
    let at = -1;
    element.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      one.come();
      const points = one.series.flatMap(([place, series]) => series.data.map((_, index) => [place, index]));
      if (!points.length) return;
      at = (at + (event.key === "ArrowRight" ? 1 : points.length - 1) + (at < 0 && event.key === "ArrowLeft" ? 1 : 0)) % points.length;
      chart.dispatchAction({ type: "showTip", seriesIndex: points[at][0], dataIndex: points[at][1] });
      event.preventDefault();
    });
    charts.push(one);
    one.draw();
    if (many) coming.observe(element);
    return one;
  }

  const coming = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      coming.unobserve(target);
      charts.find((one) => one.element === target).come();
    }
  }, { rootMargin: "300px" });
  window.addEventListener("beforeprint", () => { for (const one of charts) one.come(); });
  dark.addEventListener("change", () => { for (const one of charts) one.draw(); });
  return { draw, axis, at, logged, whiskers, hue, shape, tone };
})();
