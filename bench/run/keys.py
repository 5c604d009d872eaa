"""The keys of a run's jobs: each is a hash over all that determines the job's result, and over nothing else.

Every key is made here, of the settings that a job has and of what makes it (`admbench.bench.run.made_by`); the keys of
the stages in a job are made of the same parts, where the stages are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from admbench.bench.run.grid import GridSpec
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.plugins import Plugins
from admbench.bench.scoring.judges import identify
from admbench.bench.scoring.spec import JudgeSpec
from admbench.hashing import sha256_json
from admbench.identities import PluginIdentity
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.spec import FULL_PRECISION
from admbench.metrics.extractors.base import Extractor

FORMAT = 6
"""Raised when the meaning or the layout of a job's products changes."""
BACKBONE = "backbone"
"""Component that full precision is of."""


class Keys:
    """Keys of the jobs of a grid.

    Args:
        grid: what is run.
        threads: of each job.
        judges: judge of each role.
        captions: what determines captions and real audio: hash of the suite, and the ids that are taken of it.
        real: extractors whose arrays are computed of real audio.
        generated: those of generated clips.
    """

    def __init__(
        self,
        grid: GridSpec,
        threads: int,
        judges: JudgeSpec,
        captions: Sequence[Any],
        real: Sequence[Extractor],
        generated: Sequence[Extractor],
    ) -> None:
        self.plugins = Plugins()
        self._grid, self._threads, self._captions = grid, threads, list(captions)
        self._made: MadeBy = self.plugins.made_by((), grid.execution.device)
        self._real, self._generated = identify(judges, real), identify(judges, generated)
        self._baselines: dict[tuple[str, str], str] = {}

    def reference(self) -> str:
        """Return the key of the suite's real audio and its features."""
        return self._reference

    @cached_property
    def _reference(self) -> str:
        suite = self.plugins.suite(self._grid.suite)
        return self._key("reference", [self._captions, self._real], {"audio": [suite], "features": []})

    def baseline(self, model: str, weights: str) -> str:
        """Return the key of a model's audio in full precision, with its features and checkpoint."""
        if (model, weights) not in self._baselines:
            checkpoint = self.checkpoint(model, weights, FULL_PRECISION, 0)
            settings = [self._grid.generation.of(model).model_dump(), self._grid.seed]
            content = [self._captions, self._generated, model, weights, settings, checkpoint]
            stages: dict[str, Sequence[PluginIdentity]] = {"generate": self._loading(model), "features": []}
            self._baselines[model, weights] = self._key("baseline", content, stages)
        return self._baselines[model, weights]

    def calibration(self, model: str, weights: str, request: CalibrationRequest, repeat: int) -> str:
        """Return the key of what is drawn for methods that ask alike."""
        grid, sampler = self._grid, self._grid.generation.of(model).sampler
        content = [model, weights, request.model_dump(), grid.components, repeat, grid.seed, sampler]
        return self._key("calibration", content, {"calibration": [self.plugins.model(model)]})

    def checkpoint(self, model: str, weights: str, method: str, repeat: int) -> str:
        """Return the key of a packed checkpoint; full precision is of the backbone alone, and calibrated on nothing."""
        whole, grid = method == FULL_PRECISION, self._grid
        drawn = (0, None) if whole else (repeat, grid.generation.of(model).sampler)
        content = [model, weights, method, (BACKBONE,) if whole else grid.components, grid.seed, *drawn]
        running = [self.plugins.model(model), self.plugins.method(method)]
        return self._key("checkpoint", content, {"checkpoint": running})

    def cell(self, model: str, weights: str, method: str, repeat: int) -> str:
        """Return the key of a cell: of its record, its audio, and all that they follow from."""
        grid, loading = self._grid, self._loading(model)
        content = [
            self.reference(),
            self.baseline(model, weights),  # made of all settings that a cell's audio is made of
            self.checkpoint(model, weights, method, repeat),
            grid.components,
            ["repeat", repeat],
        ]
        return self._key(
            "cell",
            content,
            {
                "latency": loading,
                "generate": loading,
                "trajectory": loading,
                "features": [],
                "score": self.plugins.metrics(grid.metrics.names),
            },
        )

    def part(self, model: str, weights: str, checkpoint: str, first: int, count: int) -> str:
        """Return the key of the clips of some captions, made from a packed checkpoint."""
        settings = [self._grid.generation.of(model).model_dump(), self._grid.seed]
        content = [self._captions, model, weights, settings, checkpoint, first, count]
        return self._key("part", content, {"generate": self._loading(model)})

    def _loading(self, model: str) -> list[PluginIdentity]:
        """Return the plug-ins that put a checkpoint's networks into a model."""
        return [self.plugins.model(model), *self.plugins.formats()]

    def _key(self, kind: str, content: Sequence[Any], stages: dict[str, Sequence[PluginIdentity]]) -> str:
        """Return the key of a job.

        Args:
            kind: of the job.
            content: JSON values that determine its result.
            stages: name of each stage in it -> the plug-ins that run there.
        """
        made = [[name, self._made.of_stage(name, running)] for name, running in stages.items()]
        return sha256_json([FORMAT, kind, list(content), made, self._threads, self._grid.execution.device])
