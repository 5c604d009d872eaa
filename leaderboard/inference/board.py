"""From records to conclusions: `python -m admbench.leaderboard.inference.board RUN ...`.

A cell of a board goes into the engine by the per-caption results beside its record. What has none, or is over other
captions than full precision, is left out with its reason; nothing is estimated in its place.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from admbench.errors import BenchError
from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.inference.across import Across, across_models
from admbench.leaderboard.inference.contrasts import Cell, draws, level, on_its_scale, score_interval, value
from admbench.leaderboard.inference.crossed import Crossed
from admbench.leaderboard.inference.equivalence import Verdict, judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import DEFAULT_MARGINS, Margin
from admbench.leaderboard.inference.pairs import MAXIMUM_CELLS, AllPairs, all_pairs
from admbench.leaderboard.inference.repeats import (
    Draws,
    ModelResults,
    draws_caution,
    paired_draws,
    read_results,
    same_draws,
)
from admbench.leaderboard.inference.scores import OWN_AUDIO, ScoreKind, score_kind
from admbench.leaderboard.inference.sentences import (
    across_sentence,
    conclusion,
    draws_sentences,
    nearest_sentence,
    verdict_sentence,
)
from admbench.leaderboard.per_caption import PerCaption
from admbench.leaderboard.reading import LoadedRecord, read_runs
from admbench.leaderboard.record import FULL_PRECISION

ORDERED_BY = "fd_vs_baseline"
"""Score of the order if none is named: nearness to full precision."""


@dataclass(frozen=True)
class DrawnScore:
    """A score of a method that was run with several calibration draws."""

    value: float
    """Mean over draws; of distances the geometric one."""
    low: float
    """95 % interval over draws and captions, kept in the range of the score."""
    high: float
    crossed: Crossed
    """What its error is made of."""


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
    cells: dict[str, Cell]
    """The score of each cell in the order, by method spec; of a method with several draws, of each."""
    pairs: AllPairs | None
    """None if no cell can be ordered."""
    verdicts: dict[str, dict[str, Verdict]]
    """Method spec -> score key -> is it no worse than full precision?"""
    bits: dict[str, int]
    """Method spec -> nominal bits of a weight, where it quantizes."""
    left_out: dict[str, str]
    """Method spec -> why it is not in the order."""
    drawn: dict[str, dict[str, DrawnScore]] = field(default_factory=dict)
    """Method spec -> score key -> the score over all draws; of methods with several alone."""
    cautions: tuple[str, ...] = ()
    """What is to be said of methods that were run with fewer calibration draws than others, and of missing letters."""

    @cached_property
    def crossed(self) -> dict[str, Crossed]:
        """What the error of each cell's own score is made of, by method spec; of cells of several draws alone."""
        if self.kind is None:
            return {}
        found = {spec: level(cell, self.kind).crossed for spec, cell in self.cells.items()}
        return {spec: one for spec, one in found.items() if one}


def conclude_model(
    model: str,
    results: ModelResults,
    score: str = ORDERED_BY,
    margins: Mapping[str, Margin] = DEFAULT_MARGINS,
) -> ModelConclusion:
    """Conclude from the results of one model's cells.

    Args:
        model: name of the model, for texts.
        results: of its cells, as `read_results` reads them.
        score: key of the score of the order. Full precision has no place in an order by nearness to itself.
        margins: by score key; cells are judged by those whose score they have.
    """
    methods, content, left_out = results.methods, results.content, dict(results.left_out)
    full = content.get(FULL_PRECISION)
    compared = same_draws(content)
    near = score.endswith(OWN_AUDIO)
    ordered = {spec: list(own.values()) for spec, own in compared.items() if spec != FULL_PRECISION or not near}
    captions, kind = _asked(score, [*(full or {}).values()], ordered.values())
    scores, bad = _scores(ordered, score, captions)
    left_out |= bad
    if len(scores) > MAXIMUM_CELLS:
        left_out |= dict.fromkeys(scores, f"one of {len(scores)} cells; up to {MAXIMUM_CELLS} of a model are ordered")
        scores = {}
    most = max((len(draws(one)) for one in scores.values()), default=0)
    cautions = (draws_caution(spec, methods[spec], compared[spec], most) for spec in scores)
    pairs = all_pairs(scores, kind) if scores and kind else None
    unlettered = (f"{model}: {pairs.unlettered}",) if pairs and pairs.unlettered else ()
    return ModelConclusion(
        model=model,
        score=score,
        kind=kind,
        captions=captions,
        cells=scores,
        pairs=pairs,
        verdicts={spec: verdicts(own, full, margins) for spec, own in content.items()},
        bits={
            spec: own[0].record.method.bits.weight
            for spec, own in methods.items()
            if own[0].record.method.bits and own[0].record.method.bits.weight
        },
        left_out=left_out,
        drawn={spec: _drawn_scores(list(own.values())) for spec, own in content.items() if len(own) > 1},
        cautions=(*(one for one in cautions if one), *unlettered),
    )


def conclude(records: Iterable[LoadedRecord], score: str = ORDERED_BY) -> list[ModelConclusion]:
    """Conclude from records of some runs, model by model of each board."""
    found = []
    for board in make_boards(records):
        for group in board.groups:
            cells = [row.loaded for row in board.rows if row.group == group]
            found.append(conclude_model(group, read_results(cells), score))
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


def _asked(
    key: str, full: Sequence[PerCaption], cells: Iterable[Sequence[PerCaption]]
) -> tuple[tuple[str, ...], ScoreKind | None]:
    """Return the captions that a score is over, full precision's if it has it, and its kind, which cells say."""
    own = [one for draws in cells for one in draws if key in one.scores]
    captions = next((one.captions_of(key) for one in [*full, *own] if key in one.scores), ())
    return captions, own[0].scores[key].kind if own else None


