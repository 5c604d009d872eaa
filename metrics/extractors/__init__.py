"""What metrics read: extractors turn clips and captions into arrays, one row a clip, by name.

This package imports without torch. Networks are no part of it: an extractor reads the one that a run has for its role.
"""

from admbench.registry import Registry

BUILTIN = {
    "embedding": "admbench.metrics.extractors.builtin:Embedding",
    "logits": "admbench.metrics.extractors.builtin:Logits",
    "window_moments": "admbench.metrics.extractors.builtin:WindowMoments",
    "clap_audio": "admbench.metrics.extractors.builtin:ClapAudio",
    "clap_text": "admbench.metrics.extractors.builtin:ClapText",
    "aesthetics": "admbench.metrics.extractors.builtin:Aesthetics",
    "levels": "admbench.metrics.extractors.builtin:Levels",
    "files": "admbench.metrics.extractors.builtin:Files",
    "latents": "admbench.metrics.extractors.builtin:Latents",
}

registry = Registry("admbench.extractors", "extractor", BUILTIN)
register = registry.register
