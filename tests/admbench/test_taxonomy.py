"""What methods say of their kind: every built-in one, in words that exist."""

import pytest

from admbench import methods
from admbench.taxonomy import FAMILIES, TRACKS, Paper, arxiv


@pytest.mark.parametrize("name", methods.BUILTIN)
def test_lists_and_the_class_say_the_same(name):
    plugin, facts = methods.registry.get(name), methods.registry.info(name).facts
    assert facts == {"track": plugin.track, "family": plugin.family}
    assert plugin.track in TRACKS
    assert plugin.family in FAMILIES
    assert plugin.paper is None or plugin.paper.url is not None
    assert (plugin.paper is None) == (name in {"fp32", "bf16", "naive"})


def test_what_trains_the_network_is_on_a_track_of_its_own():
    trained = [name for name in methods.BUILTIN if methods.registry.info(name).facts["track"] == "fine-tuned"]
    assert trained == ["efficientdm"]


def test_a_paper_is_one_line_and_an_address_of_the_web():
    assert arxiv("2210.17323", "GPTQ").url == "https://arxiv.org/abs/2210.17323"
    with pytest.raises(ValueError, match="expected one line"):
        Paper("two\nlines")
    with pytest.raises(ValueError, match="starts with https://"):
        Paper("A paper", "javascript:alert(1)")
