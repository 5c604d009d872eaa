"""What a record knows of each caption: `per-caption.safetensors` beside `result.json`, written, read and checked.

With it any two cells of one suite are compared, paired over captions, without features or audio, from one run or from
two machines: `admbench.leaderboard.inference`. The file is read as untrusted input, like the record.

Format, version 2. A safetensors file whose metadata hold one entry, `per_caption`, a JSON object:

    schema_version   2
    captions         ids of the n captions, in the order of every row below
    scores           KEY -> how it is made (`per`), its `value`, and its kind: `higher_is_better`, `ratio_scale`,
                     `share`, `low` and `high` (null where it has no bound)

and these tensors, of which no other may be there:

    clip_sha256       uint8 (n, 32)   SHA-256 of each clip's file
    health.FAULT      uint8 (n,)      1 for a clip that is silent, clipped, too_short or nan
    rows.KEY          int32 (m,)      ascending rows of the captions that the score is over; left out if all n
    clips.KEY         float64 (m,)    of a score that is a mean over clips (`per`: "clip"): each clip's own
    first.KEY         float64 (m,)    of a score of a set (`per`: "set"): influence of each caption
    second.KEY        float64 (p,)    and its second-order part on the pairs
    pairs.M           int32 (p, 2)    pairs of captions, by their place among the m = M of a score

`first` and `second` are defined in `admbench.leaderboard.inference.influence`. Version 1 has the same contents; it says
that the intervals of the record beside it are of before: from the variance all was taken off that the jackknife counts
twice, not half. Conclusions are drawn from either version alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from admbench.errors import DataError
from admbench.files import write_bytes_atomic
from admbench.leaderboard.clips import MAX_CLIPS
from admbench.leaderboard.fields import MetricName
from admbench.leaderboard.inference.contrasts import score_interval
from admbench.leaderboard.inference.influence import MINIMUM_CAPTIONS, Influence, Values
from admbench.leaderboard.inference.scores import ScoreKind
from admbench.leaderboard.run_folder import PER_CAPTION as PER_CAPTION
from admbench.leaderboard.untrusted import clip_id, decode_json, read_bytes

FORMAT: Final = 2
"""Version that is written."""
TAKEN_OFF_BEFORE = 1.0
"""Share of what the jackknife counts twice that intervals beside files of version 1 take off."""
HEALTH = ("silent", "clipped", "too_short", "nan")
"""What can be wrong with a clip: docs/metrics.md."""
MAX_BYTES = 64 * 2**20
MAX_SCORES = 200
MAX_PAIRS = 10_000
ROUNDING = 1e-6
"""By how much a number may have left its range."""
LARGEST = 1e100
"""No number is beyond this, so that squares of it are numbers."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CaptionScore:
    """One score, as it depends on each caption."""

    kind: ScoreKind
    rows: Rows
    """(m,) ascending rows of the captions that it is over."""
    influence: Influence
    """Over these m captions."""
    clips: Values | None = None
    """(m,) each clip's own number, of a score that is their mean; None for a score of a set."""

    @classmethod
    def of_clips(cls, kind: ScoreKind, rows: ArrayLike, numbers: ArrayLike) -> CaptionScore:
        """Return a score that is a mean over clips; ValueError as of `Influence`."""
        own = np.asarray(numbers, dtype=np.float64)
        return cls(kind, np.asarray(rows, dtype=np.int64), Influence.of_clips(own), own)


