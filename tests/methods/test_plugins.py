"""The methods' door: names, options, and an import that stays light."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.naive import NaiveConfig


def test_the_literal_and_the_entry_points_name_the_same_methods():
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["entry-points"]["admbench.methods"] == methods.BUILTIN


def test_importing_the_package_and_describing_its_methods_imports_no_torch():
    code = (
        "import sys; from admbench import methods; methods.registry.infos();"
        "sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_every_built_in_describes_itself():
    for info in methods.registry.infos():
        assert info.summary
        assert info.unavailable is None or info.requires
        assert methods.registry.get(info.name).name == info.name


@pytest.mark.parametrize(
    ("spec", "fragments"),
    [
        ("naiv@w4a8", ['unknown method "naiv"', 'Did you mean "naive"?']),
        ("naive", ["bits are missing", "naive@w4a8"]),
        ("fp32@w4a8", ["fp32 takes no bits"]),
        ("naive@w4a8[weigths=tensor]", ['unknown option "weigths"', 'Did you mean "weights"?']),
        ("naive@w4a8[weights=row]", ["option weights", '"row"', "'tensor'", "'channel'"]),
        ("naive@w4a8[ranges=mean]", ["option ranges", '"mean"', "'mse'"]),
        ("naive@w4a8[preset=fast]", ["option preset", "'quick'", "'paper'"]),
        ("naive@w4a8[calibration=unifrom]", ['unknown calibration "unifrom"', 'Did you mean "uniform"?']),
        ("naive@w4a8[prompts=many]", ["option prompts", '"many"']),
        ("naive@w4a8[prompts=0]", ["option prompts", '"0"']),
        ("naive@w4a8[timesteps=30,steps=25]", ["timesteps=30", "steps=25"]),
    ],
)
def test_a_wrong_spec_is_told_what_is_wrong_in_one_line(spec, fragments):
    with pytest.raises(UsageError) as error:
        methods.from_spec(spec)
    for fragment in fragments:
        assert fragment in str(error.value)
    assert "\n" not in str(error.value)


def test_the_configuration_has_all_defaults_expanded():
    config = methods.from_spec("naive@w4a8[weights=tensor]").config
    assert config.model_dump() == {
        "preset": "quick",
        "calibration": "uniform",
        "prompts": 16,
        "timesteps": 5,
        "steps": None,
        "guidance": None,
        "weights": "tensor",
        "ranges": "minmax",
        "first_last_bits": 8,
    }


def test_a_preset_sets_defaults_and_a_typed_option_wins_over_it():
    assert NaiveConfig(preset="paper").prompts == 128
    assert methods.from_spec("naive@w4a8[preset=paper,prompts=7]").config.prompts == 7


@pytest.mark.parametrize("spec", ["fp32", "bf16", "naive@w4a8", "q-diffusion@w4a8", "mixup-prompt@w4a8"])
def test_every_method_takes_a_preset_and_a_calibration(spec):
    config = methods.from_spec(f"{spec}[preset=paper,calibration=uniform]").config
    assert (config.preset, config.calibration) == ("paper", "uniform")
