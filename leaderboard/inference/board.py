"""From records to conclusions: `python -m admbench.leaderboard.inference.board RUN ...`.

A cell of a board goes into the engine by the per-caption results beside its record. What has none, or is over other
captions than full precision, is left out with its reason; nothing is estimated in its place.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from admbench.errors import DataError
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.inference.across import Across, across_models
from admbench.leaderboard.inference.contrasts import level, score_interval
from admbench.leaderboard.inference.equivalence import Verdict, judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import DEFAULT_MARGINS, Margin
from admbench.leaderboard.inference.pairs import AllPairs, all_pairs
from admbench.leaderboard.inference.scores import OWN_AUDIO, ScoreKind, score_kind
from admbench.leaderboard.inference.sentences import across_sentence, conclusion, nearest_sentence, verdict_sentence
from admbench.leaderboard.per_caption import PER_CAPTION, PerCaption, read_per_caption
from admbench.leaderboard.reading import LoadedRecord, read_runs
from admbench.leaderboard.record import FULL_PRECISION

ORDERED_BY = "fd_vs_baseline"
"""Score of the order if none is named: nearness to full precision."""


@dataclass(frozen=True)
class ModelConclusion:
    """What may be concluded of one model's cells."""

    model: str
    score: str
    """Key of the score of the order."""
    kind: ScoreKind | None
    """Of that score; None if no cell has it."""
    captions: tuple[str, ...]
    """That it is over."""
    cells: dict[str, Influence]
    """The score of each cell in the order, by method spec."""
    pairs: AllPairs | None
    """None if no cell can be ordered."""
    verdicts: dict[str, dict[str, Verdict]]
    """Method spec -> score key -> is it no worse than full precision?"""
    bits: dict[str, int]
    """Method spec -> nominal bits of a weight, where it quantizes."""
    left_out: dict[str, str]
    """Method spec -> why it is not in the order."""


def conclude_model(
    model: str,
    cells: Sequence[LoadedRecord],
    score: str = ORDERED_BY,
    margins: Mapping[str, Margin] = DEFAULT_MARGINS,
) -> ModelConclusion:
    """Conclude from the records of one model's cells, one record a method.

    Args:
        model: name of the model, for texts.
        cells: its records, of one board.
        score: key of the score of the order. Full precision has no place in an order by nearness to itself.
        margins: by score key; cells are judged by those whose score they have.

    Raises:
        ValueError: two records of one method.
    """
    specs = [cell.name for cell in cells]
    if len(set(specs)) != len(specs):
        raise ValueError(f"{model}: two records of one method")
    content: dict[str, PerCaption] = {}
    left_out: dict[str, str] = {}
    for spec, cell in zip(specs, cells, strict=True):
        try:
            if cell.record.status != "done":
                raise ValueError(f"{cell.record.status}: {cell.record.reason}")
            content[spec] = read_per_caption(cell.run, cell.cell / PER_CAPTION)
        except (DataError, ValueError) as error:
            left_out[spec] = str(error)
    ordered = {spec: own for spec, own in content.items() if spec != FULL_PRECISION or not score.endswith(OWN_AUDIO)}
    captions = next((own.captions_of(score) for own in _first(content, ordered) if score in own.scores), ())
    kind = next((own.scores[score].kind for own in ordered.values() if score in own.scores), None)
    scores, bad = _scores(ordered, score, captions)
    left_out |= bad
    return ModelConclusion(
        model=model,
        score=score,
        kind=kind,
        captions=captions,
        cells=scores,
        pairs=all_pairs(scores, kind) if scores and kind else None,
        verdicts={spec: verdicts(own, content.get(FULL_PRECISION), margins) for spec, own in content.items()},
        bits={
            cell.name: cell.record.method.bits.weight
            for cell in cells
            if cell.record.method.bits and cell.record.method.bits.weight
        },
        left_out=left_out,
    )


def conclude(records: Iterable[LoadedRecord], score: str = ORDERED_BY) -> list[ModelConclusion]:
    """Conclude from records of some runs, model by model of each board."""
    found = []
    for board in make_boards(records):
        for group in board.groups:
            found.append(conclude_model(group, [row.loaded for row in board.rows if row.group == group], score))
    return found


def against_rounding(models: Sequence[ModelConclusion], rounding: str = "naive") -> list[Across]:
    """Hold every method against rounding at the same bits, such as `ptq4adm@w4a8` against `naive@w4a8`."""
    known = {one.model: one.pairs for one in models if one.pairs}
    shared = len({one.captions for one in models if one.pairs}) == 1
    specs = list(dict.fromkeys(spec for pairs in known.values() for spec in pairs.order))
    found = []
    for spec in specs:
        name, at, bits = spec.partition("@")
        plain = f"{rounding}@{bits.partition('[')[0]}"
        if at and name != rounding and plain in specs:
            found.append(across_models(known, spec, plain, shared_captions=shared))
    return found