@dataclass(frozen=True)
class PerCaption:
    """Everything that a cell's record knows of each caption.

    Raises:
        ValueError: what does not belong together, in one line.
    """

    captions: tuple[str, ...]
    """(n,) ids."""
    clip_sha256: tuple[str, ...]
    """(n,) SHA-256 of each clip's file."""
    health: dict[str, NDArray[np.bool_]]
    """Fault -> (n,) whether a clip has it; every fault is there."""
    scores: dict[str, CaptionScore]
    """By key."""
    format: int = FORMAT
    """Version of the file that they were read from."""

    def __post_init__(self) -> None:
        n = len(self.captions)
        if not 1 <= n <= MAX_CLIPS:
            raise ValueError(f"captions: expected 1 to {MAX_CLIPS}, found {n}")
        if len(set(self.captions)) != n:
            twice = next(one for one in self.captions if self.captions.count(one) > 1)
            raise ValueError(f"captions: the id {twice!r} appears twice")
        if len(self.clip_sha256) != n:
            raise ValueError(f"clip_sha256: {len(self.clip_sha256)} hashes for {n} captions")
        if set(self.health) != set(HEALTH) or any(flags.shape != (n,) for flags in self.health.values()):
            raise ValueError(f"health: expected {', '.join(HEALTH)} for each of {n} captions")
        for key, score in self.scores.items():
            rows = score.rows
            if rows.shape != (score.influence.n,):
                raise ValueError(f"scores.{key}: {score.influence.n} influences for {len(rows)} captions")
            if rows[0] < 0 or rows[-1] >= n or (np.diff(rows) <= 0).any():
                raise ValueError(f"scores.{key}: rows are not ascending ones of {n} captions")

    def captions_of(self, key: str) -> tuple[str, ...]:
        """Return the ids of the captions that a score is over."""
        rows = self.scores[key].rows
        if len(rows) == len(self.captions):  # ascending, so all of them
            return self.captions
        return tuple(self.captions[row] for row in rows)

    def influence(self, key: str, captions: Sequence[str]) -> Influence:
        """Return a score over some captions in their order, to be compared with another cell's.

        Raises:
            ValueError: there is no such score, or not over these captions. A mean over clips may be over more: it is
                taken over those that are asked for. A score of a set cannot be had of a part of it.
        """
        score = self.scores.get(key)
        if score is None:
            raise ValueError(f"no {key} per caption")
        own = self.captions_of(key)
        if own == captions:  # as of almost every cell of a board: nothing is put in order
            return score.influence.canonical
        place = {name: k for k, name in enumerate(own)}
        lacking = [name for name in captions if name not in place]
        if lacking:
            raise ValueError(f"{key} is not over {len(lacking)} of the captions, such as {lacking[0]}")
        order = np.array([place[name] for name in captions], dtype=np.int64)
        if score.clips is not None:
            return Influence.of_clips(score.clips[order])
        if len(captions) != len(place):
            raise ValueError(f"{key} is of a set of {len(place)} captions, and says nothing of {len(captions)} of them")
        return score.influence.reordered(order).canonical

    def as_recorded(self, score: Influence) -> Influence:
        """Return a score with the standard error that intervals of the record beside these results have."""
        return replace(score, taken_off=TAKEN_OFF_BEFORE) if self.format < FORMAT else score

    def worst(self, key: str, count: int) -> list[tuple[str, float]]:
        """Return the captions that make a score worst, the worst first: with the clip's number, or its influence."""
        score = self.scores[key]
        numbers = score.influence.first if score.clips is None else score.clips
        order = np.argsort(-numbers if not score.kind.higher_is_better else numbers, kind="stable")[:count]
        names = self.captions_of(key)
        return [(names[place], float(numbers[place])) for place in order]


def _within(kind: ScoreKind, least: float, greatest: float) -> bool:
    """Return whether numbers are in a score's range, but for rounding: the cosine of equal vectors may be 1 + 1e-7."""
    return kind.low - ROUNDING <= least and greatest <= kind.high + ROUNDING


class _Score(BaseModel):
    """A score in the file's JSON."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    per: Literal["clip", "set"]
    value: Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
    higher_is_better: bool
    ratio_scale: bool
    share: bool
    low: float | None
    high: float | None

    @property
    def kind(self) -> ScoreKind:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return ScoreKind(self.higher_is_better, self.ratio_scale, low, high, self.share)

    @model_validator(mode="after")
    def _inside(self) -> _Score:
        if not _within(self.kind, self.value, self.value):
            raise ValueError(f"{self.value:g} is outside of the score's own range")
        return self


class _Header(BaseModel):
    """The file's JSON."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    schema_version: Literal[1, 2]
    captions: Annotated[list[Annotated[str, AfterValidator(clip_id)]], Field(min_length=1, max_length=MAX_CLIPS)]
    scores: Annotated[dict[MetricName, _Score], Field(max_length=MAX_SCORES)]


