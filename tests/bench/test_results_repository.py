"""`bench results`: a repository of results, whose workflows do what they say, and what a model card says of a cell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from admbench.bench.cli.app import main
from admbench.leaderboard import gather
from admbench.leaderboard.states import validation_state

from ..leaderboard.conftest import record
from .scored_run import make_scored_run

PINNED = "pip install -q admbench=="


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "board"
    assert main(["results", "init", str(folder), "--title", "Small models", "--quiet"]) == 0
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one cell as it stands on its machine, with what is nobody's business."""
    run = tmp_path / "runs" / "mine"
    cell = run / "cells" / "tiny-tango" / "naive"
    (cell / "audio").mkdir(parents=True)
    (cell / "checkpoint").mkdir()
    (cell / "checkpoint" / "backbone.safetensors").write_bytes(b"large")
    (cell / "log.txt").write_text("/home/somebody/secret")
    (run / "validation.json").write_text("{}")
    grid = {"out": "/home/somebody/runs", "gate": {"max": ["fd=+3%"]}}
    (run / "grid.json").write_text(json.dumps(grid))
    (cell / "result.json").write_text(json.dumps(record()))
    return run


def steps_of(workflow: Path) -> dict[str, dict[str, Any]]:
    (job,) = yaml.safe_load(workflow.read_text())["jobs"].values()
    return {step["name"]: step for step in job["steps"] if "name" in step}


def test_what_is_written_is_a_readme_and_workflows_that_parse(repository: Path) -> None:
    workflows = {path.name: yaml.safe_load(path.read_text()) for path in (repository / ".github/workflows").iterdir()}
    assert set(workflows) == {"check.yml", "comment.yml", "publish.yml"}
    assert workflows["check.yml"]["permissions"] == {"contents": "read"}, "it reads what strangers hand in"
    assert "# Small models" in (repository / "README.md").read_text()
    assert not [path for path in repository.rglob("*") if path.is_file() and "{%" in path.read_text()]


@pytest.mark.parametrize("title", ["", "$(reboot)", 'a" b', "x" * 101, "two\nlines", "${{ github.token }}"])
def test_a_title_that_a_workflow_could_run_is_refused(
    title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", "init", str(tmp_path / "board"), "--title", title]) == 2
    assert "expected 1 to 100 letters" in capsys.readouterr().err
    assert not (tmp_path / "board").exists()


def test_a_folder_with_something_in_it_is_left_alone(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "init", str(repository)]) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err


def test_only_what_others_need_of_a_run_is_copied(run: Path, repository: Path) -> None:
    assert main(["results", "add", str(run), str(repository), "--quiet"]) == 0
    added = repository / "results" / "mine"
    files = {path.relative_to(added).as_posix() for path in added.rglob("*") if path.is_file()}
    assert files == {"grid.json", "cells/tiny-tango/naive/result.json"}
    assert json.loads((added / "grid.json").read_text()) == {"gate": {"max": ["fd=+3%"], "allow_undecided": False}}


