"""Synthetic run folders: made-up numbers and tones, of the shape that `bench run` writes."""

import copy
import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from admbench.files import slug
from admbench.leaderboard import SitePaths, build_site, read_runs
from admbench.leaderboard.reading import Quarantined

from .browsing import CHROMIUM, FLAGS, new_page
from .written_results import write_results

RATE, SECONDS = 16_000, 0.5
HASH = {name: f"{index:02x}" * 32 for index, name in enumerate(["weights", "suite", "tagger", "clap"], start=1)}


def score(value: float, half: float, n: int, network: str = "tiny-tagger", **more: Any) -> dict[str, Any]:
    digest = HASH["clap" if network == "tiny-clap" else "tagger"]
    return {
        "value": value,
        "ci95": [value - half, value + half],
        "n": n,
        "backbone": network,
        "backbone_sha256": digest,
        "against": "reference",
        "direction": None,
        "higher_is_better": False,
        "version": "1",
        "difference": None,
        "reason": None,
    } | more


def difference(value: float, half: float) -> dict[str, Any]:
    apart = not value - half <= 0 <= value + half
    return {
        "value": value,
        "ci95": [value - half, value + half],
        "versus": "full precision",
        "significant": apart,
        "reason": None,
    }


def scores_of(loss: float, n: int, *, full_precision: bool) -> dict[str, Any]:
    """The scores of a cell that is so much worse than full precision, or of full precision itself."""
    paired = (lambda value, half: None) if full_precision else difference
    return {
        "fd": score(21 + loss, 2.5, n, difference=paired(loss, 1.2)),
        "kl": score(1.1 + loss / 40, 0.1, n, direction="reference || generated", difference=paired(loss / 40, 0.03)),
        "is": score(7.2 - loss / 20, 0.6, n, against=None, higher_is_better=True, splits=2),
        "clap": score(0.41 - loss / 300, 0.02, n, "tiny-clap", against=None, higher_is_better=True),
        "fd_vs_baseline": {"value": None, "reason": "this is the baseline"}
        if full_precision
        else score(abs(loss), abs(loss) / 4, n, against="baseline"),
    }


def record(model: str = "tiny-tango", spec: str = "naive@w4a8", n: int = 4, loss: float = 6.0) -> dict[str, Any]:
    """A consistent record. `loss`: how much worse than full precision; 0 with spec `fp32` is the baseline itself."""
    name = spec.split("@")[0].split("[")[0]
    bits = spec.split("@w")[1].split("[")[0].split("a") if "@w" in spec else None
    weight_bits = int(bits[0]) if bits else None
    size = int(22_400_000 * (weight_bits or (16 if name == "bf16" else 32)) / 32) + 41_000
    return {
        "schema_version": 3,
        "status": "done",
        "reason": None,
        "model": {
            "name": model,
            "source": "made up for a test",
            "revision": None,
            "weights_sha256": HASH["weights"],
            "license": "Apache-2.0",
            "parameters": 5_600_000,
            "random_weights": False,
        },
        "method": {
            "name": name,
            "spec": spec,
            "version": "1",
            "track": "post-training",
            "family": "rounding" if bits else "floating point",
            "paper": None,
            "bits": {"weight": weight_bits, "activation": int(bits[1]) if bits else None},
            "config": {"weights": "channel", "calibration": "captions"},
            "preset": None,
            "components": ["backbone"],
            "simulated": bits is not None,
            "layers": [{"name": "conv_in", "weight_bits": 8}, {"name": "mid.conv", "weight_bits": weight_bits}],
        },
        "suite": {"name": "foley", "sha256": HASH["suite"], "n": n, "split": "test"},
        "generation": {
            "scheduler": "DDIMScheduler",
            "steps": 25,
            "guidance": 3.0,
            "seed": 0,
            "dtype": "float32",
            "batch_size": 8,
            "sample_rate": RATE,
            "seconds": SECONDS,
        },
        "scores": scores_of(loss, n, full_precision=name == "fp32"),
        "audio": {"clips": n, "silent": 0, "clipped": 0, "too_short": 0, "nan": 0},
        "size": {
            "checkpoint_bytes": size,
            "baseline_bytes": 22_441_000,
            "reduction": 1 - size / 22_441_000,
            "nominal_bits_per_weight": float(weight_bits or 32),
            "effective_bits_per_weight": 8 * (size - 41_000) / 5_600_000,
            "quantized_fraction": 0.98 if bits else 0.0,
            "components": {"backbone": size, "vae": 3_000_000},
            "reason": None,
        },
        "latency": {"kernel": None, "reason": "simulated" if bits else "not measured"},
        "memory": {"peak_bytes": 812_000_000, "reason": None},
        "calibration": {"prompts": 16, "samples": 64, "timesteps": [1, 41, 81], "seconds": 2.5} if bits else None,
        "environment": {
            "machine": "x86_64 Linux",
            "cpu": "A Processor 3000",
            "gpu": None,
            "threads": 2,
            "packages": {"python": "3.11.9", "torch": "2.14.1", "diffusers": "0.42.1"},
        },
        "provenance": {
            "started": "2026-03-01T10:00:00+00:00",
            "seconds": 40.5,
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "command": "bench run",
        },
    }


