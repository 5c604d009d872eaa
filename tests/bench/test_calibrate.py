"""`bench calibrate`, and the text vectors that it looks at prompts through."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from admbench.bench.cli.app import main
from admbench.bench.models import load_model
from admbench.bench.models.component_view import view_of
from admbench.bench.models.conditioning import pooled
from admbench.bench.suites import load_suite
from admbench.files import read_json
from admbench.leaderboard.record import PromptCoverage

PROMPTS = ["a dog barks", "rain falls and a loud bell is ringing", "a flute plays"]


def test_states_are_averaged_over_what_the_mask_keeps() -> None:
    states = torch.tensor([[[1.0, 3.0], [3.0, 5.0], [100.0, 100.0]]])
    mask = torch.tensor([[True, True, False]])
    told = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    assert pooled(told).tolist() == [[2.0, 4.0]]
    assert pooled({"encoder_hidden_states": states[:, :2]}).tolist() == [[2.0, 4.0]]
    assert pooled({"class_labels": states[:, 0]}).tolist() == [[1.0, 3.0]]


def test_of_several_sequences_none_outweighs_another() -> None:
    told = {
        "encoder_hidden_states": torch.tensor([[[3.0, 4.0]]]),
        "encoder_hidden_states_1": torch.tensor([[[300.0, 400.0], [0.0, 7.0]]]),
        "encoder_attention_mask_1": torch.tensor([[1, 0]]),
    }
    assert torch.allclose(pooled(told), torch.tensor([[0.6, 0.8, 0.6, 0.8]]))


@pytest.mark.parametrize("name", ["tiny-audioldm", "tiny-tango", "tiny-make-an-audio"])
def test_a_prompt_has_one_vector_whatever_the_batch_and_the_view(name: str) -> None:
    model = load_model(name)
    together = model.embed_text(PROMPTS)
    assert together.dtype == torch.float32
    assert together.ndim == 2
    assert len(together) == len(PROMPTS)
    alone = torch.cat([model.embed_text([prompt]) for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(view_of(model, "vae").embed_text(PROMPTS), together)
    assert torch.pdist(together).min() > 0.1 * together.norm(dim=1).mean()


def test_the_embedded_models_know_the_words_of_their_corpus_and_no_others() -> None:
    from admbench.methods.core.calibration.prompts.vocabulary import known_words

    model = load_model("tiny-tango")
    assert known_words(["dog", "barks", "trumpet", "cathedral", "flute"], model) == {"dog", "barks", "flute"}


@pytest.mark.usefixtures("plugins")
def test_it_prints_what_it_writes(captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cover"
    command = ["calibrate", "--model", "fake-adm", "--prompts", str(captions), "--count", "6", "--out", str(out)]
    assert main([*command, "--calibration", "coverage-prompt+normal", "--against", str(captions)]) == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert printed[-1] == [str(out / "coverage.png")]
    shown = {row[0]: row[1:] for row in printed[:-1]}
    numbers = read_json(out / "coverage.json")
    before, after = (PromptCoverage(**numbers[f"coverage_{when}"]) for when in ("before", "after"))
    assert (before.n, after.n) == (4, 6)
    assert after.pairs > before.pairs
    assert shown["pairs"] == [f"{before.pairs:.3f}", f"{after.pairs:.3f}"]
    assert shown[f"text of {captions}"] == ["1.000", f"{numbers['text_against_after']:.3f}"]
    rows = list(csv.DictReader((out / "prompts.csv").open()))
    assert {row["from"] for row in rows} <= {"user", "coverage-prompt"}
    assert "temporal=" in " ".join(row["states"] for row in rows)
    plot = (out / "coverage.png").read_bytes()
    assert plot.startswith(b"\x89PNG")
    assert len(plot) > 20_000

    chosen = [item.caption for item in load_suite(str(out / "prompts.csv")).items]  # a caption file, to go on with
    assert chosen == [row["caption"] for row in rows]
    assert main([*command, "--calibration", "mixup-prompt"]) == 0
    assert all(row["from"] == "mixup-prompt" for row in csv.DictReader((out / "prompts.csv").open()))


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "fake-adm", "--calibration", "coverage-promt"], 'Did you mean "coverage-prompt"?'),
        (["--model", "fake-adn", "--calibration", "given"], 'Did you mean "fake-adm"?'),
        (["--model", "fake-adm", "--calibration", "given", "--prompts", "no/such.txt"], "no/such.txt: no such"),
        (["--model", "fake-adm", "--calibration", "given", "--count", "99"], "needs 99 prompts, there are 4"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--prompts" in arguments else [*arguments, "--prompts", str(captions)]
    assert main(["calibrate", *given, "--out", str(tmp_path / "cover")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cover").exists()
