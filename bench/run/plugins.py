"""Which plug-ins a job runs, and what each of them is here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from admbench import versions
from admbench.bench import models, suites
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, Job, PartJob, QuantizeJob, ReferenceJob
from admbench.bench.run.made_by import MadeBy, made_by_here, refuse_others
from admbench.bench.scoring import judges as scoring
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.errors import PluginError
from admbench.identities import PluginIdentity, untold
from admbench.methods import registry as methods
from admbench.methods.core.checkpoint.formats import registry as formats
from admbench.methods.spec import FULL_PRECISION, MethodSpec
from admbench.metrics import registry as metrics
from admbench.metrics.embedders import registry as judges
from admbench.metrics.extractors.base import Extractor, load_extractor
from admbench.metrics.extractors.base import registry as extractors


class Plugins:
    """The identities of plug-ins, each found out once.

    One that two distributions claim, so that it cannot be loaded, has an identity that says so: its cells fail, not the
    run.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], PluginIdentity] = {}
        self._scorers: dict[tuple[str, tuple[str, ...]], list[PluginIdentity]] = {}
        self._formats: list[PluginIdentity] | None = None
        self._here: dict[str, MadeBy] = {}

    def model(self, name: str) -> PluginIdentity:
        """Return that of a model."""
        return self._once(models.registry.group, name, partial(models.identity, name))

    def method(self, spec: str) -> PluginIdentity:
        """Return that of the method which a spec names."""
        name = MethodSpec.parse(spec).name
        return self._once(methods.group, name, partial(methods.identity, name))

    def suite(self, wanted: str | CaptionFileSpec) -> PluginIdentity:
        """Return that of a suite."""
        return self._once(suites.registry.group, str(wanted), partial(suites.identity, wanted))

    def metrics(self, names: Iterable[str]) -> list[PluginIdentity]:
        """Return those of metrics."""
        return [self._once(metrics.group, name, partial(metrics.identity, name)) for name in names]

    def scorers(self, judges: JudgeSpec, extractors: Iterable[Extractor]) -> list[PluginIdentity]:
        """Return those of extractors, and of the judges that they read."""
        known = list(extractors)
        asked = (judges.model_dump_json(), tuple(one.name for one in known))
        if asked not in self._scorers:
            self._scorers[asked] = scoring.plugins_of(judges, known)
        return self._scorers[asked]

    def formats(self) -> list[PluginIdentity]:
        """Return those of the formats of checkpoints that other distributions bring, whichever a method takes."""
        if self._formats is None:
            self._formats = formats.identities_of_others()
        return self._formats

    def made_by(self, plugins: Iterable[PluginIdentity], device: str) -> MadeBy:
        """Return what results are made by here that some plug-ins compute; what they have in common is found out once.

        Args:
            plugins: that run.
            device: of the models.
        """
        if device not in self._here:
            self._here[device] = made_by_here((), device)
        return self._here[device].model_copy(update={"plugins": {one.key: one for one in plugins}})

    def of_job(self, job: Job) -> list[PluginIdentity]:
        """Return those of all plug-ins that a job's result comes from; of a cell also the method, which ran before."""
        found = [] if isinstance(job, ReferenceJob) else [self.model(job.model)]
        if isinstance(job, CalibrationJob):
            return found
        if isinstance(job, QuantizeJob):
            return [*found, self.method(job.method)]
        if isinstance(job, PartJob):
            whole = [] if job.method is not None else [self.method(FULL_PRECISION)]
            return [*found, *whole, self.suite(job.suite), *self.formats()]
        found += [self.suite(job.suite), *self.scorers(job.judges, map(load_extractor, job.extractors))]
        if isinstance(job, BaselineJob):
            found.append(self.method(FULL_PRECISION))
        if isinstance(job, CellJob):
            found += [self.method(job.method), *self.metrics(job.metrics)]
        return found if isinstance(job, ReferenceJob) else [*found, *self.formats()]

    def _once(self, group: str, name: str, find: Callable[[], PluginIdentity]) -> PluginIdentity:
        if (group, name) not in self._known:
            try:
                self._known[group, name] = find()
            except PluginError as error:
                self._known[group, name] = untold(group, name, str(error))
        return self._known[group, name]


def made_by(job: Job, plugins: Plugins | None = None) -> MadeBy:
    """Return what the results of a job would be made by, were it done in this environment."""
    known = plugins or Plugins()
    return known.made_by(known.of_job(job), job.device)


class Inherited:
    """What a fork server found out of this environment, for its children: each then looks whether it still holds.

    A child that found it all out for itself would spend more than its fork takes: hashing our source, and reading what
    every installed distribution says of itself. Plug-ins of other distributions are looked at by each child anew.
    """

    def __init__(self) -> None:
        self._state = _state()  # before anything is read: an edit in between is seen
        self._plugins = Plugins()
        self._plugins.made_by((), "cpu")
        for registry in _REGISTRIES:
            registry.names()
            for name in registry.builtin:
                with suppress(PluginError):  # claimed by another distribution too: its cells say so
                    registry.identity(name)  # from then on known

    def plugins(self) -> Plugins:
        """Return what is known; nothing, if our source or what is installed was changed since."""
        if _state() == self._state:
            return self._plugins
        versions.forget_source()
        return Plugins()


_REGISTRIES = (models.registry, methods, suites.registry, metrics, extractors, judges, formats)


def _state() -> tuple[Any, ...]:
    return versions.source_state(), versions.installed_state()


def check_made_by(job: Job, inherited: Inherited | None = None) -> None:
    """Refuse a job that was planned with other code, packages, plug-ins or arithmetic than are here.

    Args:
        job: to be done in this process.
        inherited: by this process from its fork server.

    Raises:
        UsageError: the first difference.
    """
    plugins = None if inherited is None else inherited.plugins()
    refuse_others(job.made_by, made_by(job, plugins), job.name)