def write_per_caption(path: Path, content: PerCaption) -> None:
    """Write the file; the same content gives the same bytes."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {
        "clip_sha256": np.array([list(bytes.fromhex(digest)) for digest in content.clip_sha256], dtype=np.uint8)
    }
    for fault, flags in content.health.items():
        tensors[f"health.{fault}"] = flags.astype(np.uint8)
    for key, score in content.scores.items():
        if len(score.rows) < len(content.captions):
            tensors[f"rows.{key}"] = score.rows.astype(np.int32)
        if score.clips is not None:
            tensors[f"clips.{key}"] = score.clips
            continue
        tensors[f"first.{key}"] = score.influence.first
        tensors[f"second.{key}"] = score.influence.second
        name, pairs = f"pairs.{score.influence.n}", score.influence.pairs.astype(np.int32)
        if not np.array_equal(tensors.setdefault(name, pairs), pairs):
            raise ValueError(f"scores.{key}: second-order part on other pairs of captions than another score's")
    header = _Header(
        schema_version=FORMAT,
        captions=list(content.captions),
        scores={key: _described(score) for key, score in content.scores.items()},
    )
    text = json.dumps(header.model_dump(), sort_keys=True, separators=(",", ":"))
    write_bytes_atomic(
        path, save({key: np.ascontiguousarray(tensors[key]) for key in sorted(tensors)}, {"per_caption": text})
    )


def read_per_caption(root: Path, path: Path) -> PerCaption:
    """Read the file at `path` below `root`, as untrusted input.

    Raises:
        DataError: missing, too large, reached through a link, damaged, or with contents that do not belong together;
            one line that names the file.
    """
    data = read_bytes(root, path, MAX_BYTES)
    tensors = _tensors(data, path)
    try:
        header = _Header.model_validate(_metadata(data, path))
        content = _content(header, tensors)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(str(part)[:80] for part in detail["loc"] if part != "[key]") or "per_caption"
        raise DataError(f"{path}: {key}: {detail['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if tensors:
        raise DataError(f"{path}: unknown tensor {min(tensors)[:80]!r}")
    return content


def read_beside(run: Path, cell: Path) -> PerCaption | None:
    """Read the per-caption results in a cell's folder; None if there are none, as beside records of older runs.

    Raises:
        DataError: as of `read_per_caption`.
    """
    path = cell / PER_CAPTION
    return read_per_caption(run, path) if path.exists() or path.is_symlink() else None


def _described(score: CaptionScore) -> _Score:
    kind = score.kind
    return _Score(
        per="set" if score.clips is None else "clip",
        value=score.influence.value,
        higher_is_better=kind.higher_is_better,
        ratio_scale=kind.ratio_scale,
        share=kind.share,
        low=kind.low if math.isfinite(kind.low) else None,
        high=kind.high if math.isfinite(kind.high) else None,
    )


def _metadata(data: bytes, path: Path) -> Any:
    """Return the JSON of the metadata; safetensors has found the header to be whole."""
    length = int.from_bytes(data[:8], "little")
    metadata = decode_json(data[8 : 8 + length], path).get("__metadata__")
    if not isinstance(metadata, dict) or set(metadata) != {"per_caption"}:
        raise DataError(f"{path}: not per-caption results: expected the metadata per_caption alone")
    return decode_json(metadata["per_caption"].encode("utf-8"), path)


_TYPES: dict[str, np.dtype[Any]] = {"F64": np.dtype("<f8"), "I32": np.dtype("<i4"), "U8": np.dtype("u1")}


def _tensors(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(data)
    except (SafetensorError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a safetensors file ({' '.join(str(error).split())[:200]})") from error
    tensors = {}
    for name, tensor in found:
        if tensor["dtype"] not in _TYPES:
            raise DataError(f"{path}: {name[:80]!r} is of type {tensor['dtype']}")
        numbers = np.frombuffer(bytes(tensor["data"]), dtype=_TYPES[tensor["dtype"]])
        tensors[name] = numbers.reshape(tensor["shape"])
    return tensors


def _content(header: _Header, tensors: dict[str, NDArray[Any]]) -> PerCaption:
    """Take what belongs to the header out of `tensors`; ValueError for what is missing or does not fit."""
    n = len(header.captions)
    hashes = _take(tensors, "clip_sha256", "u1", (n, 32))
    health = {}
    for fault in HEALTH:
        flags = _take(tensors, f"health.{fault}", "u1", (n,))
        if flags.max(initial=0) > 1:
            raise ValueError(f"health.{fault}: expected 0 or 1")
        health[fault] = flags.astype(bool)
    pairs: dict[int, NDArray[np.int64]] = {}
    scores = {}
    for key, described in header.scores.items():
        rows = np.arange(n, dtype=np.int64)
        if f"rows.{key}" in tensors:
            rows = _take(tensors, f"rows.{key}", "<i4", (None,)).astype(np.int64)
        scores[key] = _score(key, described, rows, tensors, pairs)
    digests = tuple(bytes(row).hex() for row in hashes)
    return PerCaption(tuple(header.captions), digests, health, scores, header.schema_version)


def _score(
    key: str,
    described: _Score,
    rows: Rows,
    tensors: dict[str, NDArray[Any]],
    pairs: dict[int, NDArray[np.int64]],
) -> CaptionScore:
    m = len(rows)
    if m < MINIMUM_CAPTIONS:
        raise ValueError(f"scores.{key}: {m} captions; at least {MINIMUM_CAPTIONS} have an interval")
    kind = described.kind
    if described.per == "clip":
        score = CaptionScore.of_clips(kind, rows, _numbers(tensors, f"clips.{key}", (m,)))
        assert score.clips is not None
        if not _within(kind, float(score.clips.min()), float(score.clips.max())):
            raise ValueError(f"clips.{key}: a clip outside of the score's range")
        if not math.isclose(score.influence.value, described.value, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(
                f"scores.{key}.value: {described.value:g}, but the clips' mean is {score.influence.value:g}"
            )
        return score
    first, second = _numbers(tensors, f"first.{key}", (m,)), _numbers(tensors, f"second.{key}", (None,))
    if m not in pairs:
        pairs[m] = _take(tensors, f"pairs.{m}", "<i4", (None, 2)).astype(np.int64)
        if len(pairs[m]) > MAX_PAIRS:
            raise ValueError(f"pairs.{m}: more than {MAX_PAIRS}")
    try:
        return CaptionScore(kind, rows, Influence(described.value, first, second, pairs[m]))
    except ValueError as error:
        raise ValueError(f"scores.{key}: {error}") from None


def _take(tensors: dict[str, NDArray[Any]], name: str, dtype: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Take a tensor of a type and shape (None: any length)."""
    found = tensors.pop(name, None)
    if found is None:
        raise ValueError(f"no tensor {name}")
    fits = found.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, found.shape, strict=True))
    if found.dtype != np.dtype(dtype) or not fits:
        raise ValueError(f"{name}: unexpected type or shape, {found.dtype} {found.shape}")
    return found


