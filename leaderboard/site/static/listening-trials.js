// Blind trials: their order from a seed, and the exact binomial test. `admbench.leaderboard.trials` gives the same order.
"use strict";

(globalThis.listening ??= {}).trials = (() => {
  // sfc32 (C. Doty-Humphrey, PractRand): 32 bits at a time from a seed of 32 hex digits.
  function generator(seed) {
    let [a, b, c, counter] = [0, 8, 16, 24].map((at) => parseInt(seed.slice(at, at + 8), 16) | 0);
    const next = () => {
      const sum = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = ((c << 21) | (c >>> 11)) + sum | 0;
      return sum >>> 0;
    };
    for (let round = 0; round < 12; round++) next();
    return next;
  }

  const below = (next, count) => Math.floor((next() * count) / 2 ** 32);

  function shuffled(names, next) {
    const order = [...names];
    for (let last = order.length - 1; last > 0; last--) {
      const other = below(next, last + 1);
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order;
  }

  // A caption and a fair coin for each trial. All captions come once, in a new order, before one comes again.
  // ABX: on heads (1) X is the method. Preference: on heads the method is the first of the two.
  function order(seed, captions, count) {
    const next = generator(seed), found = [];
    let ahead = [];
    while (found.length < count) {
      if (!ahead.length) ahead = shuffled(captions, next);
      found.push({ caption: ahead.shift(), coin: next() >>> 31 });
    }
    return found;
  }

  // Probability of `hits` or more of `count` fair coins.
  function atLeast(hits, count) {
    let term = 1, below = 0, total = 0; // term: `count` over k
    for (let k = 0; k <= count; k++) {
      if (k >= hits) total += term; else below += term;
      term = (term * (count - k)) / (k + 1);
    }
    return total / (total + below);
  }

  // Two-sided: as far from one half as `hits`, or farther.
  const asFar = (hits, count) => Math.min(1, 2 * atLeast(Math.max(hits, count - hits), count));

  const newSeed = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  return { order, atLeast, asFar, newSeed };
})();
