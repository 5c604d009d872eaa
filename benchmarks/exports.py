"""Whole clips of exports, held by the gate against our own clips of the same checkpoint.

    python -m benchmarks.exports CHECKPOINT [--formats onnx,openvino] [--limit 48] [--steps 25]

Captions, seeds and real audio are those of the suite `foley`. Our clips are those of the simulation. Those of an
export are made with its backbone, run by its own runtime, in the simulation's place; all else is the same. `control` is
the simulation again, with torch's other convolutions: what the last bits of sums alone make of a clip.
A line a form and margin is printed: the gate's word, the estimate with its 95 % interval, and its limit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from admbench.bench import api
from admbench.bench.exporting import TARGETS, Target
from admbench.bench.exporting.subject import Subject
from admbench.bench.measurement.engines import EngineBackbone
from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.quantization import read_headers
from admbench.bench.scoring.clips import write_wav
from admbench.bench.suites import load_suite
from admbench.bench.suites.base import SuiteItem

MARGINS = ("fd=+5%", "lmd_vs_baseline=1")


def main() -> None:
    """Make the clips, and print what the gate says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--formats", default="onnx,openvino")
    parser.add_argument("--limit", type=int, default=48, help="captions")
    parser.add_argument("--steps", type=int, default=25, help="of denoising")
    options = parser.parse_args()
    suite = load_suite("foley")
    items = suite.take(options.limit)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        model = api.load_checkpoint(options.checkpoint)
        subject = Subject.of(model, read_headers(options.checkpoint))
        (root / "real").mkdir()
        for item in items:
            audio = suite.reference_audio(item)
            assert audio is not None
            write_wav(root / "real" / f"{item.id}.wav", audio, suite.sample_rate)
        _make(model, items, options.steps, root / "ours")
        for name in ("control", *filter(None, options.formats.split(","))):
            simulation = model.backbone
            if name != "control":
                model.backbone = _exported(subject, TARGETS[name], root / f"export-{name}")
            with torch.backends.mkldnn.flags(enabled=name != "control"):
                _make(model, items, options.steps, root / name)
            model.backbone = simulation
            gate = api.gate_folders(root / name, root / "ours", root / "real", margins=MARGINS)
            for score, verdict in gate.cells[0].verdicts.items():
                found = f"{verdict.estimate:.4f} [{verdict.low:.4f}, {verdict.high:.4f}], limit {verdict.limit:g}"
                print(f"{name:10} {score:16} {verdict.word:16} {verdict.scale} {found}, {verdict.n} clips", flush=True)


def _exported(subject: Subject, target: Target, folder: Path) -> EngineBackbone:
    """Write an export, and return its backbone in place of ours."""
    folder.mkdir()
    print(target.write(subject, folder).holds)
    run = target.load(subject, folder)
    names = subject.function.names
    return EngineBackbone(lambda *tensors: run(dict(zip(names, tensors, strict=True))))


def _make(model: AudioDiffusionModel, items: tuple[SuiteItem, ...], steps: int, folder: Path) -> None:
    """Write the clip of every caption."""
    folder.mkdir()
    made = api.generate(model, [item.caption for item in items], [item.seed for item in items], steps=steps)
    for item, waveform in zip(items, made, strict=True):
        write_wav(folder / f"{item.id}.wav", waveform, model.sample_rate)


if __name__ == "__main__":
    main()
