"""Where the source of a module lies and what a class in it says of itself, found without importing anything.

Importing a plug-in runs other people's code and takes seconds; its source says as much of it as a key or a list needs.
"""

from __future__ import annotations

import ast
import builtins
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from admbench.hashing import remembered_sha256, sha256_json

NOT_SOURCE = ("__pycache__", ".git", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".DS_Store")
"""Folders and files that come and go beside source."""

_PARSING = threading.Lock()
"""Python 3.11 counts the depth of a syntax tree in one place for all threads: parsing in two at once can fail."""


def find_module(name: str) -> ModuleSpec | None:
    """Return where a module would be imported from, without importing the packages that hold it; None if nowhere."""
    path: list[str] | None = None
    spec = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:depth]), path)
        if spec is None or (depth < len(parts) and spec.submodule_search_locations is None):
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _find(name: str, path: list[str] | None) -> ModuleSpec | None:
    """Ask what Python asks; `importlib.util.find_spec` would import the packages of a name with dots."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path) if hasattr(finder, "find_spec") else None
        if spec is not None:
            return spec
    return None


@dataclass(frozen=True)
class Definition:
    """A class, a function or an object in the source of a module."""

    node: ast.ClassDef | ast.FunctionDef | ast.Call
    module: str

    def literals(self, wanted: Iterable[str]) -> dict[str, Any]:
        """Return the attributes of a class, or the keywords of a call, of these names; each has to be a literal.

        Raises:
            ValueError: one is computed.
        """
        wanted = tuple(wanted)
        if isinstance(self.node, ast.Call):
            return {str(one.arg): ast.literal_eval(one.value) for one in self.node.keywords if one.arg in wanted}
        if isinstance(self.node, ast.FunctionDef):
            return {}
        return {name: ast.literal_eval(value) for name, value in _assigned(self.node.body) if name in wanted}

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return "" if isinstance(self.node, ast.Call) else (ast.get_docstring(self.node) or "").partition("\n")[0]


def find_definition(target: str) -> Definition | None:
    """Return what `module:attribute` names, by its source, followed through imports; None where it is not to be found.

    An attribute of a class is not followed.
    """
    return _followed(*_split(target))[2]


def class_literal(target: str, name: str) -> Any:
    """Return the literal that a class, or the first of its bases that has one, holds under a name; None if none does.

    Bases are looked at depth first, which is Python's order but for diamonds; those of the standard library hold
    nothing that a plug-in says. Of an object that a call makes it is the keyword of that name.

    Raises:
        LookupError: the source does not tell: the value or a base is computed, or a class is not found.
    """
    module, attribute, found = _followed(*_split(target))
    if found is None:
        if module.partition(".")[0] in sys.stdlib_module_names:
            return None
        raise LookupError(f"{target}: no source of {attribute} in {module}")
    try:
        own = found.literals([name])
    except ValueError:
        raise LookupError(f"{target}: {name} is computed") from None
    if name in own or not isinstance(found.node, ast.ClassDef):
        return own.get(name)
    for base in found.node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
        if isinstance(base, ast.Name) and hasattr(builtins, base.id):
            continue
        inherited = class_literal(_target_of(base, found.module), name)
        if inherited is not None:
            return inherited
    return None


def _split(target: str) -> tuple[str, str]:
    module, _, attribute = target.partition(":")
    return module, attribute


def _followed(module: str, attribute: str) -> tuple[str, str, Definition | None]:
    """Return the module that defines a name, what the name is there, and the definition, if its source is here."""
    seen: set[tuple[str, str]] = set()
    while (module, attribute) not in seen:
        seen.add((module, attribute))
        for node in reversed(_body(module)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
                return module, attribute, Definition(node, module)
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and _names(node.targets) == [attribute]
            ):
                return module, attribute, Definition(node.value, module)
            if isinstance(node, ast.ImportFrom) and (found := _imported(node, attribute)) is not None:
                module, attribute = _absolute(module, node), found
                break
    return module, attribute, None


def _target_of(base: ast.expr, module: str) -> str:
    """Return `module:attribute` of an expression that names a class: `Base`, or `somewhere.Base`."""
    if isinstance(base, ast.Name):
        return f"{module}:{base.id}"
    if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
        for node in reversed(_body(module)):
            if isinstance(node, ast.ImportFrom) and (found := _imported(node, base.value.id)) is not None:
                return f"{_absolute(module, node)}.{found}:{base.attr}"
            if isinstance(node, ast.Import):
                for one in node.names:
                    if base.value.id == (one.asname or one.name):
                        return f"{one.name}:{base.attr}"
    raise LookupError(f"{module}: the base {ast.unparse(base)} is computed")


def sha256_of_folder(folder: Path) -> str:
    """Return a hash over all files in a folder by their names in it: code, weights, templates."""
    return sha256_json({path.relative_to(folder).as_posix(): remembered_sha256(path) for path in _files_in(folder)})


def sha256_of_module(name: str) -> str | None:
    """Return the hash of a module's file, or of its whole folder if it is a package; None where there is no source."""
    spec = find_module(name)
    if spec is None:
        return None
    if spec.submodule_search_locations is not None and spec.origin not in (None, "namespace"):
        return sha256_of_folder(Path(spec.submodule_search_locations[0]))
    return remembered_sha256(Path(spec.origin)) if spec.origin is not None and Path(spec.origin).is_file() else None


