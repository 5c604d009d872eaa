"""Metrics of generated audio: pure functions on arrays, their intervals, and the embedders that feed them.

This package imports without torch; a metric's own module is imported when the metric is asked for.
"""

from admbench.registry import Registry

BUILTIN = {
    "fd": "admbench.metrics.frechet:FrechetDistance",
    "kl": "admbench.metrics.kl:KLDivergence",
    "is": "admbench.metrics.inception:InceptionScore",
    "clap": "admbench.metrics.clap:ClapScore",
    "kad": "admbench.metrics.kad:KernelAudioDistance",
    "fad_inf": "admbench.metrics.fad_infinity:FadInfinity",
    "cas": "admbench.metrics.classification_accuracy:ClassificationAccuracy",
    "latent_sqnr": "admbench.metrics.latents:LatentSQNR",
    "lmd": "admbench.metrics.fidelity:LogMelDistance",
    "mrstft": "admbench.metrics.fidelity:MultiResolutionSTFT",
    "snr": "admbench.metrics.fidelity:SignalToNoise",
    "clap_audio": "admbench.metrics.fidelity:ClapAudioSimilarity",
    "fad": "admbench.metrics.fad:FrechetAudioDistance",
    "audiobox_ce": "admbench.metrics.aesthetics:ContentEnjoyment",
    "audiobox_cu": "admbench.metrics.aesthetics:ContentUsefulness",
    "audiobox_pq": "admbench.metrics.aesthetics:ProductionQuality",
    "zimtohrli": "admbench.metrics.zimtohrli:Zimtohrli",
    "visqol": "admbench.metrics.visqol:Visqol",
    "side_level": "admbench.metrics.stereo:SideLevel",
    "level_difference": "admbench.metrics.stereo:LevelDifference",
    "channel_correlation": "admbench.metrics.stereo:ChannelCorrelation",
}

DEFAULT = ("fd", "kl", "is", "clap", "zimtohrli")
"""What a run computes where no metrics are named."""

registry = Registry("admbench.metrics", "metric", BUILTIN)
register = registry.register
