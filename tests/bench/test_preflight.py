"""Before a run every spec is looked at in a process of its own: none ends the questions to the others."""

from __future__ import annotations

import pytest

from admbench.bench.run.asking import ask
from admbench.bench.run.preflight import check
from admbench.errors import UsageError
from admbench.methods.naive import Naive


@pytest.mark.attack("what a job writes for its parent")
@pytest.mark.usefixtures("plugins")
def test_a_constructor_that_prints_and_exits_says_nothing_of_the_others() -> None:
    found = ask(["absent", "exits", "fp32", "naive@w4a8[prompts=2]"], "cpu")
    assert list(found.unavailable) == ["absent"]
    assert found.fixed == ("absent", "fp32")
    assert list(found.requests) == ["naive@w4a8[prompts=2]"]


def test_what_depends_on_no_calibration_draw_is_known_and_who_draws_for_itself_shares_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs = ["fp32", "bf16", "naive@w4a16", "naive@w4a8"]
    found = check(specs, "cpu")
    assert found.fixed == ("fp32", "bf16", "naive@w4a16")
    assert list(found.requests) == ["naive@w4a8"]
    monkeypatch.setattr(Naive, "calibrate", lambda *_, **__: pytest.fail("not asked to"))
    assert check(specs, "cpu").requests == {}


def test_a_mistake_of_the_users_is_said() -> None:
    with pytest.raises(UsageError, match='unknown option "promts"'):
        ask(["naive@w4a8[promts=2]"], "cpu")