def _scores(
    content: Mapping[str, Sequence[PerCaption]], key: str, captions: Sequence[str]
) -> tuple[dict[str, Cell], dict[str, str]]:
    """Return a score of each cell over some captions, of each of its draws, and why others have none."""
    scores: dict[str, list[Influence]] = {}
    bad: dict[str, str] = {}
    for spec, own in content.items():
        try:
            found = [one.influence(key, captions) for one in own]
            # a number of a size that no arithmetic stands is found here
            if len(found) == 1:
                on_its_scale(found[0], own[0].scores[key].kind)
            else:
                level(found, own[0].scores[key].kind)
            scores[spec] = found
        except ValueError as error:
            bad[spec] = str(error)
    if len(scores) == len(content) == 1 and len(next(iter(scores.values()))) == 1:
        return {spec: found[0] for spec, found in scores.items()}, bad  # nothing to be on other pairs than
    known = Counter(one.pairs.tobytes() for found in scores.values() for one in found if len(one.pairs))
    usual = known.most_common(1)[0][0] if known else b""
    for spec in [spec for spec, found in scores.items() if any(_other_pairs(one, usual) for one in found)]:
        del scores[spec]
        bad[spec] = f"the second-order part of {key} is on other pairs of captions than the other cells'"
    shared = next((one.pairs for found in scores.values() for one in found if len(one.pairs)), None)
    if shared is not None:  # one list for all cells, not one each
        scores = {
            spec: [replace(one, pairs=shared) if len(one.pairs) and one.pairs is not shared else one for one in found]
            for spec, found in scores.items()
        }
    return {spec: found[0] if len(found) == 1 else found for spec, found in scores.items()}, bad


def _drawn_scores(own: Sequence[PerCaption]) -> dict[str, DrawnScore]:
    """Return every score that all draws of a method have over the same captions."""
    found = {}
    for key, first in own[0].scores.items():
        kind = score_kind(key) or first.kind
        scores, _ = _scores({"method": own}, key, own[0].captions_of(key))
        if scores:
            cell = scores["method"]
            one = level(cell, kind)
            assert one.crossed is not None
            found[key] = DrawnScore(value(cell, ratio=kind.ratio_scale), *score_interval(cell, kind), one.crossed)
    return found


def _other_pairs(one: Influence, usual: bytes) -> bool:
    return len(one.pairs) > 0 and one.pairs.tobytes() != usual


def verdicts(own: Draws, full: Draws | None, margins: Mapping[str, Margin]) -> dict[str, Verdict]:
    """Say by each margin whose score a cell has whether it is no worse than another, such as full precision.

    Args:
        own: of each calibration draw of the cell.
        full: of what it is held against, over the captions of the cell; None if there is none.
        margins: by score key.
    """
    has = {key for one in own.values() for key in one.scores}
    return {key: _verdict(own, full, margin) for key, margin in margins.items() if key in has}


def _verdict(own: Draws, full: Draws | None, margin: Margin) -> Verdict:
    key, base_key = margin.key, margin.of or margin.key
    first = next(one for one in own.values() if key in one.scores)
    captions = first.captions_of(key)
    # a file may not say of a built-in score that it is better when higher
    kind = score_kind(key) or first.scores[key].kind
    try:
        mine, theirs = paired_draws(own, full) if full else (list(own.values()), [])
    except ValueError as error:
        return replace(judge(margin, kind, {}, None), reason=str(error))
    scores, bad = _scores({"cell": mine}, key, captions)
    base, lacking = _scores({"full": theirs}, base_key, captions) if full else ({}, {})
    found = judge(
        margin,
        kind,
        {key: scores["cell"]} if scores else {},
        {base_key: base["full"]} if base else None,
    )
    reason = bad.get("cell") or lacking.get("full")
    return replace(found, reason=reason) if found.estimate is None and reason else found


def report(models: Sequence[ModelConclusion]) -> Iterator[str]:
    """Yield the lines of a text with a table per model and the conclusions in words."""
    for one in models:
        yield f"### {one.model}, by {one.score}"
        yield ""
        if one.pairs and one.kind:
            crossed = one.crossed
            more = " draws (of the variance) |" if crossed else ""
            yield f"| method | value | 95 % interval | letters | rank | no worse by FD? |{more}"
            yield "|---|---|---|---|---|---|" + ("---|" if crossed else "")
            for spec, value in one.pairs.values.items():
                low, high = score_interval(one.cells[spec], one.kind)
                first, last = one.pairs.ranks[spec]
                rank = str(first) if first == last else f"{first}-{last}"
                verdict, letters = one.verdicts[spec].get("fd"), one.pairs.letters[spec]
                word = verdict.word if verdict else ""
                own = crossed.get(spec)
                over = f" {own.draws} ({100 * own.share_draws:.0f} %) |" if own else " 1 |" if crossed else ""
                yield f"| `{spec}` | {value:.3g} | {low:.3g} to {high:.3g} | {letters} | {rank} | {word} |{over}"
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
    return conclusion([*sentences, *draws_sentences(one.crossed)], [one.pairs.caution, *one.cautions])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what may be concluded from the records of some runs. Exit code 2: one line says what is wrong."""
    description = (main.__doc__ or "").partition(".")[0]
    parser = argparse.ArgumentParser(prog="python -m admbench.leaderboard.inference.board", description=description)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--by", default=ORDERED_BY, help="score of the order (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        lines = list(report(conclude(read_runs(given.runs), given.by)))
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in lines:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
