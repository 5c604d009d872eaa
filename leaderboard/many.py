"""Many valid records with made-up numbers, to see how long boards take: every one is `checked` by `bench validate`.

    python -m admbench.leaderboard.many OUT --records 10000

writes runs of up to 100 cells of a model each, OUT/run-000 and so on: full precision and methods at several bits, each
with per-caption results that give its scores, intervals and differences. Every method is some distance from full
precision, drawn with the seed; some are equal. There is no audio, and nothing in it was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.files import slug
from admbench.hashing import sha256_json
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.contrasts import contrast, score_interval
from admbench.leaderboard.inference.scores import KINDS, OWN_AUDIO, score_kind
from admbench.leaderboard.per_caption import HEALTH, PER_CAPTION, CaptionScore, PerCaption, write_per_caption
from admbench.leaderboard.record import FULL_PRECISION, SCHEMA_VERSION
from admbench.leaderboard.run_folder import CELLS, RECORD_FILE

Array = NDArray[np.float64]
Record = dict[str, Any]

CAPTIONS = 96
CELLS_OF_A_MODEL = 100
DIMENSIONS = 12
BITS = ((8, 8), (4, 8), (4, 16), (3, 8))
PARAMETERS = 5_600_000
HEADER_BYTES = 40_000
FAMILIES = ("rounding", "block reconstruction", "Hessian", "low rank", "transform")


def write_many(
    out: Path, records: int, *, cells: int = CELLS_OF_A_MODEL, captions: int = CAPTIONS, seed: int = 0
) -> list[Path]:
    """Write run folders and return them: one a model.

    Args:
        out: folder of the runs.
        records: in all.
        cells: of a model, full precision among them.
        captions: of each.
        seed: of all numbers; the same arguments give the same files.
    """
    runs = []
    for model, first in enumerate(range(0, records, cells)):
        runs.append(out / f"run-{model:03d}")
        count = min(cells, records - first)
        for spec, value, content in _model(f"model-{model:03d}", count, captions, seed + model):
            cell = runs[-1] / CELLS / value["model"]["name"] / slug(spec)
            cell.mkdir(parents=True)
            write_per_caption(cell / PER_CAPTION, content)
            (cell / RECORD_FILE).write_text(json.dumps(value), encoding="ascii")
    return runs


def _model(name: str, cells: int, n: int, seed: int) -> Iterator[tuple[str, Record, PerCaption]]:
    """Yield spec, record and per-caption results of each cell of a model."""
    rng = np.random.default_rng(seed)
    reference, common, spread = rng.normal(size=(3, n, DIMENSIONS))
    full = 0.8 + common + 0.2 * spread
    base = _results(full, full, reference, common, 0.0, near=False)
    yield FULL_PRECISION, _record(name, FULL_PRECISION, None, base, None), base
    for k in range(cells - 1):
        bits = BITS[k % len(BITS)]
        spec = f"method-{k // len(BITS):02d}@w{bits[0]}a{bits[1]}"
        amount = 0.02 * 1.5 ** (k % 9)  # so that some are equal, and others are not
        own = full + amount * (0.5 + rng.normal(size=full.shape))
        content = _results(own, full, reference, common, amount, near=True)
        yield spec, _record(name, spec, bits, content, base), content


def _results(own: Array, full: Array, reference: Array, common: Array, amount: float, *, near: bool) -> PerCaption:
    n = len(own)
    rows = np.arange(n)
    clap = 0.4 - amount / 20 + 0.1 * np.tanh(common[:, 0] + amount * (own - full)[:, 0])
    scores = {
        "fd": CaptionScore(KINDS["fd"], rows, squared_distance(own, reference)),
        "clap": CaptionScore.of_clips(KINDS["clap"], rows, clap),
    }
    if near:
        zimtohrli = 0.002 + 0.01 * np.tanh(np.square(own - full).mean(axis=1))
        scores["fd_vs_baseline"] = CaptionScore(KINDS["fd"], rows, squared_distance(own, full))
        scores["zimtohrli_vs_baseline"] = CaptionScore.of_clips(KINDS["zimtohrli"], rows, zimtohrli)
    flags = {fault: np.zeros(n, dtype=np.bool_) for fault in HEALTH}
    names = tuple(f"made-up-{row:04d}" for row in rows)
    return PerCaption(names, tuple(sha256_json([name, amount]) for name in names), flags, scores)


def _scores(content: PerCaption, base: PerCaption | None) -> Record:
    found: Record = {}
    for key, one in content.scores.items():
        kind = score_kind(key) or one.kind
        judge = None if key.startswith("zimtohrli") else "tiny-clap" if key == "clap" else "tiny-tagger"
        found[key] = {
            "value": one.influence.value,
            "ci95": list(score_interval(one.influence, kind)),
            "n": one.influence.n,
            "backbone": judge,
            "backbone_sha256": judge and sha256_json(judge),
            "against": "baseline" if key.endswith(OWN_AUDIO) else None if key == "clap" else "reference",
            "higher_is_better": kind.higher_is_better,
            "version": "1",
        }
        if base is not None and key in base.scores:
            apart = contrast(one.influence, base.scores[key].influence)
            low, high = kind.difference_inside(apart.interval())
            found[key]["difference"] = {
                "value": apart.estimate,
                "ci95": [low, high],
                "versus": "full precision",
                "significant": not low <= 0 <= high,
            }
    if base is None:
        found["fd_vs_baseline"] = {"value": None, "reason": "this is the baseline"}
    return found


def _record(
    model: str, spec: str, bits: tuple[int, int] | None, content: PerCaption, base: PerCaption | None
) -> Record:
    name, n = spec.partition("@")[0], len(content.captions)
    tensors = PARAMETERS * (bits[0] if bits else 32) // 8
    whole = 4 * PARAMETERS + HEADER_BYTES
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "done",
        "reason": None,
        "model": {
            "name": model,
            "source": "made up, to see how long boards take",
            "weights_sha256": sha256_json(model),
            "license": "Apache-2.0",
            "parameters": PARAMETERS,
            "random_weights": False,
        },
        "method": {
            "name": name,
            "spec": spec,
            "version": "1",
            "track": "post-training",
            "family": FAMILIES[sum(name.encode()) % len(FAMILIES)] if bits else "floating point",
            "bits": {"weight": bits and bits[0], "activation": bits and bits[1]},
            "config": {"weights": "channel", "calibration": "captions"},
            "components": ["backbone"],
            "simulated": bits is not None,
            "layers": [{"name": f"down.{k}.conv", "weight_bits": bits[0], "error": 0.01 * k} for k in range(40)]
            if bits
            else [],
            "seconds": 12.5,
        },
        "suite": {"name": "made-up", "sha256": sha256_json("made up"), "n": n, "split": "test"},
        "generation": {
            "scheduler": "DDIMScheduler",
            "steps": 25,
            "guidance": 3.0,
            "seed": 0,
            "dtype": "float32",
            "batch_size": 8,
            "sample_rate": 16_000,
            "seconds": 2.0,
        },
        "scores": _scores(content, base),
        "audio": {"clips": n, "silent": 0, "clipped": 0, "too_short": 0, "nan": 0},
        "size": {
            "checkpoint_bytes": tensors + HEADER_BYTES,
            "baseline_bytes": whole,
            "reduction": 1 - (tensors + HEADER_BYTES) / whole,
            "nominal_bits_per_weight": float(bits[0] if bits else 32),
            "effective_bits_per_weight": 8 * tensors / PARAMETERS,
            "quantized_fraction": 0.98 if bits else 0.0,
            "components": {"backbone": tensors + HEADER_BYTES, "vae": 3_000_000},
        },
        "latency": {"kernel": None, "reason": "simulated" if bits else "nothing is quantized"},
        "memory": {"peak_bytes": 812_000_000},
        "calibration": {"prompts": 16, "samples": 64, "timesteps": [1, 41, 81], "seconds": 2.5} if bits else None,
        "environment": {
            "machine": "x86_64 Linux",
            "cpu": "A processor of no maker",
            "gpu": None,
            "threads": 2,
            "packages": {"python": "3.11.9", "torch": "2.14.1"},
        },
        "provenance": {
            "started": datetime(2026, 3, 1, 10, tzinfo=UTC).isoformat(timespec="seconds"),
            "seconds": 40.5,
            "git": None,
            "command": "bench run",
        },
    }


def main() -> None:
    """Write many records; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=CELLS_OF_A_MODEL, help="of a model")
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    arguments = parser.parse_args()
    runs = write_many(arguments.out, arguments.records, cells=arguments.cells, captions=arguments.captions)
    print(f"{arguments.records} records in {len(runs)} runs below {arguments.out}")


if __name__ == "__main__":
    main()
