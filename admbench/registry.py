"""One registry per kind of plug-in: the built-in ones, those of installed distributions, and those of this process.

A name comes in by one of three doors: the package's own literal `BUILTIN` (equal to its entry points, so that a source
tree works uninstalled), an entry point of another distribution, or the `register` decorator. Listing never imports a
plug-in into this process: what a built-in is and needs is read from its source, other distributions' plug-ins are
loaded in a child process. That, and errors that name both owners of a duplicate, is what pluggy and catalogue lack.

A plug-in is a class, a function, or an object that a call makes. Its `summary` (one line) and `requires` (names of the
distributions that it needs) are literals: attributes of the class, or keywords of the call. So is what
plug-ins of a kind say beside that, such as the `track` of a method.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property, partial
from importlib import metadata
from typing import Any, TypeVar

from admbench import sources
from admbench.errors import BenchError, PluginError, UsageError, nearest
from admbench.identities import PluginIdentity, of_builtin, of_distribution, room_of
from admbench.versions import installed_state, source_sha256

Plugin = TypeVar("Plugin")
"""Summary, and names of the distributions that it needs."""

BUILTIN_DISTRIBUTION = "admbench"
PROBE_TIMEOUT = 180.0  # seconds for the child process that loads a plug-in of another distribution
_PROBE_MARK = "admbench-plugin "


@dataclass(frozen=True)
class PluginInfo:
    """What is known of a plug-in without importing it here."""

    name: str
    group: str
    """The entry-point group, such as `admbench.methods`."""
    target: str
    """`module:attribute`."""
    distribution: str
    """The distribution that it came with; for one registered by the decorator, its module."""
    summary: str
    requires: tuple[str, ...]
    """Names of the distributions that must be installed."""
    unavailable: str | None
    """Why it cannot be used here; None if it can, as far as is known."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else its registry's kind of plug-in says of itself, as far as this one does; see `Registry`."""


@dataclass(frozen=True)
class _Declared:
    """A name with where it leads and who brought it."""

    name: str
    target: str
    distribution: str

    @property
    def owner(self) -> str:
        return f"{self.target} of {self.distribution}"

    @property
    def is_foreign(self) -> bool:
        return self.distribution != BUILTIN_DISTRIBUTION


@dataclass(frozen=True)
class _Description:
    """What a plug-in says of itself."""

    summary: str = ""
    requires: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any], facts: Sequence[str], summary: str) -> _Description:
        """Take what is wanted of what was said; `summary` is for one that says none."""
        own = {name: str(said[name]) for name in facts if said.get(name) is not None}
        version = said.get("version")
        requires = tuple(map(str, said.get("requires", ())))
        return cls(str(said.get("summary", summary)), requires, own, None if version is None else str(version))


