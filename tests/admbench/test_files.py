"""Atomic files, checked reading and safe names."""

import errno
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admbench import files
from admbench.errors import DataError
from admbench.files import (
    MOST_TEXT_BYTES,
    atomic_directory,
    inside,
    link,
    read_json,
    read_yaml,
    remove,
    slug,
    write_json_atomic,
    write_text_atomic,
)


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json_atomic(path, {"value": 1.5, "reason": "größer"})
    write_json_atomic(path, {"value": None})
    assert read_json(path) == {"value": None}
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_text_atomic(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_names_the_file_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="too long") as error:
        files.write_bytes_atomic(tmp_path / ("x" * 300), b"")
    assert error.value.filename == str(tmp_path / ("x" * 300))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        files.write_text_atomic(tmp_path / "x", "y")
    assert error.value.filename == str(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(tmp_path / "a.json", {"fd": math.nan})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', "[" * 100_000, "", '{"a": {"b": 1, "b": 2}}'])
def test_malformed_json_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.json: not valid JSON"):
        read_json(path)


def test_missing_and_binary_files_are_errors_that_name_the_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.json: cannot be read"):
        read_json(tmp_path / "binary.json")


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "!!python/object/apply:os.mkdir [ran]", "a: 1\na: 2", "a: &x [1]\nb: *x"]
)
def test_malformed_yaml_is_one_line_that_names_the_file(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yml").write_text(text)
    with pytest.raises(DataError, match=r"broken\.yml: not valid YAML") as caught:
        read_yaml(tmp_path / "broken.yml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_what_a_file_holds_that_is_no_yaml_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("secret: [hunter2\nother: 3\n")
    with pytest.raises(DataError, match=r"x\.yaml: not valid YAML \(line 2, column 6: expected") as error:
        read_yaml(tmp_path / "x.yaml")
    assert "hunter2" not in str(error.value)


def test_yaml_is_plain_values(tmp_path):
    (tmp_path / "a.yml").write_text("rate: 1.0e-05\nlevels: [1, 2]\npath:\n")
    assert read_yaml(tmp_path / "a.yml") == {"rate": 1e-5, "levels": [1, 2], "path": None}


def test_a_directory_appears_whole_and_replaces_the_old_one(tmp_path):
    for text in ("first", "second"):
        with atomic_directory(tmp_path / "cell") as folder:
            (folder / text).write_text(text)
            assert not (tmp_path / "cell" / text).exists()
    assert [entry.name for entry in tmp_path.rglob("*")] == ["cell", "second"]


def test_a_directory_whose_making_fails_leaves_the_old_one(tmp_path):
    with atomic_directory(tmp_path / "cell") as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "cell") as folder:  # noqa: PT012
        (folder / "half").touch()
        raise RuntimeError
    assert [entry.name for entry in tmp_path.rglob("*")] == ["cell", "old"]


def test_files_of_a_directory_are_as_readable_as_any_other(tmp_path):
    with atomic_directory(tmp_path / "cell") as folder:
        (folder / "private").touch(mode=0o600)
    (tmp_path / "usual").touch()
    assert (tmp_path / "cell" / "private").stat().st_mode == (tmp_path / "usual").stat().st_mode


@given(st.text(), st.text())
def test_slugs_are_safe_and_different_for_different_texts(first, second):
    for name in (slug(first), slug(second)):
        assert name[0].isalnum()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert len(name) <= 64
    assert (slug(first) == slug(second)) == (first == second)


def test_a_text_that_looks_like_a_slug_of_another_is_hashed_too():
    assert slug(slug("naive@w4a8")) != slug("naive@w4a8")


def test_unicode_survives(tmp_path):
    write_json_atomic(tmp_path / "a.json", "犬が吠える")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == "犬が吠える"


@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
def test_finished_files_are_linked_or_copied_where_there_are_no_links(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr("os.link", refuse)
    source = tmp_path / "audio"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "a.wav").write_bytes(b"sound")
    link(source, tmp_path / "linked")
    link(source / "inner" / "a.wav", tmp_path / "other" / "a.wav")
    for target in (tmp_path / "linked" / "inner" / "a.wav", tmp_path / "other" / "a.wav"):
        assert target.read_bytes() == b"sound"
        assert target.samefile(source / "inner" / "a.wav") is links


def test_removing_takes_files_links_and_folders_and_follows_no_link(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for name in ("link", "folder", "nothing"):
        remove(tmp_path / name)
        assert not (tmp_path / name).exists()
    assert (kept / "file").exists()
    remove(kept / "file")
    assert list(kept.iterdir()) == []


def refuse(source, target):
    raise OSError("no links here")


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_what_never_ends_or_is_too_large_is_refused_unread(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(MOST_TEXT_BYTES + 1)
    for name, reason in (("pipe", "expected a regular file"), ("large", "larger than"), (".", "expected a regular")):
        with pytest.raises(DataError, match=reason):
            read(tmp_path / name)
    with pytest.raises(DataError, match="expected a regular file"):
        read("/dev/zero")


def test_what_is_inside_of_a_folder_is_told_with_all_links_followed(tmp_path):
    (tmp_path / "run" / "work").mkdir(parents=True)
    (tmp_path / "run" / "out").symlink_to(tmp_path)
    (tmp_path / "run" / "circle").symlink_to(tmp_path / "run" / "circle")
    assert inside(tmp_path / "run", tmp_path / "run" / "work" / "new")
    for path in (tmp_path, tmp_path / "run" / "out", tmp_path / "run" / ".." / "x", tmp_path / "run" / "a\0"):
        assert not inside(tmp_path / "run", path)
