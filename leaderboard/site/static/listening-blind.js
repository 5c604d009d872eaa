// Blind tests on the page of a model: ABX and preference. Until the last trial nothing says what was right.
"use strict";

(() => {
  const { h, download } = board;
  const { votes, clock, context, data, path, clips, pause } = globalThis.listening;
  const byId = (id) => document.getElementById(id);
  const methods = data.sources.map((source, index) => ({ ...source, index })).filter((source) => source.kind === "method");
  let session = null, heard = new Set(), began = 0, stimuli = [];

  const WORDS = {
    abx: { title: "ABX", names: ["A", "B", "X"], ask: "A is full precision, B the method, X one of them. Which?", answers: ["X is A", "X is B"] },
    preference: { title: "Preference", names: ["First", "Second"], ask: "Full precision and the method, in an unknown order. Which sounds better?", answers: ["The first", "The second"] },
  };

  // Captions of blind tests: those taken evenly through the suite, where both clips are there.
  function pool(method) {
    return data.captions.filter((caption) => caption.chosen === "even" && caption.clips[data.full]?.sha256 && caption.clips[method]?.sha256);
  }

  function show(section) {
    for (const id of ["setup", "trial", "outcome"]) byId(id).hidden = id !== section;
  }

  function setUp() {
    pause();
    const own = votes.read().sessions;
    const open = own.find((one) => one.ended === null && one.model === data.model && known(one));
    byId("resume").hidden = !open;
    if (open) byId("resume").textContent = `Go on: ${WORDS[open.kind].title} of ${open.method}, trial ${open.trials.length + 1} of ${open.planned}`;
    byId("resume").onclick = () => { session = open; trial(); };
    const done = own.filter((one) => one.ended !== null);
    byId("kept").textContent = own.length
      ? `Kept in this browser: ${done.length} finished and ${own.length - done.length} unfinished tests.`
      : "No test is kept in this browser yet.";
    byId("export").disabled = byId("forget").disabled = !own.length;
    show("setup");
  }

  // Whether this page has what a session needs: it may have been built anew since.
  function known(one) {
    const index = data.sources.findIndex((source) => source.kind === "method" && source.label === one.method);
    const ids = index < 0 ? [] : pool(index).map((caption) => caption.id);
    return one.captions.every((id) => ids.includes(id));
  }

  function begin() {
    const method = Number(byId("blind-method").value), captions = pool(method);
    if (data.full === null || !captions.length) {
      byId("setup-status").textContent = "No caption has a clip both of full precision and of this method.";
      return;
    }
    session = votes.begin({
      kind: byId("blind-kind").value, model: data.model, suite: data.suite, suite_sha256: data.suite_sha256,
      method: data.sources[method].label, level_matched: byId("blind-match").checked,
      planned: Number(byId("blind-count").value), captions: captions.map((caption) => caption.id),
    });
    save();
    trial();
  }

  function save() {
    const note = votes.keep(session) ? "" : "This browser keeps nothing for the page: export before you leave it.";
    byId("setup-status").textContent = byId("trial-status").textContent = note;
  }

  const place = () => data.sources.findIndex((source) => source.kind === "method" && source.label === session.method);

  async function trial() {
    const number = session.trials.length, { caption: id, coin } = votes.planned(session)[number];
    const caption = data.captions.find((one) => one.id === id), words = WORDS[session.kind];
    const full = caption.clips[data.full], method = caption.clips[place()];
    stimuli = session.kind === "abx" ? [full, method, coin ? method : full] : coin ? [method, full] : [full, method];
    clock.put([]);
    show("trial");
    byId("trial-title").textContent = `${words.title}: trial ${number + 1} of ${session.planned}`;
    byId("trial-progress").max = session.planned;
    byId("trial-progress").value = number;
    byId("trial-caption").textContent = caption.text;
    byId("trial-ask").textContent = words.ask;
    byId("stimuli").replaceChildren(...words.names.map((name, index) => {
      const button = h("button", { type: "button", disabled: true }, h("kbd", {}, String(index + 1)), ` ${name}`);
      button.addEventListener("click", () => hear(index));
      return h("li", {}, button);
    }));
    byId("answers").replaceChildren(...words.answers.map((text, index) => {
      const button = h("button", { type: "button", disabled: true }, h("kbd", {}, "AB"[index]), ` ${text}`);
      button.addEventListener("click", () => answer(index));
      return h("li", {}, button);
    }));
    byId("stimuli").querySelector("button").focus();
    const own = session.id + number;
    let buffers;
    try {
      buffers = await Promise.all(stimuli.map((clip) => clips.load(context, path, clip.sha256)));
    } catch (error) {
      byId("trial-status").textContent = error.message;
      return;
    }
    if (session === null || own !== session.id + session.trials.length) return;
    clock.put(buffers);
    clock.setLevels(session.level_matched ? clips.levels(stimuli, stimuli.indexOf(full)) : stimuli.map(() => 1));
    clock.setLoop(true);
    heard = new Set();
    began = performance.now();
    for (const button of byId("stimuli").querySelectorAll("button")) button.disabled = false;
    byId("stimuli").querySelector("button").focus();
  }

  async function hear(index) {
    if (byId("stimuli").querySelector("button:disabled")) return;
    clock.select(index);
    if (!clock.playing) { await context.resume(); clock.start(); }
    heard.add(index);
    byId("stimuli").querySelectorAll("button").forEach((button, other) => button.setAttribute("aria-pressed", String(other === index)));
    if (heard.size < stimuli.length) return;
    for (const button of byId("answers").querySelectorAll("button")) button.disabled = false;
  }

  function answer(index) {
    if (byId("answers").querySelector("button:disabled")) return;
    const full = session.kind === "abx" ? index === 0 : votes.planned(session)[session.trials.length].coin === index;
    const said = full ? "full" : "method";
    const hashes = session.kind === "abx" ? [stimuli[0], stimuli[1]] : ordered();
    session = votes.answer(session, { full_sha256: hashes[0].sha256, method_sha256: hashes[1].sha256 }, said, (performance.now() - began) / 1000);
    save();
    clock.stop();
    if (session.ended) outcome(); else trial();
  }

  // Full precision's clip and the method's, of a preference.
  function ordered() {
    return votes.planned(session)[session.trials.length].coin ? [stimuli[1], stimuli[0]] : stimuli;
  }

  function outcome() {
    const { hits, count, p } = session.result, order = votes.planned(session);
    const abx = session.kind === "abx", chance = p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
    byId("outcome-text").textContent = abx
      ? `${hits} of ${count} right, ${chance}: ${p < 0.05 ? "you heard a difference" : "no difference was shown"} between full precision and ${session.method}.`
      : `${session.method} was chosen ${hits} of ${count} times, ${chance}: ${p < 0.05 ? "you prefer one of the two" : "no preference was shown"}.`;
    const truth = (index) => (abx ? ["A", "B"][order[index].coin] : ["full precision first", "the method first"][order[index].coin]);
    const said = (trial) => (abx ? { full: "A", method: "B" }[trial.answer] : { full: "full precision", method: "the method" }[trial.answer]);
    byId("outcome-table").replaceChildren(...board.tableParts(
      ["Trial", "Caption", abx ? "X was" : "Order", abx ? "You said" : "You chose"],
      session.trials.map((trial, index) => [String(index + 1), data.captions.find((one) => one.id === trial.caption)?.text ?? trial.caption, truth(index), said(trial)]),
    ));
    show("outcome");
    byId("outcome-title").focus();
  }

  function exportVotes() {
    download("votes.json", "application/json", JSON.stringify(votes.exported(), null, 1));
  }

  function view(blind) {
    pause();
    byId("compare").hidden = blind;
    byId("blind").hidden = !blind;
    byId("show-compare").setAttribute("aria-pressed", String(!blind));
    byId("show-blind").setAttribute("aria-pressed", String(blind));
    if (blind) { clock.put([]); setUp(); } else { session = null; globalThis.listening.reopen(); }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("trial").hidden || byId("blind").hidden) return;
    const number = Number(event.key) - 1, said = "ab".indexOf(event.key.toLowerCase());
    if (number >= 0 && number < stimuli.length) hear(number);
    else if (said >= 0 && event.key.length === 1) answer(said);
    else if (event.key === " " && !event.target.closest("#answers, #leave")) {
      if (clock.playing) clock.stop(); else if (heard.size) clock.start();
    } else return;
    event.preventDefault();
  });

  for (const source of methods) byId("blind-method").append(h("option", { value: source.index }, source.label));
  byId("show-compare").addEventListener("click", () => view(false));
  byId("show-blind").addEventListener("click", () => view(true));
  byId("begin").addEventListener("click", begin);
  byId("leave").addEventListener("click", setUp);
  byId("again").addEventListener("click", setUp);
  byId("export").addEventListener("click", exportVotes);
  byId("export-outcome").addEventListener("click", exportVotes);
  byId("forget").addEventListener("click", () => { votes.forget(); setUp(); });
  byId("show-blind").disabled = data.full === null || !methods.length;
})();