def sha256_of_used(package: str, *modules: str) -> str | None:
    """Return a hash over what modules of a package use of it, or over what all of them share if none is named.

    Shared is every file but the modules that lie directly in the package: those count where `used_modules` has them.
    So one of two methods that import nothing of each other can be edited, and the other is what it was.

    Args:
        package: dotted name.
        modules: dotted names of modules in it.

    Returns:
        None where there is no source of the package.
    """
    parts = _parts(package)
    if parts is None:
        return None
    folder, shared, own = parts
    files = sorted({*shared, *(own[name] for name in used_modules(package, *modules))})
    return sha256_json({path.relative_to(folder).as_posix(): remembered_sha256(path) for path in files})


def used_modules(package: str, *modules: str) -> set[str]:
    """Return the modules directly in a package that its subpackages, or modules of it, import, also through others."""
    parts = _parts(package)
    if parts is None:
        return set()
    folder, shared, own = parts
    reached = own.keys() & {*modules}
    waiting = [(_dotted(package, folder, path), path) for path in shared if path.suffix == ".py"]
    waiting += [(name, own[name]) for name in reached]
    while waiting:
        more = (_imports(*waiting.pop()) & own.keys()) - reached
        reached |= more
        waiting += [(name, own[name]) for name in more]
    return reached


def _parts(package: str) -> tuple[Path, list[Path], dict[str, Path]] | None:
    """Return a package's folder, the files that all of it shares, and the modules that lie directly in it by name."""
    spec = find_module(package)
    if spec is None or spec.submodule_search_locations is None or spec.origin in (None, "namespace"):
        return None
    folder = Path(spec.submodule_search_locations[0])
    own = {f"{package}.{path.stem}": path for path in folder.glob("*.py") if path.name != "__init__.py"}
    return folder, [path for path in _files_in(folder) if path not in own.values()], own


def _imports(module: str, path: Path) -> frozenset[str]:
    """Return the dotted names that a module's source imports anywhere in it: of modules, and of what is in them."""
    status = path.stat()
    return _imports_of_file(module, str(path), status.st_mtime_ns, status.st_size)


@cache
def _imports_of_file(module: str, path: str, mtime: int, size: int) -> frozenset[str]:
    tree = _parsed_file(path, mtime, size)
    found: set[str] = set()
    for node in () if tree is None else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            found |= {base, *(f"{base}.{one.name}" for one in node.names)}
    return frozenset(found)


def _dotted(package: str, folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def sha256_of_distribution(name: str, module: str) -> str | None:
    """Return a hash over the source of a distribution: the package that holds a module, and all others that it brings.

    Args:
        name: of the distribution; one that is not installed, as of a plug-in that was registered here, is the module's
            own package.
        module: a module of it, dotted.

    Returns:
        None where no source is to be found, as of what was typed into an interpreter.
    """
    hashes = {one: sha256_of_module(one) for one in sorted({_whole(module), *_brought_by(name)})}
    found = {one: digest for one, digest in hashes.items() if digest is not None}
    return sha256_json(found) if found else None


def _whole(module: str) -> str:
    """Return the outermost package of a module that is one distribution's alone: a namespace is shared by many."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        spec = find_module(".".join(parts[:depth]))
        if spec is None or spec.origin not in (None, "namespace"):
            return ".".join(parts[:depth])
    return module


def _brought_by(distribution: str) -> Iterator[str]:
    """Yield the modules that a distribution says it brings at the top."""
    try:
        found = metadata.distribution(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return
    for line in (found.read_text("top_level.txt") or "").split():
        spec = find_module(line)
        if spec is not None and spec.origin not in (None, "namespace"):
            yield line


def _files_in(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and not set(NOT_SOURCE) & {*path.relative_to(folder).parts}
    ]


def _body(module: str) -> list[ast.stmt]:
    """Return the statements of a module; none where it has no source that can be read."""
    spec = find_module(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return []
    status = Path(spec.origin).stat()
    tree = _parsed_file(spec.origin, status.st_mtime_ns, status.st_size)
    return [] if tree is None else tree.body


@cache
def _parsed_file(path: str, mtime: int, size: int) -> ast.Module | None:
    with _PARSING:
        try:
            return ast.parse(Path(path).read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            return None  # importing it will say so


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for statement in body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from _pairs(target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from _pairs(statement.target, statement.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield name and value of an assignment, also of `a, b = 1, 2`."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, own in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, own)


def _names(targets: Iterable[ast.expr]) -> list[str]:
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _imported(node: ast.ImportFrom, name: str) -> str | None:
    """Return what a name is called where it is imported from; None if this import does not bring it."""
    return next((one.name for one in node.names if (one.asname or one.name) == name), None)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the module that an import in a module names."""
    if not node.level:
        return str(node.module)
    spec = find_module(module)
    package = module if spec is not None and spec.submodule_search_locations is not None else module.rpartition(".")[0]
    base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
    return f"{base}.{node.module}" if node.module else base
