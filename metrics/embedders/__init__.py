"""Networks that turn audio, and for some text, into vectors: the judges of a benchmark, by name.

This package imports without torch; a judge's own module is imported when the judge is loaded.
"""

from admbench.registry import Registry

BUILTIN = {
    "tiny-tagger": "admbench.metrics.embedders.judges:TinyTagger",
    "tiny-clap": "admbench.metrics.embedders.judges:TinyClap",
    "panns-cnn14-16k": "admbench.metrics.embedders.judges:PannsCnn14At16k",
    "panns-cnn14-32k": "admbench.metrics.embedders.judges:PannsCnn14At32k",
    "laion-clap": "admbench.metrics.embedders.judges:LaionClap",
    "clap-hf": "admbench.metrics.embedders.judges:ClapHuggingFace",
    "vggish": "admbench.metrics.embedders.judges:VGGish",
    "passt": "admbench.metrics.embedders.judges:Passt",
    "msclap": "admbench.metrics.embedders.judges:MsClap",
    "encodec": "admbench.metrics.embedders.judges:Encodec",
    "mert": "admbench.metrics.embedders.judges:Mert",
    "audiobox-aesthetics": "admbench.metrics.embedders.judges:AudioboxAesthetics",
}

registry = Registry("admbench.judges", "judge", BUILTIN)
register = registry.register
