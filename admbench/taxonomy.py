"""What kinds of quantization methods there are: the words that a method's class, its record and lists use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Track = Literal["post-training", "fine-tuned"]
"""`post-training`: rounding decisions and ranges are found, layer by layer or block by block. `fine-tuned`: the weights
of the whole network are trained, be it on its own outputs; its cells are not held against the former without saying so.
"""

Family = Literal[
    "floating point",
    "rounding",
    "block reconstruction",
    "Hessian",
    "transform",
    "low rank",
    "fine-tuning",
    "package",
    "other",
]
"""What a method does to weights, the main thing of several:

- `floating point`: nothing is rounded to codes; full precision is one of these;
- `rounding`: to the nearest code, whatever range or code book is chosen for it;
- `block reconstruction`: rounding is learned so that a block's output is kept (AdaRound, BRECQ and what follows them);
- `Hessian`: weights make up for the error of others, by second moments of the input (OBQ and what follows it);
- `transform`: an equivalent network that is easier to round, such as scales moved from inputs to weights;
- `low rank`: a part of low rank stays in floating point;
- `fine-tuning`: the network is trained;
- `package`: what another package does, by its own rules.
"""

Difficulty = Literal["channel outliers", "heavy-tailed weights", "drifting ranges", "shifted inputs"]
"""What makes a network hard to quantize, and what a method may claim to handle; `bench stress` holds it to that.

- `channel outliers`: some channels of a layer's input are much larger than the others;
- `heavy-tailed weights`: some columns of a weight are much larger than the others;
- `drifting ranges`: inputs are wider at one end of the timesteps than at the other;
- `shifted inputs`: an input is of one sign, and as wide as one of both.
"""

Read = Literal["whole", "abstract"]
"""`abstract`: nothing else of the paper could be read, and the method is reconstructed from it."""

TRACKS: tuple[str, ...] = get_args(Track)
FAMILIES: tuple[str, ...] = get_args(Family)
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)


@dataclass(frozen=True)
class Paper:
    """What a method is from: a paper, or a package or a text where there is no paper.

    >>> Paper("Frantar et al., GPTQ, ICLR 2023", "https://arxiv.org/abs/2210.17323").citation
    'Frantar et al., GPTQ, ICLR 2023'

    Raises:
        ValueError: the citation is empty or has several lines, or the address is none of the web.
    """

    citation: str
    """Authors, title, place and year, on one line."""
    url: str | None = None
    """Where it is read: an arXiv page where there is one; None if it is nowhere on the web."""
    read: Read = "whole"
    """How much of it the implementation rests on."""

    def __post_init__(self) -> None:
        if not self.citation.strip() or "\n" in self.citation:
            raise ValueError(f"citation: expected one line, found {self.citation!r}")
        if self.url is not None and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"url: expected one that starts with https://, found {self.url!r}")


def arxiv(number: str, citation: str, read: Read = "whole") -> Paper:
    """Return a paper that is on arXiv, and how much of it the implementation rests on.

    >>> arxiv("2210.17323", "Frantar et al., GPTQ, ICLR 2023").url
    'https://arxiv.org/abs/2210.17323'
    """
    return Paper(citation, f"https://arxiv.org/abs/{number}", read)
