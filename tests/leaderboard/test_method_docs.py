"""What a method's page says of it: the words of its class, and passages that the documentation really has."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from admbench.leaderboard.site.method_docs import GROUP, described, method_docs

DOCS = Path(__file__).parents[2] / "docs"
OURS = sorted(point.name for point in metadata.entry_points(group=GROUP) if point.value.startswith(f"{GROUP}."))


def plain(markdown: str) -> str:
    """Text on one line, without code marks, stress and the addresses of links."""
    return " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", markdown).split())


@pytest.mark.parametrize("name", [name for name in OURS if method_docs(name)])
def test_what_the_documentation_found_stands_in_it(name):
    page = method_docs(name)
    html, _, anchor = page.page.partition("#")
    text = (DOCS / html).with_suffix(".md").read_text()
    assert all(passage in plain(text) for passage in page.found)
    headings = [re.sub(r"[` ]+", "-", one).strip("-").lower() for one in re.findall(r"^#+ (.*)", text, re.M)]
    assert not anchor or anchor in headings


def test_every_method_of_the_package_describes_itself():
    assert {"fp32", "naive", "ptq4adm", "nncf-int8"} <= set(OURS)
    for name in OURS:
        own = described(name)
        assert own is not None, name
        assert own.version, name
        assert len(own.text) > 10, name
    assert described("of-another-package") is None
