"""Products repeat where the same is promised to come out twice, and times are measured as users have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from admbench import arithmetic, children


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch):
    """Be on a processor of some vendor, with MKL's mode unset or as given."""

    def be(vendor: str, mode: str | None = None, machine: str = "x86_64", flags: str = "avx2 avx512f") -> None:
        told = {"vendor_id": vendor, "flags": flags}
        monkeypatch.setattr(arithmetic, "_described", told.get)
        monkeypatch.setattr(arithmetic.platform, "processor", lambda: "")
        monkeypatch.delenv(arithmetic.LIMIT, raising=False)
        monkeypatch.setattr(arithmetic.platform, "machine", lambda: machine)
        monkeypatch.delenv(arithmetic._OURS, raising=False)
        monkeypatch.delenv(arithmetic.VARIABLE, raising=False)
        if mode is not None:
            monkeypatch.setenv(arithmetic.VARIABLE, mode)

    return be


@pytest.mark.parametrize(
    ("vendor", "machine", "needed"),
    [
        ("GenuineIntel", "x86_64", False),
        ("AuthenticAMD", "x86_64", True),
        ("", "AMD64", True),
        ("", "aarch64", False),
    ],
)
def test_cells_run_in_the_reproducible_mode_where_products_do_not_repeat(on, vendor, machine, needed):
    on(vendor, machine=machine)
    assert arithmetic.repeats() != needed
    assert children.environment().get("MKL_CBWR") == ("COMPATIBLE" if needed else None)


def test_intel_without_avx512_needs_it_too(on, monkeypatch):
    on("GenuineIntel", flags="avx avx2 fma")
    assert not arithmetic.repeats()
    on("GenuineIntel")
    for limit, repeats in (("AVX2", False), ("avx512_e4", True)):
        monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", limit)
        assert arithmetic.repeats() == repeats
        assert children.environment().get("MKL_CBWR") == (None if repeats else "COMPATIBLE")


@pytest.mark.parametrize(("mode", "repeats"), [("AUTO", False), ("AVX2,STRICT", False), ("compatible", True)])
def test_a_mode_that_the_user_chose_stays(on, mode, repeats):
    on("AuthenticAMD", mode)
    assert arithmetic.repeats() == repeats
    assert children.environment()["MKL_CBWR"] == mode
    assert children.timing_environment()["MKL_CBWR"] == mode


def test_a_process_that_measures_time_has_the_mode_of_the_user(on, monkeypatch):
    on("AuthenticAMD")
    for name, value in children.environment().items():
        monkeypatch.setenv(name, value)  # as inside a cell
    assert arithmetic.slowed()
    assert arithmetic.repeats()
    assert children.environment()["MKL_CBWR"] == "COMPATIBLE"
    assert not {"MKL_CBWR", arithmetic._OURS} & children.timing_environment().keys()


def test_these_tests_themselves_run_where_products_repeat():
    assert arithmetic.repeats() or arithmetic.mode() is not None


def test_the_vendor_is_read_from_this_processor():
    if os.path.exists("/proc/cpuinfo") and arithmetic.platform.machine() == "x86_64":
        assert arithmetic.vendor() in Path("/proc/cpuinfo").read_text()
        assert arithmetic.vendor()


def test_it_is_known_before_torch_is_imported():
    code = "import sys; from admbench import children; children.environment(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
