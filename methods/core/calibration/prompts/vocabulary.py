"""Which words a model knows, found out from nothing but how it embeds text."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from admbench.methods.core.calibration.prompts.request import TextEncoder

NO_WORDS = ("qzxvj", "wkqpfh")
"""Words of no language."""


def known_words(words: Iterable[str], model: TextEncoder) -> frozenset[str]:
    """Return those of the words that the model can tell from a word that does not exist.

    A model of a closed vocabulary hears one and the same unknown token in every word outside of it. It cannot tell two
    words of no language apart, and a word that it cannot tell from these is unknown to it. A model that reads pieces of
    words or letters tells them apart: then all words count as known, and no further word is embedded.
    """
    asked = tuple(dict.fromkeys(words))
    nothing, other = model.embed_text(NO_WORDS)
    if not torch.allclose(nothing, other, rtol=1e-4, atol=1e-6) or not asked:
        return frozenset(asked)
    heard = (model.embed_text(asked) - nothing).norm(dim=1) > 1e-4 * nothing.norm()
    return frozenset(word for word, known in zip(asked, heard.tolist(), strict=True) if known)
