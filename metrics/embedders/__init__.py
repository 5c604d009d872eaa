"""Networks that turn audio, and for some text, into vectors: the judges of a benchmark, by name.

This package imports without torch; a judge's own module is imported when the judge is loaded.
"""

from admcore.registry import Registry

BUILTIN = {
    "tiny-tagger": "metrics.embedders.judges:TinyTagger",
    "tiny-clap": "metrics.embedders.judges:TinyClap",
    "panns-cnn14-16k": "metrics.embedders.judges:PannsCnn14At16k",
    "panns-cnn14-32k": "metrics.embedders.judges:PannsCnn14At32k",
    "laion-clap": "metrics.embedders.judges:LaionClap",
    "clap-hf": "metrics.embedders.judges:ClapHuggingFace",
    "vggish": "metrics.embedders.judges:VGGish",
    "passt": "metrics.embedders.judges:Passt",
}

registry = Registry("bench.judges", "judge", BUILTIN)
register = registry.register
