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

import ast
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib import metadata, util
from pathlib import Path
from typing import Any, TypeVar

from admbench.errors import BenchError, PluginError, UsageError, nearest

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


@dataclass(frozen=True)
class _Description:
    """What a plug-in says of itself."""

    summary: str = ""
    requires: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any], facts: Sequence[str], summary: str) -> _Description:
        """Take what is wanted of what was said; `summary` is for one that says none."""
        own = {name: str(said[name]) for name in facts if said.get(name) is not None}
        return cls(str(said.get("summary", summary)), tuple(said.get("requires", ())), own)


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
    said = {name: getattr(plugin, name) for name in (*_DESCRIBED, *facts) if hasattr(plugin, name)}
    return _Description.of(said, facts, doc[0] if doc else "")


def missing_distributions(requires: Iterable[str]) -> str | None:
    """Return which distributions are not installed, with the command that gets them; None if all are."""
    missing = [name for name in requires if not any(metadata.distributions(name=name))]
    return f"needs {', '.join(missing)}: pip install {' '.join(missing)}" if missing else None


_PARSING = threading.Lock()
"""Python 3.11 counts the depth of a syntax tree in one place for all threads: parsing in two at once can fail."""


def _read_source(target: str, facts: Sequence[str]) -> _Description:
    """Read what a built-in says of itself from its module's source, without importing it."""
    module, _, attribute = target.partition(":")
    try:
        spec = util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise PluginError(f"{target}: no module {module}")
    source = Path(spec.origin).read_text(encoding="utf-8")
    with _PARSING:
        tree = ast.parse(source)
    wanted = (*_DESCRIBED, *facts)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return _Description.of(_class_literals(node, wanted), facts, _first_line(node))
        if isinstance(node, ast.FunctionDef) and node.name == attribute:
            return _Description(_first_line(node))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _names(node.targets) == [attribute]:
            keywords = [one for one in node.value.keywords if one.arg in wanted]
            return _Description.of({str(one.arg): ast.literal_eval(one.value) for one in keywords}, facts, "")
    raise PluginError(f"{target}: no class, function or object {attribute} in {module}")


_DESCRIBED = ("summary", "requires")


def _names(targets: Iterable[ast.expr]) -> list[str]:
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _class_literals(node: ast.ClassDef, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the class attributes of these names, which have to be literals."""
    literals = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        literals.update({name: ast.literal_eval(value) for name in _names(targets) if name in wanted})
    return literals


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


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
            else _Description(answer["summary"], tuple(answer["requires"]), answer["facts"])
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
