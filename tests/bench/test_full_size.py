"""Sizes on disk of models at their true size, with random weights."""

from __future__ import annotations

import pytest

from admbench.bench.cli.app import main


@pytest.mark.slow(145)
@pytest.mark.parametrize("model", ["audioldm-s-full-v2"])
def test_at_4_bits_the_backbone_is_85_percent_smaller_and_the_whole_pipeline_75(model, tmp_path, capsys):
    """The other components at 8 bits."""
    method = "naive@w4a8[prompts=1,timesteps=1,steps=1]"
    command = ["quantize", "--model", model, "--method", method, "--components", "all", "--random-weights"]
    assert main([*command, "--out", str(tmp_path / "checkpoint")]) == 0
    lines = capsys.readouterr().out.splitlines()
    print(*lines, sep="\n")
    smaller = {line.split(" smaller")[0].split(", ")[-1] for line in lines if ": backbone" in line}
    (backbone,) = (float(share.removesuffix("%")) for share in smaller)
    whole = float(lines[-1].split(", ")[-1].split("%")[0])
    assert lines[-1].startswith("pipeline: ")
    assert backbone >= 85
    assert whole >= 75
