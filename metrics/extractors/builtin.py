"""The extractors that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from admbench.metrics.extractors.base import AudioExtractor, Batch, CaptionExtractor, Extractor
from admbench.metrics.window_moments import moments


class Embedding(AudioExtractor):
    """One vector a clip, for distances between sets of clips."""

    name = "embedding"
    summary = "One vector a clip, of the tagger"
    role = "tagger"
    missing = "the {whose} clips have no embeddings"

    def extract(self, batch: Batch, judge: Any) -> NDArray[Any] | None:
        """See the base class."""
        return batch.embedded_by(judge).embedding


class Logits(AudioExtractor):
    """Class logits, before softmax."""

    name = "logits"
    summary = "Class logits of the tagger, before softmax"
    role = "tagger"
    missing = "the {whose} clips have no class logits"

    def extract(self, batch: Batch, judge: Any) -> NDArray[Any] | None:
        """See the base class."""
        return batch.embedded_by(judge).logits


class WindowMoments(AudioExtractor):
    """First and second moments of each clip's windows; see `admbench.metrics.window_moments`."""

    name = "window_moments"
    summary = "Moments of the vectors of a clip's windows, of a tagger that embeds windows"
    role = "tagger"
    missing = "the {whose} clips have no embeddings of windows: the tagger embeds a clip as a whole; vggish does not"

    def extract(self, batch: Batch, judge: Any) -> NDArray[Any] | None:
        """See the base class."""
        windows = batch.embedded_by(judge).windows
        return None if windows is None else moments(windows)


class ClapAudio(AudioExtractor):
    """Unit vectors of audio in the space that it shares with captions."""

    name = "clap_audio"
    summary = "Unit vector a clip, in the space that the CLAP network shares with captions"
    role = "clap"
    missing = "the {whose} clips have no CLAP embeddings"

    def extract(self, batch: Batch, judge: Any) -> NDArray[Any] | None:
        """See the base class."""
        return batch.embedded_by(judge).embedding


class ClapText(CaptionExtractor):
    """Unit vectors of captions."""

    name = "clap_text"
    summary = "Unit vector a caption, in the space that the CLAP network shares with audio"
    role = "clap"
    missing = "the {whose} clips have no captions"

    def extract(self, captions: Sequence[str], judge: Any) -> NDArray[Any] | None:
        """See the base class."""
        vectors: NDArray[Any] = judge.embed_text(captions)
        return vectors


class Aesthetics(AudioExtractor):
    """(n, 4), predicted ratings: content enjoyment and usefulness, production complexity and quality."""

    name = "aesthetics"
    summary = "Predicted ratings of a clip on the four axes of Audiobox-Aesthetics"
    role = "aesthetics"
    missing = "the {whose} clips have no predicted ratings"

    def extract(self, batch: Batch, judge: Any) -> NDArray[Any] | None:
        """See the base class."""
        return batch.embedded_by(judge).embedding


class Levels(Extractor):
    """(n, 3), root mean square, share of samples at full scale, seconds, at a clip's own rate; every clip has them."""

    name = "levels"
    summary = "Root mean square, share of samples at full scale, and seconds of a clip"
    missing = "the {whose} clips have no levels"


class Files(Extractor):
    """`Features.files`: where the clips lie, for metrics of waveforms."""

    name = "files"
    summary = "The audio files themselves, for metrics of waveforms"
    missing = "the {whose} clips have no audio files"


class Latents(Extractor):
    """(n, steps), how far latents are from full precision's in dB, with `timesteps` (n, steps) beside it."""

    name = "latents"
    summary = "SQNR of latents after each denoising step in dB; a run has it of its first captions"
    missing = "only a run has latents along the denoising trajectory"
    compares = True
