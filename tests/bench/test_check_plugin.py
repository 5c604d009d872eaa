"""`bench check-plugin` computes where products repeat, as it asks whether a plug-in gives the same twice."""

from __future__ import annotations

import os

import pytest

from admbench import arithmetic
from admbench.bench.cli.app import main


def test_it_computes_as_the_cells_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def findings(name: str, kind: str) -> list[None]:
        assert (name, kind, os.environ["MKL_CBWR"]) == ("fp32", "method", arithmetic.reproducible_mode())
        return []

    monkeypatch.setenv("MKL_CBWR", "")
    monkeypatch.setattr(arithmetic, "needs_mode", lambda: True)
    monkeypatch.setenv(arithmetic._OURS, "1")  # put back afterwards
    monkeypatch.setattr("admbench.bench.conformance.plugins.findings", findings)
    assert main(["check-plugin", "fp32"]) == 0
