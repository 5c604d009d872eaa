"""Where the documentation tells of a method: what it does step by step, what was measured, what its page found."""

from __future__ import annotations

DOCUMENTATION = "https://admbench.github.io/admbench/"
_OWN_PAGE = ("eda-dm", "efficientdm", "passionsr", "ptq4adm", "ptq4dm", "qncd", "tcaq-dm", "tfmq-dm")
_PAGES = {
    "naive": "methods.html#naive",
    "q-diffusion": "methods.html#q-diffusion",
    "mixup-prompt": "methods/prompts.html#mixed-prompts",
    **{name: f"methods/{name}.html" for name in _OWN_PAGE},
    **dict.fromkeys(
        ("smoothquant", "vidit-q", "convrot", "gptq", "awq", "svdquant", "hqq", "nf4"), "methods/linear.html"
    ),
    **dict.fromkeys(
        ("torchao-int8", "torchao-int4", "quanto-int8", "quanto-int4", "quanto-int2", "nncf-int8"),
        "methods/bridges.html",
    ),
}


def method_docs(name: str) -> str | None:
    """Return the address of the page that tells of a method of this package, None of another package's.

    >>> method_docs("qncd"), method_docs("mine")
    ('https://admbench.github.io/admbench/methods/qncd.html', None)
    """
    return DOCUMENTATION + _PAGES[name] if name in _PAGES else None