class Registry:
    """The plug-ins of one kind, by name.

    Args:
        group: entry-point group, such as `admbench.methods`.
        kind: the word for error messages, such as `method`.
        builtin: name -> `module:attribute` of the plug-ins that come with the package.
        facts: names of what its plug-ins say of themselves beside `summary` and `requires`, each a text.
    """

    def __init__(
        self, group: str, kind: str, builtin: Mapping[str, str] | None = None, facts: Sequence[str] = ()
    ) -> None:
        self.group = group
        self.kind = kind
        self.builtin = dict(builtin or {})
        self.facts = tuple(facts)
        self._registered: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Plugin], Plugin]:
        """Decorate a class or function to make it the plug-in called `name`.

        Raises:
            PluginError: another plug-in has that name; names both owners. Defining the same thing again replaces it.
        """

        def decorate(plugin: Plugin) -> Plugin:
            new = _declared_by_decorator(name, plugin)
            for old in self._owners(name):
                if old.target != new.target:
                    raise PluginError(f'{self.kind} "{name}" is claimed by both {old.owner} and {new.owner}')
            self._registered[name] = plugin
            return plugin

        return decorate

    def names(self) -> list[str]:
        """Return all names: built-ins in their declared order, then the others in alphabetical order."""
        others = {entry.name for entry in self._installed} | set(self._registered)
        return [*self.builtin, *sorted(others - set(self.builtin))]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._owners(name))

    def check(self, name: str) -> None:
        """Raise UsageError unless there is a plug-in of that name, with the nearest; none is imported."""
        if name not in self:
            raise self._unknown(name)

    def get(self, name: str) -> Any:
        """Import and return the plug-in.

        Raises:
            UsageError: there is none of that name; names the nearest.
            PluginError: two claim the name, or it fails to import; gives the reason.
        """
        declared = self._only_owner(name)
        if name in self._registered:
            return self._registered[name]
        try:
            return load_target(declared.target)
        except BenchError:
            raise
        except Exception as error:  # a plug-in may fail in any way; the reason is passed on
            raise PluginError(f'{self.kind} "{name}" ({declared.owner}) cannot be loaded: {_reason(error)}') from error

    def info(self, name: str) -> PluginInfo:
        """Describe one plug-in; one that is broken or claimed twice is described with the reason, not raised.

        Raises:
            UsageError: there is none of that name; names the nearest.
        """
        return self._infos([name])[0]

    def infos(self) -> list[PluginInfo]:
        """Describe every plug-in, in the order of `names()`; modules of other distributions are loaded in children."""
        return self._infos(self.names())

    def _infos(self, names: Sequence[str]) -> list[PluginInfo]:
        owners = {name: self._owners(name) for name in names}
        for name, found in owners.items():
            if not found:
                raise self._unknown(name)
        single = [found[0] for found in owners.values() if len(found) == 1]
        probed = _probe([one.target for one in single if self._is_probed(one)], self.facts)
        return [self._info(name, found, probed) for name, found in owners.items()]

    def _info(self, name: str, owners: Sequence[_Declared], probed: Mapping[str, _Description | str]) -> PluginInfo:
        said = _Description()
        try:
            said = self._describe(self._only_owner(name), probed)
            unavailable = missing_distributions(said.requires)
        except PluginError as error:
            unavailable = str(error)
        first = owners[0]
        return PluginInfo(
            name, self.group, first.target, first.distribution, said.summary, said.requires, unavailable, said.facts
        )

    def identity(self, name: str) -> PluginIdentity:
        """Return what tells this state of a plug-in from another; see `admbench.identities`.

        What its source says as literals is read there. Only a plug-in of another distribution that computes its
        `version` or `requires`, or takes them from a class that is not found, is loaded, in a child process. One that
        cannot be loaded has the identity of its source.

        Raises:
            UsageError: there is none of that name; names the nearest.
            PluginError: two claim the name.
        """
        declared = self._only_owner(name)
        if declared.distribution == BUILTIN_DISTRIBUTION:
            return _of_our_own(
                self.group, name, declared.target, source_sha256(room_of(declared.target)), installed_state()
            )
        said = self._said(declared)
        return of_distribution(self.group, name, declared.target, declared.distribution, said.version, said.requires)

    def identities_of_others(self) -> list[PluginIdentity]:
        """Return the identity of every plug-in of another distribution whose name is its own."""
        names = [name for name in self.names() if len(owners := self._owners(name)) == 1 and owners[0].is_foreign]
        return [self.identity(name) for name in names]

    def _said(self, declared: _Declared) -> _Description:
        """Return what a plug-in that is not ours says of itself."""
        if declared.name in self._registered:
            return _described_by(self._registered[declared.name], self.facts)
        said = _by_source(declared.target)
        if said is None:
            module = declared.target.partition(":")[0]
            said = _told(declared, sources.sha256_of_distribution(declared.distribution, module))
        return said

    @cached_property
    def _installed(self) -> list[_Declared]:
        """Entry points of the group that other distributions declare."""
        found = {
            _Declared(point.name, point.value.replace(" ", ""), point.dist.name if point.dist else "unknown")
            for point in metadata.entry_points(group=self.group)
        }
        others = (entry for entry in found if entry.distribution != BUILTIN_DISTRIBUTION)
        return sorted(others, key=lambda entry: (entry.name, entry.distribution, entry.target))

    def _owners(self, name: str) -> list[_Declared]:
        owners = [_Declared(name, self.builtin[name], BUILTIN_DISTRIBUTION)] if name in self.builtin else []
        owners += [entry for entry in self._installed if entry.name == name]
        if name in self._registered:
            entry = _declared_by_decorator(name, self._registered[name])
            owners += [entry] if all(entry.target != other.target for other in owners) else []
        return owners

    def _only_owner(self, name: str) -> _Declared:
        owners = self._owners(name)
        if not owners:
            raise self._unknown(name)
        if len(owners) > 1:
            raise PluginError(f'{self.kind} "{name}" is claimed by both {owners[0].owner} and {owners[1].owner}')
        return owners[0]

    def _unknown(self, name: str) -> UsageError:
        names = self.names()
        return UsageError(
            f'unknown {self.kind} "{name}".{nearest(name, names)} Available: {", ".join(names) or "none"}'
        )

    def _is_probed(self, declared: _Declared) -> bool:
        """Whether a child process has to say what it is."""
        return declared.name not in self._registered and declared.distribution != BUILTIN_DISTRIBUTION

    def _describe(self, declared: _Declared, probed: Mapping[str, _Description | str]) -> _Description:
        if self._is_probed(declared):
            answer = probed[declared.target]
            if isinstance(answer, str):
                raise PluginError(f"{declared.owner}: {answer}")
            return answer
        if declared.name in self._registered:
            return _described_by(self._registered[declared.name], self.facts)
        return _read_source(declared.target, self.facts)