def failed(
    model: str = "tiny-tango", spec: str = "naive@w2a4", reason: str = "out of memory", n: int = 4
) -> dict[str, Any]:
    """A record of a cell that broke before anything was known."""
    value = record(model, spec, n)
    empty = {"generation", "audio", "size", "latency", "memory", "calibration"}
    value.update(dict.fromkeys(empty), status="failed", reason=reason)
    value["scores"] = {key: {"value": None, "reason": "the cell failed"} for key in value["scores"]}
    return value


def change(value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with keys replaced; `__` in a keyword steps into a section: `size__reduction=0.5`."""
    value = copy.deepcopy(value)
    for path, new in changes.items():
        *sections, key = path.split("__")
        target = value
        for section in sections:
            target = target[section]
        target[key] = new
    return value


def write_wav(path: Path, frequency: float, noise: float = 0.0, seconds: float = SECONDS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(RATE * seconds)) / RATE
    generator = np.random.default_rng(int(frequency))
    sound = 0.4 * np.sin(2 * np.pi * frequency * time) + noise * generator.standard_normal(len(time))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


def write_audio(folder: Path, n: int, noise: float = 0.0, seconds: float = SECONDS) -> None:
    """captions.json and a tone per caption."""
    ids = [f"foley-{index:03d}" for index in range(n)]
    for index, clip in enumerate(ids):
        write_wav(folder / "audio" / f"{clip}.wav", 220.0 * (index + 1), noise, seconds)
    captions = [
        {"id": clip, "caption": f"a test tone number {index}", "seed": index, "file": f"audio/{clip}.wav"}
        for index, clip in enumerate(ids)
    ]
    (folder / "captions.json").write_text(json.dumps(captions))


def write_run(run: Path, records: list[dict[str, Any]], audio: bool = False, seconds: float = SECONDS) -> Path:
    """RUN/cells/MODEL/METHOD/result.json for each record, with tones where asked for."""
    for value in records:
        repeat = value["method"].get("repeat", 0)
        name = slug(value["method"]["spec"]) + (f"+repeat-{repeat}" if repeat else "")
        cell = run / "cells" / slug(value["model"]["name"]) / name
        cell.mkdir(parents=True)
        (cell / "result.json").write_text(json.dumps(value))
        if audio and value["status"] == "done":
            noise = 0.0 if value["scores"]["fd"]["difference"] is None else value["scores"]["fd"]["difference"]["value"]
            write_audio(cell, value["suite"]["n"], abs(noise) / 200, seconds)
    if audio:
        write_audio(run / "reference" / "foley", records[0]["suite"]["n"], 0.001, seconds)
    return run


SITE_CAPTIONS = 12
SITE_NOISE = {"fp32": 0.0, "naive@w8a8": 0.05, "naive@w4a8": 0.4}
"""How far the per-caption results of the site's cells are from full precision."""


ROOFLINE = {
    "float_flops_per_second": 1.4e11,
    "integer_flops_per_second": 1.4e12,
    "bytes_per_second": 1e10,
    "limits": {},
    "layers": [
        {"name": f"down.{k}", "kernel": kernel, "ms": 2.0, "bound_ms": 1.0, "limited_by": "memory"}
        | {"flops_per_byte": 3.0 * 4**k, "flops_per_second": 2e10 * 3**k}
        for k, kernel in enumerate(("onednn-int8-linear", "onednn-int8-linear", "float"))
    ],
}
"""As `bench latency --roofline` measures it, made up."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> SitePaths:
    """Two models, three methods and a failed cell, with audio of 12 captions, three of them to hear. Read only."""
    records = [
        record(model, spec, n=SITE_CAPTIONS, loss=loss)
        for model in ("tiny-audioldm", "tiny-tango")
        for spec, loss in (("fp32", 0.0), ("naive@w8a8", 0.5), ("naive@w4a8", 7.0))
    ]
    records[-2]["latency"] |= {"roofline": ROOFLINE, "cost": {"bit_operations": 2_500_000_000}}
    folder = tmp_path_factory.mktemp("site")
    run = write_run(folder / "run", [*records, failed(n=SITE_CAPTIONS)], audio=True)
    write_results(run, SITE_NOISE, SITE_CAPTIONS)
    left_out = Quarantined(run / "cells" / "tiny-tango" / "forged" / "result.json", f"model.name: {'long' * 100}")
    return build_site(read_runs([run]), folder / "site", max_captions=3, quarantined=[left_out])


@pytest.fixture
def make_record() -> Callable[..., dict[str, Any]]:
    return record


@pytest.fixture
def make_failed() -> Callable[..., dict[str, Any]]:
    return failed


@pytest.fixture
def changed() -> Callable[..., dict[str, Any]]:
    return change


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(records: list[dict[str, Any]], name: str = "run", **options: Any) -> Path:
        return write_run(tmp_path / name, records, **options)

    return make


@pytest.fixture
def tone() -> Callable[..., None]:
    return write_wav


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails its test on a script error, a refused resource, a dialog, or a request to a network."""
    page = new_page(browser)
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda one: None if one.url.startswith(("file:", "blob:")) else trouble.append(one.url))
    page.on(
        "requestfailed",  # leaving a page aborts the clips that it is still loading
        lambda request: None if "ABORTED" in request.failure else trouble.append(f"{request.failure}: {request.url}"),
    )
    yield page
    page.close()
    assert trouble == []
