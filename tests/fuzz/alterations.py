"""Alterations of a folder as data: what a fuzzer draws, and what a regression keeps in a small JSON file.

An alteration is a list: its kind, the file that it alters, and what it does there. Applying one to a folder that lacks
the file, or the place in it, does nothing.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

Alteration = list[Any]
SENTINEL = "pickle-ran"
"""File that a pickle makes in the folder where it is read, if anybody lets it."""

EXTREMES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    7,
    2**24,
    2**31,
    2**63,
    10**12,
    10**30,
    1e308,
    -1e308,
    5e-324,
    "",
    "x" * 5000,
    "\u202e",
    "\x00",
    "../../etc/passwd",
    "/etc/passwd",
    "os.system",
    [],
    {},
    [1] * 300,
    [2**24] * 3,
    [[[[0]]]],
    {"a": {"b": 10**9}},
]
SCALARS = st.one_of(st.sampled_from(EXTREMES), st.integers(-(2**40), 2**40), st.text(max_size=8))
YAML = (".yaml", ".yml")
LINKS = ["/dev/zero", "/etc/passwd", "/proc/self/environ", "..", "itself", "nowhere"]
TENSOR_CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "nan": lambda tensor: torch.full_like(tensor.float(), torch.nan),
    "infinity": lambda tensor: torch.full_like(tensor.float(), torch.inf),
    "integers": lambda tensor: tensor.to(torch.int64),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "half": lambda tensor: tensor.half(),
    "flat": lambda tensor: tensor.reshape(-1)[:-1].clone(),
    "negative": lambda tensor: -tensor if tensor.is_floating_point() else tensor,
    "huge": lambda tensor: tensor.float() * 1e38,
    "dropped": lambda _: None,
}


class Runs:
    """What a pickle does that runs code: it makes a file."""

    def __reduce__(self) -> Any:
        return (os.mkdir, (SENTINEL,))


def drawn(folder: Path, files: Iterable[str], *, tensors: str | None = None) -> st.SearchStrategy[Alteration]:
    """Return a strategy of alterations of the named files of a good folder.

    Args:
        folder: that they will be applied to copies of.
        files: relative to it; those of JSON and YAML are also altered as such.
        tensors: one of safetensors or of torch.save, of which single tensors are altered.
    """
    files = list(files)
    kinds = [_of_bytes(folder, files), _of_the_file_system(files)]
    for name in (name for name in files if name.endswith((".json", *YAML))):
        kinds += [_of_json(name, _parsed(folder / name))] * 2
    if tensors is not None:
        names = sorted(_tensors(folder / tensors)[1])
        kinds.append(
            st.tuples(
                st.just("tensor"), st.just(tensors), st.sampled_from(names), st.sampled_from(sorted(TENSOR_CHANGES))
            )
        )
    return st.one_of(*kinds).map(list)


def _of_json(name: str, value: Any) -> st.SearchStrategy[Any]:
    places = st.sampled_from(places_of(value)).map(list)
    return st.one_of(
        st.tuples(st.just("set"), st.just(name), places, SCALARS),
        st.tuples(st.sampled_from(["delete", "twice"]), st.just(name), places),
        st.tuples(st.just("add"), st.just(name), places, st.text(max_size=6), SCALARS),
    )


def _of_bytes(folder: Path, files: list[str]) -> st.SearchStrategy[Any]:
    sizes = {name: (folder / name).stat().st_size for name in files}

    def at(name: str) -> st.SearchStrategy[Any]:
        # the beginning of a file, which says what the rest is, as often as all of it
        offsets = st.one_of(st.integers(0, min(64, sizes[name])), st.integers(0, sizes[name]))
        return st.one_of(
            st.tuples(st.just("cut"), st.just(name), offsets),
            st.tuples(st.just("flip"), st.just(name), offsets, st.integers(0, 7)),
            st.tuples(
                st.just("splice"), st.just(name), offsets, st.integers(0, 9), st.binary(max_size=9).map(bytes.hex)
            ),
        )

    return st.sampled_from(files).flatmap(at)


def _of_the_file_system(files: list[str]) -> st.SearchStrategy[Any]:
    name = st.sampled_from(files)
    return st.one_of(
        st.tuples(st.sampled_from(["remove", "empty", "pipe", "folder", "pickle", "unreadable"]), name),
        st.tuples(st.just("link"), name, st.sampled_from(LINKS)),
        st.tuples(st.just("copy"), name, st.sampled_from(["copy", "é\udcff", "._x", "a" * 200])),
    )


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place of a JSON value but itself."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [place for key, item in items for place in places_of(item, (*path, key))]


def apply(folder: Path, alterations: Iterable[Alteration]) -> None:
    """Alter a folder, in the order given; what an earlier alteration linked to, outside of it, is never written to."""
    for kind, name, *more in alterations:
        file = folder / name
        if kind in _REPLACED or (file.is_file() and not file.is_symlink() and os.access(file, os.R_OK | os.W_OK)):
            KINDS[kind](file, *more)


def _parsed(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    return yaml.safe_load(text) if file.suffix in YAML else json.loads(text)


def _edit(file: Path, change: Callable[[Any, Any], None], place: list[Any], *, as_json: bool = False) -> None:
    """Change the JSON or YAML value that holds a place; what is JSON is YAML as well."""
    try:
        whole = holder = _parsed(file)
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]]
        change(holder, place[-1])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, yaml.YAMLError):
        return  # no such place, or altered before
    write = yaml.safe_dump if file.suffix in YAML and not as_json else json.dumps
    file.write_text(write(whole), encoding="utf-8")


def _set(file: Path, place: list[Any], value: Any) -> None:
    _edit(file, lambda holder, key: holder.__setitem__(key, value), place)


def _delete(file: Path, place: list[Any]) -> None:
    _edit(file, lambda holder, key: holder.__delitem__(key), place)


def _add(file: Path, place: list[Any], name: str, value: Any) -> None:
    _edit(file, lambda holder, _: holder.__setitem__(name, value), place)


def _twice(file: Path, place: list[Any]) -> None:
    """Write a key of an object a second time, with null, before the first: most readers take the last."""
    marker = "a key that comes twice"

    def change(holder: Any, key: Any) -> None:
        items = list(holder.items())
        holder.clear()
        holder.update([(marker, key), *items])

    _edit(file, change, place, as_json=True)
    data, key = file.read_bytes(), json.dumps(place[-1]).encode()  # no JSON where it was altered before
    file.write_bytes(data.replace(b'"%s": %s' % (marker.encode(), key), b"%s: null" % key, 1))


def _bytes(file: Path, change: Callable[[bytearray], bytes | bytearray]) -> None:
    file.write_bytes(change(bytearray(file.read_bytes())))


def _flip(file: Path, offset: int, bit: int) -> None:
    data = bytearray(file.read_bytes())
    if offset < len(data):
        data[offset] ^= 1 << bit
    file.write_bytes(data)


def _in_place(file: Path, make: Callable[[], Any]) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    make()


def _link(file: Path, target: str) -> None:
    _in_place(file, lambda: file.symlink_to(file.name if target == "itself" else target))


def _copy(file: Path, name: str) -> None:
    shutil.copyfile(file, os.fsencode(file.parent) + b"/" + os.fsencode(name) + file.suffix.encode())


def _pickle(file: Path) -> None:
    """Put code that runs in place of a file, and beside it where torch would look for its own format."""
    for path in (file, file.with_suffix(".bin")):
        path.unlink(missing_ok=True)
        path.write_bytes(pickle.dumps(Runs()))


def _tensors(file: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return what a file holds, and the tensors in it: those of torch.save may lie beside other values."""
    whole = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    return whole, whole.get("state_dict", whole)


def _tensor(file: Path, name: str, change: str) -> None:
    try:
        whole, tensors = _tensors(file)
    except Exception:
        return  # altered before
    if name in tensors:
        changed = TENSOR_CHANGES[change](tensors.pop(name))
        if changed is not None:
            tensors[name] = changed
        (save_file if file.suffix == ".safetensors" else torch.save)(whole, file)


_REPLACED = ("folder", "pipe")
"""Kinds that put something in the place of whatever is there."""
KINDS: dict[str, Callable[..., Any]] = {
    "set": _set,
    "delete": _delete,
    "add": _add,
    "twice": _twice,
    "cut": lambda file, length: _bytes(file, lambda data: data[:length]),
    "flip": _flip,
    "splice": lambda file, start, length, new: _bytes(
        file, lambda data: data[:start] + bytes.fromhex(new) + data[start + length :]
    ),
    "remove": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "pipe": lambda file: _in_place(file, lambda: os.mkfifo(file)),
    "folder": lambda file: _in_place(file, file.mkdir),
    "unreadable": lambda file: file.chmod(0),
    "link": _link,
    "copy": _copy,
    "pickle": _pickle,
    "tensor": _tensor,
    "text": lambda file, text: file.write_text(text, encoding="utf-8"),
}
