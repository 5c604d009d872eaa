"""A grid file says what is run; a mistake in it is one line that names the file, the key and the nearest valid name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from admbench.bench.run.asked import gate_of
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.run.plan import make_plan
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.errors import UsageError

GRID = """
models = ["tiny-tango"]
methods = ["fp32", "naive@w4a8[weights=tensor,prompts=8]"]
suite = "foley"
limit = 12
[generation]
steps = 5
[execution]
workers = 2
"""


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(GRID)
    return path


def test_a_grid_file_is_read_with_defaults_and_its_own_run_folder(grid_file: Path) -> None:
    grid = load_grid(grid_file, {})
    assert grid.methods == ("fp32", "naive@w4a8[weights=tensor,prompts=8]")
    assert (grid.limit, grid.seed, grid.generation.steps, grid.generation.guidance) == (12, 0, 5, None)
    assert grid.out == Path("runs/mine")
    assert grid.execution.workers == 2


def keys_of(table: type[BaseModel]) -> Iterator[str]:
    for name, field in table.model_fields.items():
        yield name
        for option in (field.annotation, *get_args(field.annotation)):
            if isinstance(option, type) and issubclass(option, BaseModel) and option is not CaptionFileSpec:
                yield from keys_of(option)


def test_the_grid_file_of_the_page_on_running_is_read_and_has_every_key(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "my-grid.toml").write_text(block)
    grid = load_grid(tmp_path / "my-grid.toml", {})
    assert (grid.out, grid.limit, grid.gate is not None) == (Path("runs/my-grid"), 96, True)
    assert grid.methods[2] == "naive@w4a8[weights=tensor]"
    assert set(keys_of(GridSpec)) - set(re.findall(r"\w+", block)) == set()


def test_flags_override_the_file_and_flags_not_given_do_not(grid_file: Path, tmp_path: Path) -> None:
    flags = {"limit": 3, "generation.steps": None, "generation.guidance": 2.0, "metrics.names": ["fd"], "out": tmp_path}
    grid = load_grid(grid_file, flags)
    assert (grid.limit, grid.generation.steps, grid.generation.guidance) == (3, 5, 2.0)
    assert grid.metrics.names == ("fd",)
    assert grid.out == tmp_path


def test_a_flag_of_a_table_in_a_table_leaves_what_else_the_file_says_there(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GRID + "[execution.ray]\nattempts = 7\n")
    grid = load_grid(tmp_path / "mine.toml", {"execution.ray.address": "head:6379"})
    assert (grid.execution.ray.address, grid.execution.ray.attempts, grid.execution.workers) == ("head:6379", 7, 2)
    assert load_grid(None, {"execution.ray.address": "head:6379"}).execution.ray.address == "head:6379"


def test_the_embedded_grid_has_three_models_and_five_methods_on_96_captions() -> None:
    grid = load_grid(None, {})
    assert grid.models == ("tiny-audioldm", "tiny-tango", "tiny-dit")
    assert {"fp32", "naive@w8a8", "naive@w4a8", "q-diffusion@w4a8", "ptq4adm@w4a8"} == set(grid.methods)
    assert (grid.suite, grid.limit, grid.out) == ("foley", 96, Path("runs/default"))
    samplers = [grid.generation.of(model).sampler for model in grid.models]
    assert samplers == ["dpm-solver++", "dpm-solver++", None], "a flow has its own alone"


def test_a_model_may_be_sampled_otherwise_than_the_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'models = ["tiny-tango", "tiny-flow"]\nmethods = ["fp32"]\n'
        '[generation]\nsampler = "dpm-solver++"\nguidance = 2.0\n'
        '[generation.models.tiny-flow]\nsampler = "own"\nsteps = 4\n'
    )
    grid = load_grid(path, {})
    tango, flow = (grid.generation.of(model) for model in grid.models)
    assert (tango.sampler, tango.steps, tango.guidance) == ("dpm-solver++", None, 2.0)
    assert (flow.sampler, flow.steps, flow.guidance) == (None, 4, 2.0)
    assert tango == grid.generation.common
    of_all = load_grid(path, {"generation.steps": 7}).generation
    assert [of_all.of(model).steps for model in grid.models] == [7, 7], "a flag is of all models"
    assert load_grid(path, {"models": ["tiny-tango"]}).generation.models == {}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[generation.models.tiny-tanga]\nsteps = 4", 'generation.models: "tiny-tanga" is not in models. Did you mean'),
        ("[generation.models.tiny-tango]\nstep = 4", 'unknown key "generation.models.tiny-tango.step". Did you mean'),
        ("[generation.models.tiny-tango]\nbatch_size = 4", 'unknown key "generation.models.tiny-tango.batch_size".'),
        ("[generation.models.tiny-tango]\nsteps = 0", "generation.models.tiny-tango.steps: input should be greater"),
        ("[generation]\nmodels = 3", "generation.models: input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_how_a_model_is_sampled_is_named(lines: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'models = ["tiny-tango"]\nmethods = ["fp32"]\n{lines}\n')
    with pytest.raises(UsageError) as caught:
        load_grid(path, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_that_are_named_have_their_own_sampler_unless_one_is_named_too() -> None:
    named = {"models": ["tiny-flow"], "generation.steps": 2}
    assert load_grid(None, named).generation.sampler is None
    assert load_grid(None, {"methods": ["fp32"]}).generation.sampler == "dpm-solver++"
    assert load_grid(None, {"models": ["tiny-tango"], "generation.sampler": "dpm-solver++"}).generation.sampler


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('metods = ["fp32"]', 'unknown key "metods". Did you mean "methods"?'),
        ("[generation]\nstep = 5", 'unknown key "generation.step". Did you mean "steps"?'),
        ("[generation]\nsteps = 0", "generation.steps: input should be greater than or equal to 1; found 0"),
        ("[execution]\nexecutor = 'pbs'", "execution.executor: input should be 'local', 'slurm' or 'ray'; found 'pbs'"),
        ("[execution]\nexecutor = 'slurm'", "execution: executor slurm: expected cpus, the cores of each cell"),
        ("[execution.slurm]\npartiton = 'gpu'", 'unknown key "execution.slurm.partiton". Did you mean "partition"?'),
        ("[generation]\nguidance = nan", "generation.guidance: input should be"),
        ("limit = 'many'", "limit: input should be a valid integer"),
        ("generation = 3", "generation: input should be"),
        ('methods = ["fp32", "fp32"]', 'methods: "fp32" is listed twice'),
        ("models = []", "models: tuple should have at least 1 item"),
        ("limit = ", "not valid TOML"),
        ("repeats = 0", "repeats: input should be greater than or equal to 1"),
        ('gate = {max = ["fd"]}', 'gate.max: "fd" is no margin: expected such as fd=+5%'),
        ('gate = {max = ["fd=-5%"]}', "how much worse it may be begins with +"),
        ('gate = {max = ["fd=+5%", "fd=+6%"]}', "two margins of fd"),
        ('gate = {maxx = ["fd=+5%"]}', 'unknown key "gate.maxx". Did you mean "max"'),
        ("gate = {}", 'key "gate.max" is missing'),
    ],
)
def test_a_mistake_names_the_file_and_the_key(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    keys = {"models": 'models = ["tiny-tango"]', "methods": 'methods = ["bf16"]'}
    path.write_text("\n".join([text for key, text in keys.items() if not line.startswith(f"{key} ")] + [line]))
    with pytest.raises(UsageError) as caught:
        load_grid(path, {})
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_named_before_the_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('modles = ["tiny-tango"]\nmethods = ["fp32"]')
    with pytest.raises(UsageError, match=r'unknown key "modles"\. Did you mean "models"'):
        load_grid(path, {})


def test_a_missing_key_or_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    with pytest.raises(UsageError, match=r'empty\.toml: key "models" is missing'):
        load_grid(path, {})
    with pytest.raises(UsageError, match=r"none\.toml: no such grid file"):
        load_grid(tmp_path / "none.toml", {})


def test_a_bad_flag_is_named_as_it_was_typed(grid_file: Path) -> None:
    with pytest.raises(UsageError, match=r"^--limit: input should be greater than or equal to 1; found -3$"):
        load_grid(grid_file, {"limit": -3})
    with pytest.raises(UsageError, match=r"^--cell-timeout: input should be greater than 0"):
        load_grid(grid_file, {"execution.cell_timeout": 0})


def test_a_grid_does_not_change_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        GridSpec(models=("a",), methods=("fp32",), out=Path("x")).limit = 3  # type: ignore[misc]


def test_a_gate_is_of_scores_that_the_run_has(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('models = ["tiny-tango"]\nmethods = ["fp32"]\n[gate]\nmax = ["snr_vs_baseline=20"]\n')
    with pytest.raises(UsageError, match=r'gate\.max: no metric of the run gives "snr_vs_baseline"\.'):
        make_plan(load_grid(path, {}), command="bench run", judges=JudgeSpec())
    own = load_grid(path, {"metrics.names": ["snr"]})
    assert own.gate is not None
    assert (own.gate.max, own.gate.allow_undecided, own.repeats) == (("snr_vs_baseline=20",), False, 1)
    (tmp_path / "grid.json").write_text(own.model_dump_json())  # as a run keeps it, and `bench gate` asks it
    assert gate_of([tmp_path]) == own.gate