def test_links_out_of_a_run_are_not_followed(run: Path, repository: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_text("secret")
    baseline = run / "baselines/tiny-tango/audio"
    baseline.mkdir(parents=True)
    (baseline / "a.wav").symlink_to(secret)
    (run / "ladder.json").symlink_to(secret)
    assert main(["results", "add", str(run), str(repository), "--quiet"]) == 2, "its ladder is none"
    (run / "ladder.json").unlink()
    assert main(["results", "add", str(run), str(repository), "--quiet"]) == 0
    assert not list((repository / "results/mine").rglob("*.wav"))


def test_a_run_with_a_bad_record_is_refused_whole(
    run: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "cells/tiny-tango/naive/result.json"
    path.write_text(json.dumps(record() | {"status": "fine"}))
    assert main(["results", "add", str(run), str(repository)]) == 2
    said = capsys.readouterr().err
    assert f"{path}: status:" in said
    assert "nothing was copied" in said
    assert [path.name for path in (repository / "results").iterdir()] == ["README.md"]


@pytest.mark.parametrize("name", ["../up", "Mine", "", ".git"])
def test_a_name_that_no_folder_there_may_have_is_refused(
    name: str, run: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", "add", str(run), str(repository), "--name", name]) == 2
    assert "expected lower-case letters" in capsys.readouterr().err


def test_a_folder_that_is_no_results_repository_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", "add", str(run), str(tmp_path)]) == 2
    assert "no folder results/" in capsys.readouterr().err


def test_a_card_in_the_hubs_form_reads_back_by_the_hubs_own_library(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import parse_eval_result_entries

    cell = run / "cells/tiny-tango/naive"
    assert main(["results", "card", str(cell), "--dataset", "admbench/foley", "--url", "https://board.example"]) == 0
    entries = parse_eval_result_entries(yaml.safe_load(capsys.readouterr().out))
    scores = {key: score for key, score in record()["scores"].items() if score["value"] is not None}
    assert {entry.task_id: entry.value for entry in entries} == {key: one["value"] for key, one in scores.items()}
    assert entries[0].dataset_id == "admbench/foley"
    assert entries[0].notes is not None
    assert entries[0].notes.startswith("naive@w4a8, 95% interval ")
    assert "4 captions of foley" in entries[0].notes


def test_a_card_as_model_index_reads_back_by_the_hubs_own_library(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import ModelCardData

    assert main(["results", "card", str(run / "cells/tiny-tango/naive/result.json"), "--format", "model-index"]) == 0
    card = ModelCardData(**yaml.safe_load(capsys.readouterr().out), model_name="naive")
    assert card.eval_results is not None
    fd = next(result for result in card.eval_results if result.metric_type == "fd")
    assert (fd.task_type, fd.dataset_type, fd.metric_value) == (
        "text-to-audio",
        "foley",
        record()["scores"]["fd"]["value"],
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--dataset: expected OWNER/NAME"),
        (["--dataset", "a b"], "--dataset a b"),
        (["--format", "model-index", "--dataset", "a/b"], "of no use with --format model-index"),
    ],
)
def test_a_card_that_cannot_be_made_says_why(
    options: list[str], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", "card", str(run / "cells/tiny-tango/naive"), *options]) == 2
    assert words in capsys.readouterr().err


GH = """#!/bin/bash -e
# GitHub's program as far as comment.yml calls it: requests are files that name a branch, comments are files.
[ -f "$FORGE/pulls/$3" ] || { echo "no pull requests found for branch \\"$3\\"" >&2; exit 1; }
case "$1 $2 $4" in
  "pr view --json")
    [ "$5 $6 $7" = "headRefOid --jq .headRefOid" ]
    git --git-dir "$ORIGIN" rev-parse "$(cat "$FORGE/pulls/$3")" ;;
  "pr comment --body-file") cp "$5" "$FORGE/posted/$3" ;;
  *) echo "unknown command $*" >&2; exit 1 ;;
esac
"""


class Forge:
    """What a forge with pull requests does, with git on this disk: it runs the steps of a workflow in a clone."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "origin.git"
        self._git(repository, "init", "-q", "-b", "main")
        self._git(repository, "add", ".")
        self._git(repository, "commit", "-qm", "Begin")
        self._git(folder, "clone", "-q", "--bare", str(repository), str(self.origin))

    def clone(self, name: str, branch: str = "main") -> Path:
        """Clone the repository, on a branch of it."""
        self._git(self.folder, "clone", "-q", "-b", branch, str(self.origin), name)
        return self.folder / name

    def push(self, clone: Path, branch: str) -> None:
        """Commit all that is there to a branch."""
        self._git(clone, "checkout", "-q", "-B", branch)
        self._git(clone, "add", "-A")
        self._git(clone, "commit", "-qm", "Results")
        self._git(clone, "push", "-q", "origin", branch)

    def carry_out(self, clone: Path, workflow: str, **variables: str) -> list[tuple[str, int, str]]:
        """Run a workflow's own lines as the forge would: bash -e, on after a failure only where it says always()."""
        self._program("bench", f'#!/bin/sh\nexec {sys.executable} -m admbench "$@"\n')
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, **self._who(), **variables}
        environment["GITHUB_STEP_SUMMARY"] = str(self.folder / "summary.md")
        ended: list[tuple[str, int, str]] = []
        for name, step in steps_of(clone / ".github/workflows" / workflow).items():
            failed = any(code for _, code, _ in ended)
            if step["run"].startswith(PINNED) or (failed and step.get("if") != "always()"):
                continue
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]], cwd=clone, env=environment, capture_output=True, text=True
            )
            ended.append((name, done.returncode, done.stdout + done.stderr))
        return ended

    def comment(
        self, artifact: Path, head: str, pulls: dict[int, str]
    ) -> tuple[list[tuple[str, int, str]], dict[int, str]]:
        """Carry out what follows a check, with what it kept; return how it ended, and what was posted by number.

        Args:
            artifact: the folder that the check kept.
            head: commit that was checked.
            pulls: number -> branch, of the requests that are open.
        """
        place = self.folder / f"comment-{len(list(self.folder.glob('comment-*')))}"
        shutil.copytree(artifact, place / "comment", symlinks=True)
        for name in ("pulls", "posted"):
            (place / name).mkdir()
        for number, branch in pulls.items():
            (place / "pulls" / str(number)).write_text(branch)
        self._program("gh", GH)
        (place / ".github").symlink_to(self.clone(f"{place.name}-main") / ".github")
        where = {"ORIGIN": str(self.origin), "FORGE": str(place), "HEAD": head, "GH_TOKEN": "secret"}
        ended = self.carry_out(place, "comment.yml", **where)
        return ended, {int(path.name): path.read_text() for path in (place / "posted").iterdir()}

    def head(self, branch: str) -> str:
        """Return the commit that a branch is at."""
        shown = subprocess.run(["git", "--git-dir", self.origin, "rev-parse", branch], capture_output=True, text=True)
        return shown.stdout.strip()

    def _program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def merge(self, clone: Path, branch: str) -> None:
        """Make a branch the main one."""
        self._git(clone, "push", "-q", str(self.origin), f"origin/{branch}:main")

    def publish(self, name: str) -> Path:
        """Carry out what follows a merge, in a clone."""
        clone = self.clone(name)
        ended = self.carry_out(clone, "publish.yml", BOARD_URL="https://board.example")
        assert [code for _, code, _ in ended] == [0, 0, 0], ended
        return clone

    def states(self, name: str) -> set[str]:
        """How far the cells of the run were checked, as a clone of the main branch says."""
        run = self.clone(name) / "results/mine"
        return {validation_state(one) for one in gather([run]).records}

    def _git(self, folder: Path, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=folder, check=True, env={**os.environ, **self._who()})

    def _who(self) -> dict[str, str]:
        names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return {**names, "GIT_CONFIG_GLOBAL": os.devnull}


def test_the_comment_says_in_its_own_pull_request_what_the_check_found(repository: Path, tmp_path: Path) -> None:
    """A check is a stranger's: its two files are text, and what it says of another request is not said there."""
    forge = Forge(repository, tmp_path)
    clone = forge.clone("submitter")
    for name in ("mine", "other"):
        (clone / "results" / name).mkdir()
        (clone / "results" / name / "note.txt").write_text(name)
        forge.push(clone, name)
    pulls, mine = {7: "mine", 8: "other"}, forge.head("mine")
    kept = tmp_path / "kept"
    kept.mkdir()

    def posted(text: str, number: str, head: str = mine) -> tuple[int, str, dict[int, str]]:
        (kept / "comment.md").write_text(text)
        (kept / "number.txt").write_text(number)
        ((_, code, said),), found = forge.comment(kept, head, pulls)
        return code, said, found

    text = "## mine\n`$(touch pwned)` ${{ github.token }} \N{GREEK SMALL LETTER MU}\n"
    assert posted(text, "7\n") == (0, "", {7: text})
    assert posted("x" * 70_000, "7; touch pwned")[2] == {7: "x" * 60_000}
    assert not list(tmp_path.rglob("pwned"))
    another = (0, "another commit was checked\n", {})
    assert posted(text, "8") == another, "a request that was not checked"
    assert posted(text, "7", forge.head("other")) == another, "a commit came after the check"
    assert posted(text, "9")[::2] == posted(text, "")[::2] == (0, {})
    (kept / "comment.md").unlink()
    (kept / "comment.md").symlink_to("/proc/self/environ")
    ((_, code, said),), found = forge.comment(kept, mine, pulls)
    assert (code, said, found) == (1, "comment/comment.md\nlinks are no text\n", {})


@pytest.mark.slow(65)
def test_a_submission_goes_from_pull_request_to_page(repository: Path, tmp_path: Path) -> None:
    """The workflows on a local git: an honest run passes, a forged one and a smuggled note do not."""
    run = make_scored_run(tmp_path / "runs" / "mine")
    forge = Forge(repository, tmp_path)
    submitter = forge.clone("submitter")
    assert main(["results", "add", str(run), str(submitter), "--quiet"]) == 0
    forge.push(submitter, "mine")

    check = {"BASE": "origin/main", "NUMBER": "7"}
    clone = forge.clone("checked", "mine")
    ended = forge.carry_out(clone, "check.yml", **check)
    assert [code for _, code, _ in ended] == [0, 0, 0, 0], ended
    assert "2 re-scored" in ended[1][2]
    comment = (clone / "comment/comment.md").read_text()
    assert comment.startswith("## mine\n### Gate")
    assert "naive@w4a8" in comment
    assert (clone / "comment/number.txt").read_text().strip() == "7"
    assert forge.comment(clone / "comment", forge.head("mine"), {7: "mine"}) == ([("Comment", 0, "")], {7: comment})

    result = submitter / "results/mine/cells/tiny-tango/naive-w4a8-fec30cb4/result.json"
    forged = json.loads(result.read_text())
    forged["scores"]["clap"]["value"] += 0.01
    result.write_text(json.dumps(forged))
    forge.push(submitter, "forged")
    ended = forge.carry_out(forge.clone("checked-forged", "forged"), "check.yml", **check)
    assert [code for _, code, _ in ended] == [0, 2, 0, 0], ended
    assert "scores.clap.value" in ended[1][2]

    shutil.copytree(clone / "results/mine", submitter / "results/mine", dirs_exist_ok=True)
    assert (submitter / "results/mine/validation.json").is_file()
    forge.push(submitter, "noted")
    ended = forge.carry_out(forge.clone("checked-noted", "noted"), "check.yml", **check)
    assert (ended[0][1], ended[0][2].splitlines()[-1]) == (1, "validation.json is written by this repository alone")

    forge.merge(clone, "mine")
    published = forge.publish("published")
    assert "Small models" in (published / "site/index.html").read_text()
    assert 'href="https://board.example/feed.atom"' in (published / "site/feed.atom").read_text()
    assert forge.states("after") == {"re-scored"}, "committed by the workflow, and seen by whoever clones it"

    again = forge.clone("again")
    value = json.loads((run / "cells/tiny-tango/fp32/result.json").read_text())
    value["provenance"]["seconds"] += 1.0
    (run / "cells/tiny-tango/fp32/result.json").write_text(json.dumps(value))
    assert main(["results", "add", str(run), str(again), "--quiet"]) == 0
    forge.push(again, "anew")
    anew = forge.clone("checked-anew", "anew")
    ended = forge.carry_out(anew, "check.yml", **check)
    assert [code for _, code, _ in ended] == [0, 0, 0, 0], "its old note goes with the old run"
    forge.merge(anew, "anew")
    forge.publish("published-anew")
    assert forge.states("after-anew") == {"re-scored"}