def _first(content: Mapping[str, PerCaption], ordered: Mapping[str, PerCaption]) -> list[PerCaption]:
    """Return the cells with full precision, whose captions are everybody's, at the front."""
    return [content[FULL_PRECISION], *ordered.values()] if FULL_PRECISION in content else list(ordered.values())


def _scores(
    content: Mapping[str, PerCaption], key: str, captions: Sequence[str]
) -> tuple[dict[str, Influence], dict[str, str]]:
    """Return a score of each cell over some captions, and why others have none."""
    scores: dict[str, Influence] = {}
    bad: dict[str, str] = {}
    for spec, own in content.items():
        try:
            one = own.influence(key, captions)
            level(one, own.scores[key].kind)  # a number of a size that no arithmetic stands is found here
            scores[spec] = one
        except ValueError as error:
            bad[spec] = str(error)
    known = Counter(one.pairs.tobytes() for one in scores.values() if len(one.pairs))
    usual = known.most_common(1)[0][0] if known else b""
    for spec in [spec for spec, one in scores.items() if len(one.pairs) and one.pairs.tobytes() != usual]:
        del scores[spec]
        bad[spec] = f"the second-order part of {key} is on other pairs of captions than the other cells'"
    return scores, bad


def verdicts(own: PerCaption, full: PerCaption | None, margins: Mapping[str, Margin]) -> dict[str, Verdict]:
    """Say by each margin whose score a cell has whether it is no worse than another, such as full precision.

    Args:
        own: of the cell.
        full: of what it is held against, over the captions of the cell; None if there is none.
        margins: by score key.
    """
    return {key: _verdict(own, full, margin) for key, margin in margins.items() if key in own.scores}


def _verdict(own: PerCaption, full: PerCaption | None, margin: Margin) -> Verdict:
    key = margin.key
    captions = own.captions_of(key)
    mine, bad = _scores({"cell": own}, key, captions)
    base_key = margin.of or key
    theirs, lacking = _scores({"full": full}, base_key, captions) if full else ({}, {})
    # a file may not say of a built-in score that it is better when higher
    kind = score_kind(key) or own.scores[key].kind
    found = judge(
        margin,
        kind,
        {key: mine["cell"]} if mine else {},
        {base_key: theirs["full"]} if theirs else None,
    )
    reason = bad.get("cell") or lacking.get("full")
    return replace(found, reason=reason) if found.estimate is None and reason else found


def report(models: Sequence[ModelConclusion]) -> Iterator[str]:
    """Yield the lines of a text with a table per model and the conclusions in words."""
    for one in models:
        yield f"### {one.model}, by {one.score}"
        yield ""
        if one.pairs and one.kind:
            yield "| method | value | 95 % interval | letters | rank | no worse by FD? |"
            yield "|---|---|---|---|---|---|"
            for spec, value in one.pairs.values.items():
                low, high = score_interval(one.cells[spec], one.kind)
                first, last = one.pairs.ranks[spec]
                rank = str(first) if first == last else f"{first}-{last}"
                verdict, letters = one.verdicts[spec].get("fd"), one.pairs.letters[spec]
                word = verdict.word if verdict else ""
                yield f"| `{spec}` | {value:.3g} | {low:.3g} to {high:.3g} | {letters} | {rank} | {word} |"
            yield ""
        for spec, reason in one.left_out.items():
            yield f"{spec} is left out: {reason}."
        yield _in_words(one)
        yield ""
    across = [one for one in against_rounding(models) if len(one.models) > 1]
    if across:
        yield "### All models, against rounding at the same bits"
        yield ""
        yield conclusion([across_sentence(one) for one in across], [one.caution for one in across])


def _in_words(one: ModelConclusion) -> str:
    if one.pairs is None:
        return f"{one.model}: nothing can be ordered."
    sentences = [
        nearest_sentence(
            one.model, one.pairs, [spec for spec, own in one.bits.items() if own == bits], f"at {bits}-bit weights"
        )
        for bits in sorted(set(one.bits.values()))
        if bits < 8
    ]
    sentences += [
        verdict_sentence(spec, own["fd"])
        for spec, own in one.verdicts.items()
        if "fd" in own and spec != FULL_PRECISION
    ]
    return conclusion(sentences, [one.pairs.caution])


def main() -> None:
    """Print what may be concluded from the records of some runs."""
    parser = argparse.ArgumentParser(prog="python -m admbench.leaderboard.inference.board", description=main.__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--by", default=ORDERED_BY, help="score of the order (default: %(default)s)")
    arguments = parser.parse_args()
    for line in report(conclude(read_runs(arguments.runs), arguments.by)):
        print(line)


if __name__ == "__main__":
    main()
