"""What a page says of a method beside its cells: a paragraph, where the documentation tells of it, what that found.

The paragraph is the docstring of the method's class, read from the source of the package, which is not imported for
it: a site is built without torch. What was found is a sentence of the documentation, word for word.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

DOCUMENTATION = "https://admbench.github.io/admbench/"
GROUP = "admbench.methods"
"""Entry points of methods."""

_MEASURED_BEFORE = (
    "Measured with the version before: batches were drawn with replacement, where a step now takes each sample at most "
    "once."
)
_LINEAR = (
    "At W4A8 svdquant is told to be nearer to full precision than rounding to nearest on all three of the embedded "
    "U-Nets, gptq on tiny-audioldm, at 6.2 to 7.8 MB and at 2.7 to 3.4 MB (naive: 2.6 to 3.2); smoothquant and awq "
    "on none, and vidit-q is further away, told on tiny-tango. For weights alone gptq is on tiny-audioldm, hqq on "
    "tiny-audioldm and tiny-make-an-audio, awq and nf4 on none.",
)
_BRIDGES = (
    "torchao is close to full precision because it leaves two thirds of the network there. No bridge makes a small "
    "backbone faster on a CPU: eager torch rounds, multiplies and rescales in separate passes, and int4 and NNCF "
    "convert at every call.",
)


@dataclass(frozen=True)
class DocsPage:
    """Where the documentation tells of a method."""

    page: str
    """From the root of the documentation, with the anchor of its part."""
    found: tuple[str, ...] = ()
    """Passages of it, word for word but for code marks."""

    @property
    def url(self) -> str:
        """Its address."""
        return DOCUMENTATION + self.page

    @property
    def paragraphs(self) -> list[str]:
        """The passages, those of one list, and what leads to it, in one paragraph."""
        return re.sub(r"(?<=[:;])\n", " ", "\n".join(self.found)).splitlines()


_PAGES = {
    "naive": DocsPage("methods.html#naive"),
    "q-diffusion": DocsPage(
        "methods.html#q-diffusion",
        (
            "Since version 2 no sample comes twice in a batch, as in the released code. With 48 captions, one draw and "
            "preset quick its distance to full precision is 0.25 [0.11, 0.56] of naive@w4a8's on tiny-audioldm, 0.61 "
            "[0.44, 0.86] on tiny-tango and 0.71 [0.41, 1.23] on tiny-make-an-audio: there FD cannot tell it from "
            "rounding, where version 1 was told apart.",
        ),
    ),
    "mixup-prompt": DocsPage("methods/prompts.html#mixed-prompts"),
    "eda-dm": DocsPage(
        "methods/eda-dm.html",
        (
            "By the latents it is nearer on all three, by 6.0, 3.7, 4.3 dB; by FD on none beyond doubt. Compared "
            "with q-diffusion (0.70, 0.51, 0.62) its parts gain nothing that could be told here.",
        ),
    ),
    "tfmq-dm": DocsPage(
        "methods/tfmq-dm.html",
        (
            "By the latents it is nearer on all three, by 5.6, 2.6, 5.0 dB; by FD on none beyond doubt. A range per "
            "timestep gains little where inputs have 8 bits: weights do the damage at W4A8.",
        ),
    ),
    "tcaq-dm": DocsPage(
        "methods/tcaq-dm.html",
        (
            "Compared with q-diffusion (0.70, 0.51, 0.62) it gains nothing that could be told. Its parts treat the "
            "ranges of inputs and of attention weights, and that is not where W4A8 loses on these models.",
        ),
    ),
    "ptq4dm": DocsPage(
        "methods/ptq4dm.html",
        (
            "Compared with it, ptq4dm is further away on all three in the mean: normally distributed steps show no "
            "gain of their own here.",
        ),
    ),
    "ptq4adm": DocsPage(
        "methods/ptq4adm.html",
        (
            "The two numbers of the abstract become measurements:",
            "size: 1 - bytes / bytes in fp32 of the backbone, packed on disk, is at least 0.70;",
            "FD: the increase of FD against the reference over that of the full-precision model, as a share of the "
            "latter, is below 0.05.",
            "So the first claim holds on all three, the second on two; on tiny-audioldm 96 captions and three draws "
            "do not tell.",
        ),
    ),
    "qncd": DocsPage(
        "methods/qncd.html",
        (
            "By FD it is told from rounding on none, by the latents it is nearer on all three, by 6.3, 4.4, 4.2 dB.",
            "It gains nothing here, and on tiny-audioldm the latents are further away with it.",
        ),
    ),
    "efficientdm": DocsPage(
        "methods/efficientdm.html",
        (
            "Closer than naive?",
            "So by FD it cannot be told. In the mean the latents are closer on all three, by 3.6, 0.5, 2.6 dB.",
        ),
    ),
    "passionsr": DocsPage(
        "methods/passionsr.html",
        (
            "Closer than naive?",
            _MEASURED_BEFORE,
            "On the model of few steps it is, by FD. By KL and by latents the intervals leave it open.",
        ),
    ),
    **dict.fromkeys(
        ("smoothquant", "vidit-q", "gptq", "awq", "svdquant", "hqq", "nf4"),
        DocsPage("methods/linear.html", _LINEAR),
    ),
    **dict.fromkeys(
        ("convrot", "sqd", "qera", "svdquant-gptq", "q-dit"),
        DocsPage(
            "methods/linear.html",
            ("convrot, sqd, qera, svdquant-gptq and q-dit were measured on a transformer.",),
        ),
    ),
    "dirotq": DocsPage(
        "methods/linear.html",
        (
            "At W4A4 it is nearest of all on tiny-dit: 17.7 dB of the prediction, where svdquant has 14.3 and "
            "svdquant-gptq 14.9",
        ),
    ),
    **dict.fromkeys(
        (
            "torchao-int8",
            "torchao-int4",
            "quanto-int8",
            "quanto-int4",
            "quanto-int2",
            "nncf-int8",
            "sdnq-int8",
            "sdnq-int4",
            "modelopt-int8",
        ),
        DocsPage("methods/bridges.html", _BRIDGES),
    ),
    **dict.fromkeys(
        ("ready-made", "diffusers-quantized"), DocsPage("methods/bridges.html#checkpoints-that-others-made")
    ),
}


def method_docs(name: str) -> DocsPage | None:
    """Return the page that tells of a method of this package, None of another package's.

    >>> method_docs("qncd").url
    'https://admbench.github.io/admbench/methods/qncd.html'
    >>> method_docs("mine") is None
    True
    """
    return _PAGES.get(name)


@dataclass(frozen=True)
class Described:
    """A method in the words of its class."""

    text: str
    """The docstring's paragraphs, each on one line, a line break between them."""
    version: str | None
    """Of the method that they describe."""


@cache
def described(name: str) -> Described | None:
    """Return what the class of a method of this package says of itself; None of another package's method.

    >>> described("naive").text[:60]
    'Round every weight and every layer input to the nearest of 2'
    """
    target = _targets().get(name, "")
    module, _, symbol = target.partition(":")
    if not module.startswith(f"{GROUP}."):
        return None  # reading another package's source would run a part of it
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    own = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == symbol), None)
    text = ast.get_docstring(own) if own else None
    if own is None or not text:
        return None
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return Described("\n".join(_plain(one) for one in paragraphs), _version(own))


@cache
def _targets() -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)}


def _version(own: ast.ClassDef) -> str | None:
    """Return the string that the body of a class gives to `version`."""
    for node in own.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and _named(node) == ["version"]:
            return str(node.value.value)
    return None


def _named(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _plain(text: str) -> str:
    """Return a text without code marks."""
    return re.sub(r"`([^`]*)`", r"\1", text)
