"""Metrics of generated audio: pure functions on arrays, their intervals, and the embedders that feed them.

This package imports without torch; a metric's own module is imported when the metric is asked for.
"""

from admcore.registry import Registry

BUILTIN = {
    "fd": "metrics.frechet:FrechetDistance",
    "kl": "metrics.kl:KLDivergence",
    "is": "metrics.inception:InceptionScore",
    "clap": "metrics.clap:ClapScore",
    "kad": "metrics.kad:KernelAudioDistance",
    "fad_inf": "metrics.fad_infinity:FadInfinity",
    "cas": "metrics.classification_accuracy:ClassificationAccuracy",
    "latent_sqnr": "metrics.latents:LatentSQNR",
    "lmd": "metrics.fidelity:LogMelDistance",
    "mrstft": "metrics.fidelity:MultiResolutionSTFT",
    "snr": "metrics.fidelity:SignalToNoise",
    "clap_audio": "metrics.fidelity:ClapAudioSimilarity",
    "fad": "metrics.fad:FrechetAudioDistance",
}

registry = Registry("bench.metrics", "metric", BUILTIN)
register = registry.register