def _declared_by_decorator(name: str, plugin: Any) -> _Declared:
    return _Declared(name, f"{plugin.__module__}:{plugin.__qualname__}", plugin.__module__)


def load_target(target: str) -> Any:
    """Import what `module:attribute` names."""
    module, _, attribute = target.partition(":")
    plugin = importlib.import_module(module)
    for part in attribute.split("."):
        plugin = getattr(plugin, part)
    return plugin


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _described_by(plugin: Any, facts: Sequence[str]) -> _Description:
    doc = (getattr(plugin, "__doc__", None) or "").strip().splitlines()
    said = {name: getattr(plugin, name) for name in (*_DESCRIBED, "version", *facts) if hasattr(plugin, name)}
    return _Description.of(said, facts, doc[0] if doc else "")


def missing_distributions(requires: Iterable[str]) -> str | None:
    """Return which distributions are not installed, with the command that gets them; None if all are."""
    missing = [name for name in requires if not any(metadata.distributions(name=name))]
    return f"needs {', '.join(missing)}: pip install {' '.join(missing)}" if missing else None


@cache
def _told(declared: _Declared, source: str | None) -> _Description:
    """Return what a child process says of a plug-in, once for a state of its source; nothing if it cannot be loaded."""
    answer = _probe([declared.target], ())[declared.target]
    return answer if isinstance(answer, _Description) else _Description()


@cache
def _of_our_own(
    group: str, name: str, target: str, source: str, installed: tuple[tuple[str, int], ...]
) -> PluginIdentity:
    """Return the identity of a built-in plug-in, once for a state of its source and of what is installed."""
    said = _by_source(target) or _Description()
    return of_builtin(group, name, target, said.version, said.requires)


def _by_source(target: str) -> _Description | None:
    """Return the version and the requirements that a plug-in's source says; None where it does not tell."""
    try:
        version, requires = (sources.class_literal(target, name) for name in ("version", "requires"))
    except LookupError:
        return None
    return _Description.of({"version": version, "requires": requires or ()}, (), "")


def _read_source(target: str, facts: Sequence[str]) -> _Description:
    """Read what a built-in says of itself from its module's source, without importing it."""
    module, _, attribute = target.partition(":")
    if sources.find_module(module) is None:
        raise PluginError(f"{target}: no module {module}")
    found = sources.find_definition(target)
    if found is None:
        raise PluginError(f"{target}: no class, function or object {attribute} in {module}")
    return _Description.of(found.literals((*_DESCRIBED, *facts)), facts, found.summary)


_DESCRIBED = ("summary", "requires")


def _probe(targets: Iterable[str], facts: Sequence[str]) -> dict[str, _Description | str]:
    """Load plug-ins of other distributions, each module in a child process; what each is, or why it cannot be told."""
    modules: dict[str, list[str]] = {}
    for target in targets:
        modules.setdefault(target.partition(":")[0], []).append(target)
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = pool.map(partial(_probe_module, facts), modules.values())
        return {target: answer for found in answers for target, answer in found.items()}


def _probe_module(facts: Sequence[str], targets: Sequence[str]) -> Mapping[str, _Description | str]:
    code = "import json, sys; from admbench import registry; registry._answer_probe(*map(json.loads, sys.argv[1:]))"
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    try:
        child = subprocess.run(
            [sys.executable, "-c", code, json.dumps(targets), json.dumps(facts)],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(targets, f"still loading after {PROBE_TIMEOUT:.0f} s")
    answers = [line for line in child.stdout.splitlines() if line.startswith(_PROBE_MARK)]
    if child.returncode != 0 or len(answers) != len(targets):
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        return dict.fromkeys(targets, f"{last} (exit code {child.returncode})")
    found: dict[str, _Description | str] = {}
    for target, line in zip(targets, answers, strict=True):
        answer = json.loads(line.removeprefix(_PROBE_MARK))
        found[target] = (
            answer["error"]
            if "error" in answer
            else _Description(answer["summary"], tuple(answer["requires"]), answer["facts"], answer["version"])
        )
    return found


def _answer_probe(targets: Iterable[str], facts: Sequence[str]) -> None:
    """Print what `_probe_module` asks for, a line a plug-in; runs in the child."""
    for target in targets:
        answer: dict[str, Any]
        try:
            answer = asdict(_described_by(load_target(target), facts))
        except Exception as error:  # a plug-in may fail in any way; the others of its module are still told
            answer = {"error": _reason(error)}
        print("\n" + _PROBE_MARK + json.dumps(answer))
