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

  // Vertical 95 % intervals of points [x, value, low, high], so many pixels beside them.
  function whiskers(points, color, beside = 0) {
    return {
      type: "custom", silent: true, data: points.filter((point) => point[2] !== undefined && point[2] !== null), z: 1,
      encode: { x: 0, y: [1, 2, 3] },
      renderItem: (_, api) => {
        const [x, low] = api.coord([api.value(0), api.value(2)]);
        const high = api.coord([api.value(0), api.value(3)])[1];
        return { type: "line", shape: { x1: x + beside, y1: low, x2: x + beside, y2: high }, style: { stroke: color, lineWidth: 1.8 } };
      },
    };
  }

  const NAME = { font: "11px system-ui, sans-serif", height: 13, mark: 8 }; // pixels; `mark` is half of a symbol, and some air
  const STEPS = [11, 18, 28, 40, 54, 70, 90, 112, 138, 168]; // from a point to its name
  const AROUND = [0, 25, -25, 50, -50, 90, -90, 130, -130, 155, -155, 180].map((degrees) => degrees * Math.PI / 180);
  const measured = document.createElement("canvas").getContext("2d");

  // The names of points [x, value], each where it covers no other name and no point, with a line to it from further away.
  // What finds no room has its name in its tooltip and in the table alone.
  function names(points, texts) {
    return {
      type: "custom", silent: true, z: 4, encode: { x: 0, y: 1 }, data: [points[0]],
      renderItem: ({ coordSys: room }, api) => {
        const at = points.map((point) => api.coord(point));
        return { type: "group", children: placed(at, texts, room).flatMap(({ place, text, from, to, align }) => [
          ...(Math.hypot(to[0] - from[0], to[1] - from[1]) < STEPS[1] ? [] : [{ type: "line", shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: tone("--quiet"), lineWidth: 0.75 } }]),
          { type: "text", name: String(place), style: { text, x: to[0], y: to[1], align, verticalAlign: "middle", font: NAME.font, fill: tone("--ink"), stroke: tone("--ground"), lineWidth: 3 } },
        ]) };
      },
    };
  }

  function placed(at, texts, room) {
    const taken = at.map(([x, y]) => [x - NAME.mark, y - NAME.mark, x + NAME.mark, y + NAME.mark]);
    const order = at.map((_, place) => place).sort((a, b) => at[a][1] - at[b][1]);
    return order.map((place) => {
      const [x, y] = at[place], text = texts[place];
      measured.font = NAME.font;
      const width = measured.measureText(text).width, side = x > room.x + room.width / 2 ? -1 : 1;
      for (const step of STEPS) for (const angle of AROUND) {
        const turn = side * Math.cos(angle), to = [x + turn * step, y - Math.sin(angle) * step];
        const align = turn > 0.3 ? "left" : turn < -0.3 ? "right" : "center";
        const left = to[0] - { left: 0, right: width, center: width / 2 }[align];
        const box = [left - 2, to[1] - NAME.height / 2, left + width + 2, to[1] + NAME.height / 2];
        if (box[0] < room.x || box[2] > room.x + room.width + 20 || box[1] < room.y - 20 || box[3] > room.y + room.height) continue;
        if (taken.some((other) => other[0] < box[2] && box[0] < other[2] && other[1] < box[3] && box[1] < other[3])) continue;
        taken.push(box);
        return { place, text, from: [x, y], to, align };
      }
      return null;
    }).filter(Boolean);
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
  return { draw, axis, at, logged, names, whiskers, hue, shape, tone };
})();
