"""The conformance suite: does a plug-in keep the contract of its kind? For `bench check-plugin` and authors' tests.

from admbench.bench.conformance import check_plugin

def test_it_keeps_the_contract():
    assert [str(finding) for finding in check_plugin("my-method") if finding.state == "failed"] == []
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from admbench.bench.conformance.findings import Finding
    from admbench.bench.conformance.plugins import check_plugin

_HOMES = {"Finding": "admbench.bench.conformance.findings", "check_plugin": "admbench.bench.conformance.plugins"}

__all__ = ["Finding", "check_plugin"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
