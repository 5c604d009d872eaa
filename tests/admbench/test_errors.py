"""The text of an error is one line that can be shown, whatever a file's name or a value in it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admbench.errors import LONGEST, BenchError, CheckpointError


@given(st.text())
def test_any_text_is_one_line_that_can_be_printed(text):
    shown = str(BenchError(text))
    assert len(shown.splitlines()) <= 1
    assert shown.encode("utf-8").decode() == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.json: key: wrong", "a.json: key: wrong"),
        ("first\n   second", "first second"),
        ("\x1b[2J\u202e", "\\x1b[2J\\u202e"),
        ("clip-\udcff.wav: cut", "clip-\\udcff.wav: cut"),
        (
            "\u0645\u06cc\u200c\u062e: \U0001f469\u200d\U0001f52c",
            "\u0645\u06cc\u200c\u062e: \U0001f469\u200d\U0001f52c",
        ),
        ("x" * (LONGEST + 5), "x" * LONGEST + " ... [5 more]"),
    ],
)
def test_text_of_all_languages_stays_and_what_hides_is_escaped(text, shown):
    assert str(CheckpointError(text)) == shown
