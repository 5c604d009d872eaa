"""Clips on the listening page: FLAC inside of a script, with loudness and peak.

A page that is opened from disk may not fetch, and what an audio element plays from there reaches Web Audio as zeros.
A script is loaded, so each clip is one, named by the hash of its WAV file. FLAC keeps every sample.
"""

from __future__ import annotations

import base64
import io
import json

import numpy as np

from admbench.leaderboard.clips import Pcm
from admbench.leaderboard.loudness import loudness
from admbench.leaderboard.site.listening_data import HeardClip

MOST_SECONDS = 60.0
MOST_CHANNELS = 2


def describe(pcm: Pcm, scores: dict[str, float]) -> HeardClip:
    """Return what the page knows of a clip; without a hash, and with the reason, of one that it cannot play."""
    frames, channels = pcm.samples.shape
    if channels > MOST_CHANNELS:
        return HeardClip(missing=f"{channels} channels; the page plays one or two", scores=scores)
    if pcm.seconds > MOST_SECONDS:
        return HeardClip(
            missing=f"{pcm.seconds:.0f} s long; the page plays {MOST_SECONDS:.0f} s at most", scores=scores
        )
    samples = pcm.samples / 32768
    level = loudness(samples, pcm.rate)
    return HeardClip(
        sha256=pcm.sha256,
        seconds=frames / pcm.rate,
        rate=pcm.rate,
        channels=channels,
        loudness=None if level is None else round(level, 2),
        peak=round(float(np.abs(samples).max()), 5),
        scores=scores,
    )


def clip_path(sha256: str) -> str:
    """Return the path of a clip's script from the root of the site."""
    return f"clips/{sha256}.js"


def clip_script(pcm: Pcm) -> str:
    """Return the script that holds a clip as FLAC: it puts base64 text into `boardClips`, by the hash."""
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, pcm.samples, pcm.rate, format="FLAC", subtype="PCM_16")
    text = base64.b64encode(encoded.getvalue()).decode("ascii")
    return f'"use strict";(globalThis.boardClips??={{}})[{json.dumps(pcm.sha256)}]="{text}";\n'
