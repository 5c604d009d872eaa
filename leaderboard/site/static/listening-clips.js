// Clips, loaded when they are needed: each is a script that holds FLAC as base64, as a page on disk may not fetch.
"use strict";

(globalThis.listening ??= {}).clips = (() => {
  const MOST_BYTES = 192 * 2 ** 20; // of decoded clips that are kept
  const kept = new Map(); // hash -> promise of an AudioBuffer, the latest used last
  const sizes = new Map();

  function text(path, hash) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${path}${hash}.js`;
      script.onload = () => {
        const found = globalThis.boardClips?.[hash];
        delete globalThis.boardClips?.[hash];
        script.remove();
        if (found === undefined) reject(new Error(`${hash}.js holds another clip`)); else resolve(found);
      };
      script.onerror = () => { script.remove(); reject(new Error(`clips/${hash}.js cannot be loaded`)); };
      document.head.append(script);
    });
  }

  async function decode(context, path, hash) {
    const bytes = Uint8Array.from(atob(await text(path, hash)), (char) => char.charCodeAt(0));
    const buffer = await context.decodeAudioData(bytes.buffer);
    sizes.set(hash, 4 * buffer.length * buffer.numberOfChannels);
    return buffer;
  }

  function forgetOldest() {
    let total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const hash of kept.keys()) {
      if (total <= MOST_BYTES || !sizes.has(hash)) return;
      total -= sizes.get(hash);
      kept.delete(hash);
      sizes.delete(hash);
    }
  }

  // Promise of a decoded clip, at the rate of the context.
  function load(context, path, hash) {
    const found = kept.get(hash) ?? decode(context, path, hash);
    kept.delete(hash);
    kept.set(hash, found);
    found.then(forgetOldest, () => kept.delete(hash));
    return found;
  }

  const MOST_GAIN = 20; // dB, up or down: a clip that is all but silent is not made a roar
  const MOST_PEAK = 0.98;

  // Gains that give clips the loudness of one of them, all lowered together where one would be clipped.
  // clips: {loudness, peak} or null; a clip without loudness, as silence, stays as it is.
  function levels(clips, like) {
    const target = clips[like]?.loudness ?? clips.find((clip) => clip?.loudness != null)?.loudness;
    const gains = clips.map((clip) => {
      if (clip?.loudness == null || target == null) return 1;
      return 10 ** (Math.min(Math.max(target - clip.loudness, -MOST_GAIN), MOST_GAIN) / 20);
    });
    const peak = Math.max(...clips.map((clip, index) => gains[index] * (clip?.peak ?? 0)));
    return peak > MOST_PEAK ? gains.map((gain) => (gain * MOST_PEAK) / peak) : gains;
  }

  return { load, levels };
})();