def _numbers(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]) -> Values:
    found: Values = _take(tensors, name, "<f8", shape)
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: not every number is finite")
    if np.abs(found).max(initial=0.0) > LARGEST:
        raise ValueError(f"{name}: a number beyond {LARGEST:g}")
    return found


def disagreements(content: PerCaption, scores: Mapping[str, Any], *, tolerance: float = 1e-6) -> list[str]:
    """Return where a record's scores are not what the per-caption results give, one line each.

    A score with an interval depends on captions: it has per-caption results, where a cell has any.

    Args:
        content: read from beside the record.
        scores: of the record, by key; of each value, ci95 and n are held against what follows from `content`.
        tolerance: relative difference that counts as the same.
    """
    with_interval = (key for key, score in scores.items() if score.ci95 is not None)
    lines = [f"scores.{key}: no per-caption results" for key in with_interval if key not in content.scores]
    for key, score in content.scores.items():
        recorded = scores.get(key)
        if recorded is None or recorded.value is None:
            lines.append(f"scores.{key}: not in the record")
            continue
        if recorded.n != score.influence.n:
            lines.append(f"scores.{key}.n: {recorded.n}, but {score.influence.n} captions have their results")
        if not math.isclose(recorded.value, score.influence.value, rel_tol=tolerance, abs_tol=tolerance):
            lines.append(f"scores.{key}.value: {recorded.value:g}, per caption {score.influence.value:g}")
        if recorded.ci95 is not None:
            try:
                own = score_interval(content.as_recorded(score.influence), score.kind)
            except ValueError as error:  # numbers of a size that no arithmetic stands
                lines.append(f"scores.{key}.ci95: per caption none: {error}")
                continue
            given = score.kind.inside(tuple(recorded.ci95))
            scale = max(abs(own[0]), abs(own[1]))
            if not all(
                math.isclose(*both, rel_tol=tolerance, abs_tol=tolerance * scale)
                for both in zip(given, own, strict=True)
            ):
                lines.append(f"scores.{key}.ci95: [{given[0]:g}, {given[1]:g}], per caption [{own[0]:g}, {own[1]:g}]")
    return lines
