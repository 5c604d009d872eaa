"""The pages tell the truth: links lead somewhere, commands and options exist, set-up is two lines that CI runs."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer

from admbench.bench.cli.app import app
from admbench.bench.conformance import check_plugin
from admbench.leaderboard.site.method_docs import method_docs
from admbench.methods import BUILTIN
from admbench.methods.core.checkpoint import allowed
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.metrics import extractors, registry
from admbench.metrics.audio import Sound
from admbench.metrics.extractors.base import Batch
from admbench.metrics.features import Features
from admbench.metrics.intervals import Replicates
from admbench.metrics.keys import score_keys

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.md")]),
]
COMMANDS = typer.main.get_command(app)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def outside_code(text: str) -> str:
    """Return a page without its fenced and its indented blocks."""
    return re.sub(r"^```.*?^```|^    [^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)


def in_code(text: str) -> list[str]:
    """Return the lines of a page's fenced and indented blocks, continued ones joined."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.*)$", text, flags=re.MULTILINE)
    return "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", outside_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(page: Path) -> list[list[str]]:
    """Return the arguments of every `bench ...` that a page shows in a block or in backticks."""
    text = page.read_text(encoding="utf-8")
    lines = in_code(text) + re.findall(r"`([^`\n]+)`", outside_code(text))
    found = (re.match(r"(?:.*&& )?(?:\$ )?(?:\.venv/bin/)?bench (.+)", line.strip()) for line in lines)
    return [shlex.split(match[1], comments=True) for match in found if match]


@each_page
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}"


@each_page
def test_commands_and_options_exist(page):
    for words in command_lines(page):
        command, rest = COMMANDS, list(words)
        while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"{page.name} shows: bench {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
        used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert used <= known, f"{page.name} shows: bench {' '.join(words)}"


def test_pages_of_methods_on_a_board_lead_to_pages_that_tell_of_them():
    for name in set(BUILTIN) - {"fp32", "bf16"}:
        told = method_docs(name)
        assert told is not None, name
        page, _, anchor = told.page.partition("#")
        source = ROOT / "docs" / Path(page).with_suffix(".md")
        assert name in source.read_text(encoding="utf-8"), (name, page)
        assert not anchor or anchor in anchors(source)


def test_the_pages_show_commands_at_all():
    assert len(command_lines(ROOT / "README.md")) >= 3


def test_set_up_is_two_lines_and_ci_runs_them():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in in_code(readme) if "-m venv" in line] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt . && .venv/bin/bench run",
        "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt tox && .venv/bin/tox",
    ]
    assert r"sed -n 's/^ *\(python3 -m venv .venv && .*\)/\1/p' README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_code_of_the_page_on_writing_a_metric_runs(monkeypatch):
    for one in (registry, extractors.registry):
        monkeypatch.setattr(one, "_registered", {})
    page = (ROOT / "docs" / "writing-a-metric.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, "writing-a-metric.md", "exec"), names)
    listed = set(re.findall(r"^\| `(\w+)` \| .*(?:\(n,|files)", page, flags=re.MULTILINE))
    assert listed == set(extractors.BUILTIN)
    found = [check for name in ("centroid-shift", "clipping") for check in check_plugin(name)]
    assert [check.detail for check in found if check.state == "failed"] == []
    batch = Batch([Sound(np.tile(np.float32([0.1, -0.1]), 8000), 16_000)])
    assert registry.get("clipping")().details(None, None) == {"full_scale": 0.999}
    assert extractors.registry.get("crossings")().extract(batch, None).tolist() == [[15_999]]
    metric = registry.get("centroid-shift")()
    near, far = (Features(tuple("abcd"), {"embedding": np.full((4, 2), level, np.float32)}) for level in (0, 3))
    assert metric.compute(far, near) == pytest.approx(18**0.5)
    assert metric.interval(Replicates.of(metric.statistic(far, near))) == pytest.approx((18**0.5, 18**0.5))
    assert "centroid-shift_vs_baseline" in score_keys(["centroid-shift"])


def run_code(page: str) -> dict[str, Any]:
    """Run the Python of a page from top to bottom, and return what it leaves."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": page}
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


def test_the_code_of_the_page_on_writing_a_model_runs(monkeypatch):
    monkeypatch.setattr("admbench.methods.core.checkpoint.allowed._ALLOWED", {**allowed._ALLOWED})
    names = run_code("writing-a-model.md")
    assert names["clips"].shape == (2, 256)
    assert not np.array_equal(*names["clips"])
    assert names["allowed"]
    assert names["TUNED"].components == ("backbone", "text_encoder", "vae", "vocoder")


def test_the_code_of_the_page_on_writing_a_method_runs():
    names = run_code("writing-a-method.md")
    assert len(names["calibration"]) == 2 * 3 * 2
    assert 4 < names["quantized"].report.nominal_bits_per_weight < 32
    assert (names["layer"].weight_codes.dtype, int(names["layer"].weight_codes.max()) <= 15) == (torch.uint8, True)
    assert {quantized_layers(names["module"])[end].scheme.weight.bits for end in ("conv_in", "conv_out")} == {8}
    biased = [name for name, layer in names["layers"].items() if layer.bias is not None]
    assert all(names["mean_errors"][name].abs().max() > 0 for name in biased)
    paper = names["BiasCorrectionConfig"](preset="paper")
    assert (paper.prompts, paper.timesteps) == (512, 25)
