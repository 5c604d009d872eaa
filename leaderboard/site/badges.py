"""Badges below the answer: what a reader has to know before believing it, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from admbench.leaderboard.inference.scores import ENOUGH_CAPTIONS, OWN_AUDIO
from admbench.leaderboard.ladder import Ladder
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.site.columns import BUSY_CORES, is_busy
from admbench.leaderboard.site.front import Front
from admbench.leaderboard.site.numbers import count

SMALL = "tiny-"
"""Judges of this name come with the package."""


@dataclass(frozen=True)
class Badge:
    """A few words, and why they are there."""

    text: str
    reason: str
    warns: bool


def badges(fronts: Sequence[Front], ladders: Sequence[Ladder]) -> list[Badge]:
    """Return the badges of a page."""
    return [
        *_captions(fronts),
        *_judges(fronts),
        *_busy(fronts),
        *_checked(fronts),
        _ladder(ladders),
        *_random_weights(fronts),
        *_abstract(fronts),
        *_fine_tuned(fronts),
    ]


def _captions(fronts: Sequence[Front]) -> Iterator[Badge]:
    for n in dict.fromkeys(one.view.board.n for one in fronts if one.view.board.n):
        if n < ENOUGH_CAPTIONS:
            reason = f"With fewer than {ENOUGH_CAPTIONS} captions the intervals of scores of a set can be too short."
            yield Badge(f"{n} captions; {ENOUGH_CAPTIONS} wanted", reason, True)
        else:
            yield Badge(f"{n} captions", f"{ENOUGH_CAPTIONS} or more captions: intervals hold what they say.", False)


def _judges(fronts: Sequence[Front]) -> Iterator[Badge]:
    judges = {
        name for one in fronts for key, (name, _) in one.view.board.networks.items() if not key.endswith(OWN_AUDIO)
    }
    small = sorted(name for name in judges if name.startswith(SMALL))
    if small:
        reason = (
            f"The scores come from the small metric networks that ship with this package ({', '.join(small)}), trained "
            "on its own corpus of sounds. They compare what is on this page; they cannot be compared with published "
            "FD, KL, IS or CLAP figures, which use other networks."
        )
        yield Badge("small judges", reason, True)
    if large := sorted(judges - set(small)):
        yield Badge(f"judged by {', '.join(large)}", "The metric networks behind the scores.", False)


def _busy(fronts: Sequence[Front]) -> Iterator[Badge]:
    said = [is_busy(cell.own.record) for one in fronts for cell in one.cells.values()]
    timed = [one for one in said if one is not None]
    if any(timed):
        reason = (
            f"{sum(timed)} of {len(timed)} timings were taken while other work kept more than {BUSY_CORES} cores busy. "
            "Such times are grey: two of them cannot be compared, whatever they say."
        )
        yield Badge("timed on a busy machine", reason, True)
    elif timed:
        yield Badge("timed alone", f"{len(timed)} timings, none with other work beside it.", False)


def _checked(fronts: Sequence[Front]) -> Iterator[Badge]:
    states = [cell.own.state for one in fronts for cell in one.cells.values() if cell.own.record.status == "done"]
    if states:
        again, reported = states.count("re-scored"), states.count("self-reported")
        reason = (
            f"{again} of {count(len(states), 'cell')} were scored again from their clips by the judges "
            f"(bench validate --rescore); of {states.count('checked')} more the results of each caption give every "
            f"number; {reported} are as their record says."
        )
        yield Badge(f"{again} of {len(states)} re-scored", reason, reported > 0)


def _ladder(ladders: Sequence[Ladder]) -> Badge:
    if not ladders:
        reason = "Whether these captions and judges can tell good from bad was not measured here: bench ladder does it."
        return Badge("sanity ladder: not run", reason, False)
    models = [model for ladder in ladders for model in ladder.models]
    holds = sum(model.holds for model in models)
    reason = (
        "Systems of known quality, from real audio down to random weights, must be in their known order by these "
        f"captions and judges. They are for {holds} of {count(len(models), 'model')}."
    )
    return Badge(f"sanity ladder: {holds} of {len(models)} hold", reason, holds < len(models))


def _random_weights(fronts: Sequence[Front]) -> Iterator[Badge]:
    models = {model for one in fronts for (model, _), cell in one.cells.items() if cell.own.record.model.random_weights}
    if models:
        reason = f"Not trained: {', '.join(sorted(models))}. Good for timing; nothing else is to be read from it."
        yield Badge("random weights", reason, True)


def _abstract(fronts: Sequence[Front]) -> Iterator[Badge]:
    specs = [
        row.spec
        for one in fronts
        for row in one.matrix.rows
        if any(cell.record.method.paper and cell.record.method.paper.read == "abstract" for cell in row.cells.values())
    ]
    if specs:
        reason = (
            f"{', '.join(dict.fromkeys(specs))}: of the paper only the abstract could be read, so what stands here is "
            "built from its words, and is not its authors' method in every part."
        )
        yield Badge("reconstructed from an abstract", reason, True)


def _fine_tuned(fronts: Sequence[Front]) -> Iterator[Badge]:
    specs = [
        row.spec
        for one in fronts
        for row in one.matrix.rows
        if row.spec != FULL_PRECISION and any(cell.record.method.track == "fine-tuned" for cell in row.cells.values())
    ]
    if specs:
        reason = (
            f"{', '.join(dict.fromkeys(specs))}: the weights of the whole network are trained. These are on another "
            "track, to be held against the others only with that in mind."
        )
        yield Badge("has fine-tuned methods", reason, True)
