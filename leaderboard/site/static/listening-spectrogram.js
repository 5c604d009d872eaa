// Spectrograms of decoded clips: mel-spaced frequency over time, in decibels, on one scale for a caption.
"use strict";

(globalThis.listening ??= {}).spectrogram = (() => {
  const COLUMNS = 300, ROWS = 112;
  const WINDOW_SECONDS = 0.032;

  // In-place complex FFT of a power of two.
  function fft(real, imaginary) {
    const n = real.length;
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) {
        [real[i], real[j]] = [real[j], real[i]];
        [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
      }
    }
    for (let size = 2; size <= n; size *= 2) {
      const step = (-2 * Math.PI) / size, half = size / 2;
      for (let k = 0; k < half; k++) {
        const cosine = Math.cos(step * k), sine = Math.sin(step * k);
        for (let i = k; i < n; i += size) {
          const j = i + half;
          const re = real[j] * cosine - imaginary[j] * sine, im = real[j] * sine + imaginary[j] * cosine;
          real[j] = real[i] - re;
          imaginary[j] = imaginary[i] - im;
          real[i] += re;
          imaginary[i] += im;
        }
      }
    }
  }

  const mel = (frequency) => 2595 * Math.log10(1 + frequency / 700);
  const hertz = (mels) => 700 * (10 ** (mels / 2595) - 1);

  // Height of a frequency in the picture: 0 at the bottom, 1 at `top` Hz.
  const height = (frequency, top) => mel(frequency) / mel(top);

  // Power in dB of the mean over channels, Float32Array (ROWS * COLUMNS), row 0 at 0 Hz and the last at `top` Hz, over
  // `seconds`. Left and right go through one transform as real and imaginary part: their powers add up.
  function decibels(buffer, top, seconds) {
    const rate = buffer.sampleRate, channels = buffer.numberOfChannels;
    const length = Math.max(16, Math.round(WINDOW_SECONDS * rate));
    const size = 2 ** Math.ceil(Math.log2(length * 2));
    const window = Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
    const left = buffer.getChannelData(0), right = channels > 1 ? buffer.getChannelData(1) : null;
    const bin = (row) => Math.min(Math.max((hertz((mel(top) * row) / (ROWS - 1)) * size) / rate, 0), size / 2 - 1);
    const rows = Array.from({ length: ROWS }, (_, row) => [bin(row), Math.ceil(bin(row - 0.5)), bin(row + 0.5)]);
    const real = new Float64Array(size), imaginary = new Float64Array(size), power = new Float64Array(size / 2 + 1);
    const scale = 4 / (channels * length * length); // a sine of amplitude 1 has -3 dB
    const found = new Float32Array(ROWS * COLUMNS);
    for (let column = 0; column < COLUMNS; column++) {
      const begin = Math.round(((column + 0.5) / COLUMNS) * seconds * rate - length / 2);
      real.fill(0);
      imaginary.fill(0);
      for (let i = 0; i < length; i++) {
        real[i] = (left[begin + i] ?? 0) * window[i];
        if (right) imaginary[i] = (right[begin + i] ?? 0) * window[i];
      }
      fft(real, imaginary);
      for (let k = 0; k <= size / 2; k++) {
        const mirror = (size - k) % size;
        power[k] = scale * (real[k] ** 2 + imaginary[k] ** 2 + real[mirror] ** 2 + imaginary[mirror] ** 2);
      }
      for (let row = 0; row < ROWS; row++) {
        const [centre, first, last] = rows[row], below = Math.floor(centre), share = centre - below;
        let most = (1 - share) * power[below] + share * power[below + 1];
        for (let k = first; k < last; k++) most = Math.max(most, power[k]); // no tone falls between rows
        found[row * COLUMNS + column] = 10 * Math.log10(most + 1e-12);
      }
    }
    return found;
  }

  const largest = (values) => values.reduce((most, value) => Math.max(most, value), -Infinity);

  // `loudest` - range .. `loudest`, from the first colour to the last.
  const shades = (values, loudest, range) => values.map((value) => (value - loudest) / range + 1);

  // Decibels above full precision, -reach .. reach; what both have below the darkest colour is no difference.
  function differences(values, full, floor, reach) {
    return values.map((value, index) => 0.5 + (Math.max(value, floor) - Math.max(full[index], floor)) / (2 * reach));
  }

  // 256 colours of six hex digits each, as bytes.
  function colours(text) {
    return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
  }

  // Draws shades in [0, 1], low frequencies at the bottom.
  function paint(canvas, values, map) {
    canvas.width = COLUMNS;
    canvas.height = ROWS;
    const context = canvas.getContext("2d"), image = context.createImageData(COLUMNS, ROWS);
    for (let row = 0; row < ROWS; row++) {
      for (let column = 0; column < COLUMNS; column++) {
        const value = values[(ROWS - 1 - row) * COLUMNS + column];
        const colour = 3 * Math.round(255 * Math.min(Math.max(value, 0), 1)), at = 4 * (row * COLUMNS + column);
        image.data.set([map[colour], map[colour + 1], map[colour + 2], 255], at);
      }
    }
    context.putImageData(image, 0, 0);
  }

  return { COLUMNS, ROWS, decibels, differences, shades, largest, colours, paint, height, hertz, mel };
})();
