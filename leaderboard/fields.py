"""What values in a record may be: bounded texts, hashes, counts and times, in sections that refuse unknown keys."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from admbench.judged import JUDGE_NAME

TEXT_LENGTH = 2000
NAME_LENGTH = 200
Text = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_LENGTH)]
NAMED = {"format": "name"}
"""In the schema of a text that is a name, in which nothing may pass for ASCII (`admbench.plain_text`)."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH), Field(json_schema_extra=NAMED)]
Spec = Annotated[str, StringConstraints(min_length=1, max_length=500), Field(json_schema_extra=NAMED)]
CommandLine = Annotated[str, StringConstraints(min_length=1, max_length=8000)]
"""A grid's models and methods may all stand in it."""
MOST_ENTRIES = 1000
"""Of a section with names for keys, such as packages and components."""
MOST_REPEATS = 100_000
"""Of a list that measurements fill, such as timings."""
MOST_SCORES = 200
MetricName = Annotated[
    str, StringConstraints(pattern=rf"^[a-z0-9][a-z0-9_.-]{{0,63}}(\[{JUDGE_NAME}\](_vs_baseline)?)?$")
]
"""Key of a score: `fd`, `fd_vs_baseline`, and by a further judge `fd[laion-clap]`, `fd[laion-clap]_vs_baseline`."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MOST = 10**15
"""No count is larger: a petabyte, if it counts bytes. Ten years, if it counts microseconds."""
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Operations = Annotated[int, Field(ge=1, le=10**18)]
"""Of a step of a network: beyond what a petabyte of weights would make."""
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Milliseconds = Annotated[float, Field(ge=1e-9, le=1e12)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


def _aware_time(text: str) -> str:
    """Accept an ISO 8601 time with its offset from UTC, unchanged."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected an ISO 8601 time such as 2026-01-31T12:00:00+00:00") from None
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset from UTC, such as 2026-01-31T12:00:00+00:00")
    return text


Time = Annotated[str, AfterValidator(_aware_time)]


class Section(BaseModel):
    """A part of the record that refuses keys it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class OpenSection(Section):
    """A part of the record that accepts further keys with any JSON value."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)
