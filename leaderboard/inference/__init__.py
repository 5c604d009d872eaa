"""The engine of inference: what may be concluded from scores, as pure functions on arrays. See docs/conclusions.md.

Names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Influence": "influence",
    "ScoreKind": "scores",
    "score_kind": "scores",
    "caution": "scores",
    "Contrast": "contrasts",
    "contrast": "contrasts",
    "score_interval": "contrasts",
    "AllPairs": "pairs",
    "Pair": "pairs",
    "all_pairs": "pairs",
    "compact_letters": "letters",
    "Margin": "margins",
    "parse_margin": "margins",
    "DEFAULT_MARGINS": "margins",
    "Verdict": "equivalence",
    "judge": "equivalence",
    "Across": "across",
    "across_models": "across",
    "Crossed": "crossed",
    "crossed_mean": "crossed",
    "nearest_sentence": "sentences",
    "across_sentence": "sentences",
    "verdict_sentence": "sentences",
    "conclusion": "sentences",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
