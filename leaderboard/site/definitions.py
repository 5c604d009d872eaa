"""What the scores mean, in the words of the page; a score that is not listed shows its own key."""

from dataclasses import dataclass, replace

from admbench.judged import judge_of, without_judge
from admbench.leaderboard.record import Score


@dataclass(frozen=True)
class Definition:
    """Short label and one-paragraph meaning of a score."""

    label: str
    meaning: str


_DEFINITIONS = {
    "fd": Definition(
        "FD",
        "Fréchet distance between Gaussians fitted to the embeddings of the generated clips and of the real clips. "
        "It falls as the number of clips grows, so it is compared only at the same n.",
    ),
    "kl": Definition(
        "KL",
        "Mean Kullback-Leibler divergence between the event probabilities of each pair of clips, real and generated "
        "for the same caption, in the direction given.",
    ),
    "is": Definition(
        "IS",
        "Inception score: exp of the mean divergence between each clip's event probabilities and their average. High "
        "if clips are clear and varied; it looks at no caption and cannot exceed the number of clips in a split.",
    ),
    "clap": Definition(
        "CLAP",
        "Mean cosine between the embedding of the caption and the embedding of its clip, as it is, not times 100.",
    ),
    "kad": Definition(
        "KAD",
        "Kernel audio distance: unbiased squared maximum mean discrepancy of embeddings under a Gaussian kernel, times "
        "100. Its mean does not depend on the number of clips; 0 if the two distributions are the same, so values near "
        "it can be negative.",
    ),
    "fad_inf": Definition(
        "FAD-inf",
        "Fréchet distance extrapolated to infinitely many clips by a line over 1/n; can be negative. Its bias is "
        "smaller and its interval longer than FD's.",
    ),
    "fad": Definition(
        "FAD",
        "Fréchet audio distance: Fréchet distance of the embeddings of all windows of the clips, instead of one for "
        "each clip.",
    ),
    "cas": Definition(
        "CAS",
        "Classification accuracy score: share of the real clips that a classifier trained on the generated clips "
        "classifies rightly.",
    ),
    "fd_vs_baseline": Definition(
        "FD to fp32", "Fréchet distance to the full-precision model's own output for the same captions and seeds."
    ),
    "audiobox_ce": Definition(
        "Enjoyment", "Content enjoyment, about 1 to 10, as Audiobox-Aesthetics predicts a listener to rate it."
    ),
    "audiobox_cu": Definition(
        "Usefulness", "Content usefulness, about 1 to 10, as Audiobox-Aesthetics predicts a listener to rate it."
    ),
    "audiobox_pq": Definition(
        "Quality", "Production quality, about 1 to 10, as Audiobox-Aesthetics predicts a listener to rate it."
    ),
    "zimtohrli_vs_baseline": Definition(
        "Zimtohrli to fp32",
        "Psychoacoustic distance at 48 kHz to the full-precision model's clip for the same caption and seed, mean over "
        "captions. Its authors map 0 to a mean opinion score of 5, 0.0026 to 4.5 and 0.0056 to 4; they made it for "
        "audio codecs, for differences that are just heard.",
    ),
    "kl_vs_baseline": Definition(
        "KL to fp32", "Mean divergence to the full-precision model's own output for the same caption and seed."
    ),
    "fad_inf_vs_baseline": Definition(
        "FAD-inf to fp32",
        "Extrapolated Fréchet distance to the full-precision model's own output for the same captions and seeds.",
    ),
    "fad_vs_baseline": Definition(
        "FAD to fp32",
        "Fréchet audio distance to the full-precision model's own output for the same captions and seeds.",
    ),
    "lmd_vs_baseline": Definition(
        "LMD to fp32",
        "Log-mel distance in dB between the clip and the full-precision model's for the same caption and seed, mean "
        "over captions.",
    ),
    "mrstft_vs_baseline": Definition(
        "MR-STFT to fp32",
        "Multi-resolution STFT distance (spectral convergence plus log magnitude) to the full-precision model's clip "
        "for the same caption and seed, mean over captions.",
    ),
    "snr_vs_baseline": Definition(
        "SNR to fp32",
        "Signal-to-noise ratio of the waveform in dB, the signal being the full-precision model's clip for the same "
        "caption and seed, mean over captions.",
    ),
    "clap_audio_vs_baseline": Definition(
        "CLAP audio to fp32",
        "Mean cosine between the CLAP embeddings of the clip and of the full-precision model's for the same caption "
        "and seed.",
    ),
    "visqol_vs_baseline": Definition(
        "ViSQOL to fp32",
        "Mean opinion score (1 to 5) by ViSQOL v3 in audio mode, held against the full-precision model's clip for the "
        "same caption and seed, mean over captions; equal clips have 4.73. It was made for audio codecs.",
    ),
    "side_level_vs_baseline": Definition(
        "Side level to fp32",
        "Change in dB of the side's share of a stereo clip, held against the full-precision model's, mean over "
        "captions.",
    ),
    "level_difference_vs_baseline": Definition(
        "Left/right to fp32",
        "Change in dB of the left channel's level over the right one's, held against the full-precision model's, mean "
        "over captions.",
    ),
    "channel_correlation_vs_baseline": Definition(
        "Correlation to fp32",
        "Change of the correlation of a stereo clip's channels, held against the full-precision model's, mean over "
        "captions.",
    ),
    "latent_sqnr_vs_baseline": Definition(
        "Latent SQNR",
        "Signal-to-quantization-noise ratio of the last latents in dB, the full-precision model's for the same caption "
        "and noise being the signal; the record has it for every step.",
    ),
    "kad_vs_baseline": Definition(
        "KAD to fp32", "Kernel audio distance to the full-precision model's own output for the same captions and seeds."
    ),
}
FAMILIES = {
    "floating point": "nothing is rounded to codes",
    "rounding": "weights go to the nearest code, whatever range or code book is chosen for it",
    "block reconstruction": "rounding is learned so that the output of each block is kept",
    "Hessian": "weights make up for the error of others, by second moments of the input",
    "transform": "an equivalent network that is easier to round, such as with scales moved from inputs to weights",
    "low rank": "a part of low rank stays in floating point",
    "fine-tuning": "the network is trained",
    "package": "what another package does, by its own rules",
}
"""What methods of a family do to weights: `admbench.taxonomy`."""
_AGAINST = {"reference": "against real audio", "baseline": "against full precision", None: "needs no reference"}


def definition(key: str) -> Definition:
    """Label and meaning of a score key; one of a further judge is called as the first's, with the judge's name."""
    if judge := judge_of(key):
        first = definition(without_judge(key))
        return replace(first, label=f"{first.label} [{judge}]", meaning=f"{first.meaning} Judged by {judge}.")
    return _DEFINITIONS.get(key, Definition(key, "A metric of a plug-in; see the plug-in's documentation."))


def against(score: Score) -> str:
    """What the score is computed against, with the order of its arguments: `real ‖ generated` for KL."""
    return (score.direction or "").replace("||", "‖") or _AGAINST[score.against]
