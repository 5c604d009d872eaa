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
    assert children.environment().get("MKL_CBWR") == (arithmetic.reproducible_mode() if needed else None)


@pytest.mark.parametrize(
    ("vendor", "flags", "limit", "mode"),
    [
        ("AuthenticAMD", "avx2 fma", None, "AVX2"),
        ("AuthenticAMD", "avx2 fma", "AVX512", "AVX2"),
        ("AuthenticAMD", "avx2 fma", "SSE4_2", "COMPATIBLE"),
        ("AuthenticAMD", "sse4_2", None, "COMPATIBLE"),
        ("GenuineIntel", "avx2 fma", None, "COMPATIBLE"),
        ("", "avx2", None, "COMPATIBLE"),
    ],
)
def test_the_mode_is_the_fastest_that_was_seen_to_repeat(on, monkeypatch, vendor, flags, limit, mode):
    on(vendor, flags=flags)
    if limit is not None:
        monkeypatch.setenv(arithmetic.LIMIT, limit)
    monkeypatch.setenv("MKL_CBWR", children.environment()["MKL_CBWR"])
    assert arithmetic.mode() == arithmetic.reproducible_mode() == mode
    assert arithmetic.repeats()


@pytest.mark.parametrize("threads", [1, 2])
def test_products_are_the_same_at_other_addresses(threads):
    """Narrow ones, of which MKL's default gets every eighth wrong on processors where the mode is needed."""
    code = Path(__file__).with_name("products_at_addresses.py").read_text()
    asked = [sys.executable, "-c", code, str(threads)]
    done = subprocess.run(asked, env=children.environment(), capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("0 of 300 differ\n", 0), done.stderr


def test_intel_without_avx512_needs_it_too(on, monkeypatch):
    on("GenuineIntel", flags="avx avx2 fma")
    assert not arithmetic.repeats()
    on("GenuineIntel")
    for limit, repeats in (("AVX2", False), ("avx512_e4", True)):
        monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", limit)
        assert arithmetic.repeats() == repeats
        assert children.environment().get("MKL_CBWR") == (None if repeats else "COMPATIBLE")


@pytest.mark.parametrize(
    ("mode", "repeats"), [("AUTO", False), ("AVX2,STRICT", True), ("SSE2", False), ("compatible", True)]
)
def test_a_mode_that_the_user_chose_stays(on, mode, repeats):
    on("AuthenticAMD", mode)
    assert arithmetic.repeats() == repeats
    assert children.environment()["MKL_CBWR"] == mode
    assert children.timing_environment()["MKL_CBWR"] == mode


def test_a_process_that_measures_time_has_the_mode_of_the_user(on, monkeypatch):
    on("AuthenticAMD")
    for name, value in children.environment().items():
        monkeypatch.setenv(name, value)  # as inside a cell
    assert not arithmetic.slowed()
    assert arithmetic.repeats()
    assert children.environment()["MKL_CBWR"] == "AVX2"
    assert not {"MKL_CBWR", arithmetic._OURS} & children.timing_environment().keys()


def test_the_mode_of_any_processor_is_slower_and_one_that_the_user_set_is_not_ours(on, monkeypatch):
    on("CentaurHauls")
    for name, value in children.environment().items():
        monkeypatch.setenv(name, value)
    assert arithmetic.slowed()
    on("CentaurHauls", "COMPATIBLE")
    assert not arithmetic.slowed()


def test_these_tests_themselves_run_where_products_repeat():
    assert arithmetic.repeats() or arithmetic.mode() is not None


def test_the_vendor_is_read_from_this_processor():
    if os.path.exists("/proc/cpuinfo") and arithmetic.platform.machine() == "x86_64":
        assert arithmetic.vendor() in Path("/proc/cpuinfo").read_text()
        assert arithmetic.vendor()


def test_it_is_known_before_torch_is_imported():
    code = "import sys; from admbench import children; children.environment(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
