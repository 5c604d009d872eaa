"""A caption that a model's tokenizer cuts is counted in the record: its clip is of the caption's beginning."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from admbench.bench.models import load_model
from admbench.bench.models.conditioning import TokenStates, cut_by
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.bench.models.pipelines.ace_step import CAPTION, AceStepConditioner
from admbench.bench.models.pipelines.audioldm2 import AudioLDM2Conditioner
from admbench.bench.models.pipelines.longcat_audiodit import NormalizedStates
from admbench.leaderboard.consistency import problems
from admbench.leaderboard.record import Record

from ..leaderboard.conftest import record


@pytest.mark.parametrize("name", ["tiny-audioldm", "tiny-tango", "tiny-make-an-audio"])
def test_a_caption_is_cut_where_its_last_word_changes_nothing(name: str) -> None:
    model = load_model(name)
    tokenizer: Any = model._conditioner.tokenizer  # type: ignore[attr-defined]
    one, other = ([f"{'rain ' * count}{last}" for count in range(80)] for last in ("wind", "water"))
    ids = [tokenizer(captions, padding="max_length", truncation=True).input_ids for captions in (one, other)]
    alike = [mine == theirs for mine, theirs in zip(*ids, strict=True)]
    assert model.cut_captions(one) == model.cut_captions(other) == alike
    assert not alike[0]
    assert alike[-1]


def test_bytes_are_counted_with_the_token_that_ends_them() -> None:
    tokenizer = ByteTokenizer(4, pad=0)
    assert TokenStates(tokenizer, torch.nn.Identity()).cut(["", "abc", "abcd"]) == [False, False, True]
    assert cut_by(tokenizer, ["abc", "\u00e9\u00e9"], most=3) == [True, True]


def test_each_pipeline_counts_what_its_encoders_are_given() -> None:
    clap, t5 = ByteTokenizer(60, pad=1), ByteTokenizer(10, pad=0)
    parts = dict.fromkeys(["text_encoder", "text_encoder_2", "projection_model", "language_model"])
    both = AudioLDM2Conditioner({**parts, "tokenizer": clap, "tokenizer_2": t5})
    assert both.cut(["a" * 59, "a" * 60, "a" * 128]) == [False, True, True]
    both.tokenizer = ByteTokenizer(512, pad=1)
    assert both.cut(["a" * 127, "a" * 128]) == [False, True]  # by T5's limit here

    quotes = NormalizedStates(t5, torch.nn.Identity())
    assert quotes.cut(['"a"' * 63, "a" * 127, "a" * 128]) == [False, False, True]

    music = AceStepConditioner(t5, None, SimpleNamespace(), latents_per_second=1.0)
    room = 255 - len(CAPTION.format("", 60))
    assert music.cut(["a" * room, "a" * (room + 1)]) == [False, True]


def test_a_conditioner_that_does_not_say_is_not_said_to_cut_none(plugins: None) -> None:
    model = load_model("fake-adm")
    model._conditioner = lambda captions: {}  # type: ignore[assignment]
    assert model.cut_captions(["rain"]) is None


def test_a_record_counts_no_more_than_it_has() -> None:
    value = record()
    value["audio"]["captions_cut"] = {"n": 1, "first": ["a"]}
    assert not list(problems(Record.model_validate(value)))
    value["audio"]["captions_cut"] = {"n": 1, "first": ["a", "b"]}
    assert any("captions_cut" in str(one) for one in problems(Record.model_validate(value)))
