// Several clips on one clock. All start in the same instant and run on, heard or not; switching moves gains alone, so
// nothing is started, stopped or sought. Works in an AudioContext and, for tests, in an OfflineAudioContext.
"use strict";

(globalThis.listening ??= {}).OneClock = (() => {
  const FADE = 0.005; // s, of a switch: linear, as clips of one caption are alike and their gains must add up to 1
  const AHEAD = 0.01; // s: what is asked for now begins this much later, when every node has been told

  // A gain whose value at any time is known here, as AudioParam.value is not that of the moment a ramp begins.
  class Fader {
    constructor(context, value) {
      this.node = context.createGain();
      this.node.gain.setValueAtTime(value, 0);
      this.from = this.to = value;
      this.begin = this.end = 0;
    }

    at(time) {
      if (time >= this.end) return this.to;
      if (time <= this.begin) return this.from;
      return this.from + ((this.to - this.from) * (time - this.begin)) / (this.end - this.begin);
    }

    move(to, begin, seconds = FADE) {
      const from = this.at(begin), gain = this.node.gain;
      gain.cancelScheduledValues(begin);
      gain.linearRampToValueAtTime(from, begin); // along the ramp that may still be under way
      gain.linearRampToValueAtTime(to, begin + seconds);
      Object.assign(this, { from, to, begin, end: begin + seconds });
    }
  }

  // All clips, started once at one offset.
  class Voice {
    constructor(clock, offset, begin) {
      const { context } = clock;
      Object.assign(this, { offset, begin, loop: clock.loop, region: clock.region, length: clock.length });
      this.whole = new Fader(context, 0);
      this.whole.node.connect(context.destination);
      this.faders = clock.buffers.map((_, index) => new Fader(context, clock.gainOf(index)));
      this.sources = clock.buffers.map((buffer, index) => {
        if (!buffer) return null;
        const source = context.createBufferSource();
        source.buffer = buffer;
        source.loop = this.loop;
        [source.loopStart, source.loopEnd] = this.region;
        source.connect(this.faders[index].node).connect(this.whole.node);
        source.start(begin, offset);
        return source;
      });
      this.whole.move(1, begin);
    }

    position(time) {
      const at = this.offset + Math.max(0, time - this.begin), [low, high] = this.region;
      if (!this.loop) return Math.min(at, this.length);
      return at < high ? at : low + ((at - low) % (high - low));
    }

    end(time) {
      this.whole.move(0, time);
      for (const source of this.sources) source?.stop(time + FADE);
    }
  }

  return class OneClock {
    // onend: called when clips that do not loop have come to their end.
    constructor(context, onend = () => {}) {
      Object.assign(this, { context, onend, buffers: [], levels: [], selected: 0, loop: false, offset: 0, length: 0 });
      this.region = [0, 0];
      this.voice = null;
    }

    static get FADE() { return FADE; }

    // Takes the clips of a caption, null where there is none; all are made as long as the longest, so that they loop alike.
    put(buffers) {
      this.stop();
      this.length = Math.max(0, ...buffers.map((buffer) => buffer?.duration ?? 0));
      this.buffers = buffers.map((buffer) => buffer && this.#padded(buffer));
      this.levels = buffers.map(() => 1);
      this.region = [0, this.length];
      this.offset = 0;
    }

    #padded(buffer) {
      const frames = Math.round(this.length * buffer.sampleRate);
      if (buffer.length >= frames) return buffer;
      const padded = this.context.createBuffer(buffer.numberOfChannels, frames, buffer.sampleRate);
      for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
        padded.copyToChannel(buffer.getChannelData(channel), channel);
      }
      return padded;
    }

    gainOf(index) { return index === this.selected ? this.levels[index] ?? 1 : 0; }

    get playing() { return this.voice !== null; }

    get #soon() { return this.context.currentTime + AHEAD; }

    // Position in seconds of what is heard now.
    get position() {
      if (!this.voice) return this.offset;
      return this.voice.position(this.context.currentTime - (this.context.outputLatency || 0));
    }

    select(index) {
      this.selected = index;
      this.#fade();
    }

    // Gains of the clips, as for one loudness.
    setLevels(levels) {
      this.levels = levels;
      this.#fade();
    }

    #fade() {
      if (!this.voice) return;
      const begin = this.#soon;
      this.voice.faders.forEach((fader, index) => fader.move(this.gainOf(index), begin));
    }

    start(offset = this.offset) {
      const begin = this.#soon;
      this.voice?.end(begin);
      const last = this.loop ? this.region[1] : this.length;
      const voice = new Voice(this, offset < last ? Math.max(0, offset) : this.region[0], begin);
      this.voice = voice;
      const longest = voice.sources.find((source) => source);
      if (longest) longest.onended = () => this.#ended(voice);
    }

    #ended(voice) {
      if (this.voice !== voice) return;
      this.voice = null;
      this.offset = 0;
      this.onend();
    }

    stop() {
      this.offset = this.position;
      this.voice?.end(this.#soon);
      this.voice = null;
    }

    seek(offset) {
      this.offset = Math.min(Math.max(0, offset), this.length);
      if (this.voice) this.start(this.offset);
    }

    // Loops the whole clip, or the part between two positions.
    setLoop(loop, region = [0, this.length]) {
      Object.assign(this, { loop, region });
      if (this.voice) this.start(this.voice.position(this.#soon)); // goes on where it is
    }
  };
})();
