"""Windows of one length for CLAP networks, whose own preprocessing crops longer clips at random.

One caption embedding is compared with one audio embedding, so a clip's windows are averaged. Nothing is drawn: the same
clip has the same embedding in every run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 48_000
WINDOW = 10 * SAMPLE_RATE


def windows(waveforms: NDArray[np.float32], window: int = WINDOW, *, whole_repeats: bool = True) -> NDArray[np.float32]:
    """Return the windows of clips: (n, samples) -> (n, k, window).

    A longer clip is cut into consecutive windows, the last of which ends where the clip does, overlapping its
    neighbour.

    Args:
        waveforms: of one length.
        window: samples; the default is ten seconds at 48 kHz.
        whole_repeats: whether a shorter clip is repeated as often as it fits and followed by zeros, as LAION-CLAP was
            trained ("repeatpad"); else it is repeated until the window is full.
    """
    length = waveforms.shape[1]
    if length <= window:
        repeats = window // length if whole_repeats else -(-window // length)
        repeated = np.tile(waveforms, (1, repeats))[:, :window]
        return np.pad(repeated, ((0, 0), (0, window - repeated.shape[1])))[:, None]
    starts = [*range(0, length - window, window), length - window]
    return np.stack([waveforms[:, start : start + window] for start in starts], axis=1)


def embed_windows(
    waveforms: NDArray[np.float32], embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the unit vector along the mean of each clip's window embeddings: (n, samples) at 48 kHz -> (n, dim).

    Args:
        waveforms: in [-1, 1].
        embed: windows (k, 480000) of one clip -> unit vectors (k, dim).
    """
    # What is beyond full scale is clipped and the rest rounded to 16 bits: the networks were trained on such audio.
    pcm = (np.clip(waveforms, -1, 1) * 32767).astype(np.int16).astype(np.float32) / np.float32(32767)
    return mean_of_windows(windows(pcm), embed)


def mean_of_windows(
    cut: NDArray[np.float32], embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the unit vector along the mean of each clip's window embeddings: (n, k, window) -> (n, dim).

    Args:
        cut: windows of n clips.
        embed: windows (k, window) of one clip -> unit vectors (k, dim).
    """
    means = np.stack([embed(of_clip).mean(axis=0) for of_clip in cut])
    unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit
