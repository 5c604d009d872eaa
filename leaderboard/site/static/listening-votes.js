// Blind sessions: what is kept in this browser, and what is exported. `admbench.leaderboard.votes` reads the export.
"use strict";

(globalThis.listening ??= {}).votes = (() => {
  const { trials } = globalThis.listening;
  const KEY = "admbench-votes-1";
  let memory = null; // where the browser keeps nothing for the page

  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY));
      if (Array.isArray(kept?.sessions) && typeof kept.listener === "string") return kept;
    } catch { /* not readable, or refused: begun anew */ }
    return memory ?? { listener: trials.newSeed(), sessions: [] };
  }

  function write(value) {
    memory = value;
    try { localStorage.setItem(KEY, JSON.stringify(value)); } catch { return false; }
    return true;
  }

  // Puts a session in its place; false where the browser keeps nothing.
  function keep(session) {
    const kept = read(), others = kept.sessions.filter((one) => one.id !== session.id);
    return write({ ...kept, sessions: [...others, session] });
  }

  function forget() {
    memory = null;
    try { localStorage.removeItem(KEY); } catch { /* nothing was kept */ }
  }

  // A session before its first trial. setup: {kind, model, suite, suite_sha256, method, level_matched, planned, captions}
  function begin(setup) {
    return { id: trials.newSeed(), seed: trials.newSeed(), ...setup, started: new Date().toISOString(), ended: null, trials: [], result: null };
  }

  const planned = (session) => trials.order(session.seed, session.captions, session.planned);

  // Adds an answer, "full" or "method", and after the last one the result: not before.
  function answer(session, clips, said, seconds) {
    const { caption } = planned(session)[session.trials.length];
    const trial = { caption, ...clips, answer: said, seconds: Math.round(seconds * 10) / 10 };
    const ended = { ...session, trials: [...session.trials, trial] };
    if (ended.trials.length < ended.planned) return ended;
    return { ...ended, ended: new Date().toISOString(), result: result(ended) };
  }

  // ABX: hits are right answers, and p is one-sided. Preference: hits are choices of the method, and p is two-sided.
  function result(session) {
    const order = planned(session);
    const hit = (trial, index) => (session.kind === "abx" ? (trial.answer === "method") === (order[index].coin === 1) : trial.answer === "method");
    const hits = session.trials.filter(hit).length, count = session.trials.length;
    return { hits, count, p: session.kind === "abx" ? trials.atLeast(hits, count) : trials.asFar(hits, count) };
  }

  function exported() {
    const { listener, sessions } = read();
    return { format: "admbench-votes", schema_version: 1, listener, exported: new Date().toISOString(), sessions };
  }

  return { read, keep, forget, begin, answer, planned, result, exported };
})();
