"""Before a run every spec is looked at in a process of its own: none ends the questions to the others."""

from __future__ import annotations

import pytest

from admbench.bench.run.asking import ask
from admbench.errors import UsageError


@pytest.mark.attack("what a job writes for its parent")
@pytest.mark.usefixtures("plugins")
def test_a_constructor_that_prints_and_exits_says_nothing_of_the_others() -> None:
    found = ask(["absent", "exits", "fp32", "naive@w4a8[prompts=2]"], "cpu")
    assert list(found.unavailable) == ["absent"]
    assert found.fixed == ("absent", "fp32")
    assert list(found.requests) == ["naive@w4a8[prompts=2]"]


def test_a_mistake_of_the_users_is_said() -> None:
    with pytest.raises(UsageError, match='unknown option "promts"'):
        ask(["naive@w4a8[promts=2]"], "cpu")
