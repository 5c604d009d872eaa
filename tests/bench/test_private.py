"""Nothing that a run writes for others says who made it, where, or with which password."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.publishing import publish_site
from admbench.bench.run.runner import run_grid
from admbench.private_text import Private

from .in_process import JUDGES, Here

USER = "jane-tellmore"
TOKEN = "correct-horse-battery"
URL_TOKEN = "fJ3kd92mXq71"


@pytest.mark.usefixtures("check_specs_here")
def test_records_pages_and_what_is_published_of_a_run_name_no_home_no_user_and_no_token(
    make_grid: Callable[..., GridSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / USER
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", USER)
    monkeypatch.setenv("LOGNAME", USER)
    monkeypatch.setenv("HUB_TOKEN", TOKEN)
    said = f"cannot open {home}/w.bin, /scratch/{USER}/w.bin (401, {TOKEN}, s3://jane:pw0rd@host/w?X-Token={URL_TOKEN})"
    monkeypatch.setattr("fake_adm.Raises.quantize", _raise(said), raising=False)
    captions = home / "captions.txt"
    captions.write_text("a dog barks\nrain on a tin roof\n")
    command = f"bench run --out {home}/runs --suite {captions}"
    grid = make_grid(methods=["fp32", "raises"], suite=str(captions), out=home / "runs")
    done, failed = run_grid(grid, command=command, judges=JUDGES, executor=Here())
    assert done.reason is None
    assert said in str(failed.reason), "who runs it is told everything"
    for cell in (done, failed):
        cell.job.target.log.write_text(f"{said}\n")
    publish_site(grid.out)
    assert b"~/w.bin" in b"".join(path.read_bytes() for path in grid.out.glob("site/**/*.html")), (
        "the log's end is shown"
    )
    board = tmp_path / "board"
    assert main(["results", "init", str(board), "--quiet"]) == 0
    assert main(["results", "add", str(grid.out), str(board), "--quiet"]) == 0
    published = [
        *grid.out.glob("cells/*/*/result.json"),
        *grid.out.glob("cells/*/*/per-caption.safetensors"),
        *grid.out.glob("cells/*/*/captions.json"),
        *(grid.out / "site").rglob("*"),
        *board.rglob("*"),
    ]
    files = [path for path in published if path.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        for private in (USER, TOKEN, URL_TOKEN, "pw0rd"):
            assert private.encode() not in content, f"{path} holds {private}"
            assert private not in path.relative_to(home if path.is_relative_to(home) else tmp_path).as_posix()


def _raise(message: str) -> Callable[..., None]:
    def quantize(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    return quantize


def test_what_is_no_path_of_the_user_stays() -> None:
    root = Private(Path("/"), "", {"TOKEN": "short", "PATH": "/usr/bin:/usr/local/bin"})
    for text in ("/usr/bin/x", "short", "a/b?steps=3", "hf_short", "https://host/a@b"):
        assert root.hidden(text) == text
    ann = Private(Path("/home/ann"), "ann", {})
    for text in ("/home/anna/x", "/mnt/home/ann2", "annotations", "ann"):
        assert ann.hidden(text) == text
    assert ann.hidden_in({"at": ["/home/ann", {"/home/ann/x": 3}]}) == {"at": ["~", {"~/x": 3}]}
    assert ann.hidden("hf_abcdefghijklmnopqrstuvwxyz") == "..."


def test_a_name_at_the_end_of_a_path_of_this_machine_is_hidden_and_that_of_an_owner_elsewhere_is_not() -> None:
    ann = Private(Path("/home/ann"), "ann", {})
    for text in ("/scratch/{}", "cannot open '/scratch/{}'.", "dir:/data/x/{}", "/data/{}/a and /data/{}", "/data/{}."):
        assert ann.hidden(text.format("ann", "ann")) == text.format("USER", "USER")
    assert ann.hidden("no folder /home/ann.") == "no folder ~."
    for text in ("https://github.com/ann", "hf:someone/ann", "/scratch/ann.wav", "/scratch/ann-2"):
        assert ann.hidden(text) == text


def test_values_of_the_variables_that_the_page_names_are_secrets() -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"variable whose name ends in\s+(.*?), where it has (\d+) characters", page, flags=re.DOTALL)
    endings, fewest = re.findall(r"[A-Z_]+", named[0]), int(named[1])
    assert len(endings) == 7
    for ending in endings:
        for name in (ending, f"MY_{ending}", ending.lower()):
            value = "v" * fewest
            assert Private(Path("/"), "", {name: value}).hidden(f"said {value}!") == "said ...!", name
            assert Private(Path("/"), "", {name: value[1:]}).hidden(value[1:]) == value[1:]
