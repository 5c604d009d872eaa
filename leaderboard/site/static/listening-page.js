// The page of one model: its captions, and the player of the one that is chosen.
"use strict";

(() => {
  const { OneClock, spectrogram, clips } = globalThis.listening;
  const { h, query, remember } = board;
  const data = board.data.listening;
  const byId = (id) => document.getElementById(id);
  const path = byId("listening").dataset.clips;
  const context = new AudioContext();
  const clock = new OneClock(context, () => showPlaying());
  const colours = Object.fromEntries(Object.entries(data.colours).map(([name, text]) => [name, spectrogram.colours(text)]));
  const state = { caption: null, source: 0, difference: false, matched: false, loading: 0 };
  let shown = []; // per source: {button, canvas, cursor}
  let order = []; // captions as they are listed

  Object.assign(globalThis.listening, { clock, context, data, path, pause, reopen: () => state.caption && open(state.caption) });

  const methods = data.sources.map((source, index) => ({ ...source, index })).filter((source) => source.kind === "method");
  const digits = (value) => (value === undefined ? "–" : Number(value.toPrecision(3)).toString());
  const scoreOf = (key) => data.scores.find((score) => score.key === key);

  // --- the list of captions -------------------------------------------------------------------------------------

  // The worst number of a caption by a score, with the source that has it; null where none has the score.
  function worst(caption, score, of) {
    let found = null;
    for (const source of methods) {
      const value = caption.clips[source.index].scores[score.key];
      if (value === undefined || (of !== "" && Number(of) !== source.index)) continue;
      const worse = found === null || (score.higher_is_better ? value < found.value : value > found.value);
      if (worse) found = { value, source };
    }
    return found;
  }

  function list() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const score = scoreOf(byId("sort").value), of = byId("of").value;
    byId("of").disabled = !score;
    order = data.captions
      .filter((caption) => words.every((word) => `${caption.text} ${caption.id}`.toLowerCase().includes(word)))
      .map((caption) => ({ caption, worst: score ? worst(caption, score, of) : null }));
    if (score) {
      const sign = score.higher_is_better ? 1 : -1;
      order.sort((a, b) => (a.worst === null) - (b.worst === null) || sign * ((a.worst?.value ?? 0) - (b.worst?.value ?? 0)));
    }
    byId("captions").replaceChildren(...order.map(({ caption, worst }) => {
      const detail = worst ? `${score.label} ${digits(worst.value)} · ${worst.source.label}` : caption.id;
      const button = h("button", { type: "button" }, caption.text, h("small", {}, detail));
      button.addEventListener("click", () => open(caption));
      button.dataset.caption = caption.id;
      return h("li", {}, button);
    }));
    byId("count").textContent = `${order.length} of ${data.captions.length} captions`;
    markCaption();
  }

  function markCaption() {
    for (const button of byId("captions").querySelectorAll("button")) {
      if (button.dataset.caption === state.caption?.id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  // --- one caption ----------------------------------------------------------------------------------------------

  async function open(caption) {
    const own = ++state.loading;
    Object.assign(state, { caption, pictures: null });
    clock.put([]);
    showPlaying();
    markCaption();
    const asked = query();
    asked.set("caption", caption.id);
    remember(asked);
    byId("caption").textContent = caption.text;
    byId("caption-detail").textContent = [
      caption.id,
      caption.seed === null ? null : `seed ${caption.seed}`,
      caption.chosen === "worst" ? "on the page as one of the worst" : null,
    ].filter(Boolean).join(" · ");
    showScores(caption);
    shown = data.sources.map((source, index) => sourceCard(source, index, caption.clips[index]));
    byId("sources").replaceChildren(...shown.map((one) => one.card));
    byId("status").textContent = "Loading clips…";
    const buffers = await Promise.all(caption.clips.map((clip, index) =>
      clip.sha256 ? clips.load(context, path, clip.sha256).catch((error) => missing(index, error.message)) : null));
    if (own !== state.loading) return;
    clock.put(buffers);
    if (!buffers[state.source]) state.source = Math.max(0, buffers.findIndex((buffer) => buffer));
    clock.select(state.source);
    match();
    byId("seek").max = clock.length;
    showPosition();
    byId("status").textContent = "";
    select(state.source);
    setLoop(byId("loop").getAttribute("aria-pressed") === "true");
    await draw(buffers, own);
  }

  function missing(index, reason) {
    shown[index]?.card.querySelector(".missing").replaceChildren(reason);
    return null;
  }

  function sourceCard(source, index, clip) {
    const key = index < 9 ? h("kbd", {}, String(index + 1)) : "";
    const kind = { reference: "recording", baseline: "full precision", method: "" }[source.kind];
    const button = h("button", { type: "button", disabled: !clip.sha256 }, key, h("span", {}, source.label),
      h("small", {}, kind || sortScore(clip)));
    button.addEventListener("click", () => select(index));
    const canvas = h("canvas", { width: spectrogram.COLUMNS, height: spectrogram.ROWS, role: "img" });
    canvas.setAttribute("aria-label", `Spectrogram of ${source.label}`);
    const cursor = h("div", { class: "cursor" });
    const axis = h("div", { class: "khz", "aria-hidden": "true" });
    const picture = h("div", { class: "picture" }, axis, canvas, cursor);
    canvas.addEventListener("click", (event) => {
      select(index);
      seek((event.offsetX / canvas.clientWidth) * clock.length);
    });
    const card = h("li", { class: `source ${source.kind}` }, button,
      clip.sha256 ? picture : "", h("p", { class: "missing" }, clip.missing ?? ""));
    return { card, button, canvas, cursor, axis };
  }

  function sortScore(clip) {
    const key = scoreOf(byId("sort").value)?.key ?? data.worst_by;
    return key && clip.scores[key] !== undefined ? `${scoreOf(key).label} ${digits(clip.scores[key])}` : "";
  }

  function showScores(caption) {
    const keys = data.scores.filter((score) => caption.clips.some((clip) => clip.scores[score.key] !== undefined));
    const head = h("tr", {}, h("th", { scope: "col" }, "Source"), ...keys.map((score) => h("th", { scope: "col" },
      score.label, h("small", {}, score.per === "clip" ? (score.higher_is_better ? "higher is better" : "lower is better")
        : "its part in the set"))));
    const rows = data.sources.map((source, index) => h("tr", {}, h("th", { scope: "row" }, source.label),
      ...keys.map((score) => h("td", { "data-label": score.label }, digits(caption.clips[index].scores[score.key])))));
    byId("scores").hidden = !keys.length;
    byId("score-table").replaceChildren(h("thead", {}, head), h("tbody", {}, ...rows));
  }

  // Pictures on one scale; left to the browser between two, so that it stays quick.
  async function draw(buffers, own) {
    const top = Math.max(...state.caption.clips.map((clip) => (clip.rate ?? 0) / 2));
    const pictures = [];
    for (const buffer of buffers) {
      pictures.push(buffer && spectrogram.decibels(buffer, Math.min(top, context.sampleRate / 2), clock.length));
      await new Promise((resolve) => setTimeout(resolve));
      if (own !== state.loading) return;
    }
    Object.assign(state, { pictures, top: Math.min(top, context.sampleRate / 2) });
    paint();
  }

  function paint() {
    const { pictures, top } = state;
    if (!pictures) return;
    const loudest = Math.max(...pictures.filter(Boolean).map(spectrogram.largest));
    const full = data.full === null ? null : pictures[data.full];
    shown.forEach(({ canvas, axis, card }, index) => {
      if (!pictures[index]) return;
      const asDifference = state.difference && full && data.sources[index].kind === "method";
      card.classList.toggle("difference", Boolean(asDifference));
      const values = asDifference
        ? spectrogram.differences(pictures[index], full, loudest - data.range_db, data.difference_db)
        : spectrogram.shades(pictures[index], loudest, data.range_db);
      spectrogram.paint(canvas, values, asDifference ? colours.difference : colours.level);
      axis.replaceChildren(...[500, 1000, 2000, 4000, 8000, 16000].filter((hertz) => hertz < top).map((hertz) => {
        const label = h("span", {}, `${hertz / 1000}`);
        label.style.bottom = `${100 * spectrogram.height(hertz, top)}%`;
        return label;
      }));
      canvas.dataset.drawn = asDifference ? "difference" : "level";
    });
    byId("scale").textContent = state.difference && full
      ? `Methods: decibels above (red) or below (blue) full precision, up to ${data.difference_db} dB either way.`
      : `One scale for all: the brightest colour is the loudest point of any clip, the darkest ${data.range_db} dB below it.`;
    byId("scale").append(" Frequency in kHz, spaced by the mel scale.");
  }

  // --- playing --------------------------------------------------------------------------------------------------

  function select(index) {
    if (!state.caption?.clips[index]?.sha256) return;
    state.source = index;
    clock.select(index);
    shown.forEach(({ button, card }, other) => {
      button.setAttribute("aria-pressed", String(other === index));
      card.classList.toggle("heard", other === index);
    });
    byId("heard").textContent = data.sources[index].label;
  }

  function step(by) {
    for (let index = state.source + by; index >= 0 && index < data.sources.length; index += by) {
      if (state.caption?.clips[index].sha256) return select(index);
    }
  }

  function match() {
    const known = state.caption.clips.map((clip) => (clip.sha256 ? clip : null));
    clock.setLevels(state.matched ? clips.levels(known, data.full ?? state.source) : known.map(() => 1));
  }

  function pressed(id, on) { byId(id).setAttribute("aria-pressed", String(on)); }

  async function toggle() {
    if (clock.playing) return pause();
    if (!clock.length) return;
    await context.resume();
    clock.start();
    showPlaying();
  }

  function pause() {
    clock.stop();
    showPlaying();
  }

  function showPlaying() {
    byId("play").textContent = clock.playing ? "Pause" : "Play";
    pressed("play", clock.playing);
    showPosition();
    if (clock.playing) requestAnimationFrame(follow);
  }

  function follow() {
    showPosition();
    if (clock.playing) requestAnimationFrame(follow);
  }

  function showPosition() {
    const at = clock.position, share = clock.length ? (100 * at) / clock.length : 0;
    for (const { cursor } of shown) cursor.style.left = `${share}%`;
    byId("time").textContent = `${at.toFixed(1)} / ${clock.length.toFixed(1)} s`;
    if (document.activeElement !== byId("seek")) byId("seek").value = at;
  }

  function seek(at) {
    clock.seek(at);
    showPosition();
  }

  function setLoop(on, region) {
    pressed("loop", on);
    if (clock.length) clock.setLoop(on, region);
  }

  // The part between two positions is looped; a part too short to hear is the whole clip.
  let mark = null;
  function markLoop(end) {
    if (!end) { mark = clock.position; byId("status").textContent = `Loop from ${mark.toFixed(1)} s: ] sets its end.`; return; }
    const begin = mark ?? 0, last = clock.position;
    const part = last - begin >= 0.05 ? [begin, last] : undefined;
    setLoop(true, part);
    byId("status").textContent = part ? `Loop ${begin.toFixed(1)} to ${last.toFixed(1)} s` : "Loop of the whole clip";
    mark = null;
  }

  function next(by) {
    const at = order.findIndex(({ caption }) => caption === state.caption);
    const found = order[at < 0 ? 0 : at + by];
    if (found) open(found.caption);
  }

  const toggles = {
    loop: () => setLoop(byId("loop").getAttribute("aria-pressed") !== "true"),
    match: () => { state.matched = !state.matched; pressed("match", state.matched); if (state.caption) match(); },
    difference: () => { state.difference = !state.difference; pressed("difference", state.difference); paint(); },
  };

  const keys = {
    " ": toggle, l: toggles.loop, m: toggles.match, d: toggles.difference,
    ArrowUp: () => step(-1), ArrowDown: () => step(1),
    ArrowLeft: () => seek(clock.position - 0.5), ArrowRight: () => seek(clock.position + 0.5),
    Home: () => seek(0), "[": () => markLoop(false), "]": () => markLoop(true),
    n: () => next(1), p: () => next(-1), "/": () => byId("search").focus(),
  };

  // Keys are the page's own where no field wants them; Space presses any button but those of sources.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("compare").hidden) return;
    const target = event.target;
    if (target.closest("input:not([type=range]), select, textarea, dialog")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (target.closest("input") && event.key.startsWith("Arrow")) return;
    if (event.key === " " && target.closest("button, summary, a") && !target.closest("#sources, #captions")) return;
    const number = Number(event.key);
    const act = number >= 1 && number <= 9 ? () => select(number - 1) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  byId("play").addEventListener("click", toggle);
  for (const [id, act] of Object.entries(toggles)) byId(id).addEventListener("click", act);
  byId("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
  byId("search").addEventListener("input", list);
  byId("sort").addEventListener("change", () => { list(); if (state.caption) refreshCards(); });
  byId("of").addEventListener("change", list);

  function refreshCards() {
    shown.forEach(({ button }, index) => {
      if (data.sources[index].kind === "method") button.querySelector("small").textContent = sortScore(state.caption.clips[index]);
    });
  }

  for (const score of data.scores) {
    const label = `worst first by ${score.label}${score.per === "set" ? " (part in the set)" : ""}`;
    byId("sort").append(h("option", { value: score.key }, label));
  }
  for (const source of methods) byId("of").append(h("option", { value: source.index }, source.label));
  byId("model").addEventListener("change", (event) => { location.href = event.target.value; });

  const asked = query();
  if (scoreOf(asked.get("sort") ?? data.worst_by)) byId("sort").value = asked.get("sort") ?? data.worst_by;
  const method = data.sources.findIndex((source) => source.label === asked.get("method"));
  if (method >= 0) { byId("of").value = String(method); state.source = method; }
  list();
  const first = data.captions.find((caption) => caption.id === asked.get("caption")) ?? order[0]?.caption;
  if (first) open(first);
})();
