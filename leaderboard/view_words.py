"""What a board says in one or two sentences, read from its view. Nothing is said that the engine did not conclude."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from admbench.leaderboard.inference.across import Across
from admbench.leaderboard.inference.agreement import agreement_sentence
from admbench.leaderboard.inference.equivalence import Verdict
from admbench.leaderboard.inference.pairs import AllPairs
from admbench.leaderboard.inference.scores import OWN_AUDIO
from admbench.leaderboard.inference.sentences import conclusion, listed, nearest_sentence
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.view import BoardView, ModelView, bits_per_weight

NO_WORSE_BY = "fd"
"""The score whose verdicts are counted."""
_MOST_NAMES = 4
"""So many methods that beat rounding are named; of others there is a number."""
_MOST_PARTS = 3
"""So many methods that come first, and so many numbers of models, are told one by one."""


def headline(view: BoardView) -> list[str]:
    """Return one or two sentences: what comes first at few bits and what beats rounding; what is no worse."""
    ordered = [model for model in view.models if model.conclusions[view.score].pairs]
    if not ordered:
        reasons = Counter(own.missing.get(view.score, "") for model in view.models for own in model.rows)
        usual = next(
            (text for text, _ in reasons.most_common() if text and text != "this is full precision"), "no cells"
        )
        return [f"Nothing can be ordered by {view.score}: {usual}."]
    nearest = [*_nearest(view, ordered), *(_rounding(view) if len(ordered) > 1 else [])]
    rest = [*_no_worse(view), *_left_out(view)]
    return _bits_said_once(view, [f"{'; '.join(parts)}." for parts in (nearest, rest) if parts])


def model_sentences(view: BoardView, model: ModelView) -> list[str]:
    """Return what comes first on one model at each number of bits of a weight below 8, or at 8 if there is none."""
    one = model.conclusions[view.score]
    if one.pairs is None:
        return [f"{model.name}: nothing can be ordered."]
    known = {bits for spec, bits in one.bits.items() if spec in one.pairs.values}
    return [_model_sentence(view, model, bits) for bits in sorted({bits for bits in known if bits < 8} or known)]


def _model_sentence(view: BoardView, model: ModelView, bits: int | None) -> str:
    """Say what comes first on one model among the weights of some bits, or of all."""
    one = model.conclusions[view.score]
    assert one.pairs is not None
    among = [spec for spec in one.pairs.order if bits is None or one.bits.get(spec) == bits]
    return nearest_sentence(model.name, one.pairs, among, "of all" if bits is None else f"at {bits}-bit weights")


def judges_sentences(view: BoardView) -> list[str]:
    """Return whether further judges order the cells of each model as the first one does."""
    return [agreement_sentence(model.name, found) for model in view.models for found in model.agreements]


def paragraph(view: BoardView) -> str:
    """Return the headline as one paragraph, with what has to be said beside it at its end."""
    return conclusion(headline(view), view.cautions)


def short_verdict(verdict: Verdict) -> str:
    """Return a verdict's word; where it cannot be told, with the captions that would tell."""
    needed = verdict.captions_needed
    return f"{verdict.word} ({needed:,} captions would tell)" if needed else verdict.word


MOST_RATIO = 10_000
"""An interval that reaches further, as one of two models does that disagree, says no more by its numbers."""


def ratio_text(one: Across) -> str:
    """Return the geometric mean of ratios on several models with its interval, or why there is none."""
    if one.mean is None:
        return str(one.reason)
    if one.low is None or one.high is None:
        return three_digits(one.mean)
    low = f"< {1 / MOST_RATIO}" if one.low < 1 / MOST_RATIO else three_digits(one.low)
    high = f"> {MOST_RATIO}" if one.high > MOST_RATIO else three_digits(one.high)
    return f"{three_digits(one.mean)} [{low}, {high}]"


def three_digits(number: float) -> str:
    """Return a number with three significant digits.

    >>> three_digits(0.4), three_digits(1.0), three_digits(1234.5)
    ('0.400', '1.00', '1.23e+03')
    """
    return f"{number:#.3g}".rstrip(".")


def _nearest(view: BoardView, models: Sequence[ModelView]) -> list[str]:
    """Say what comes first: among the weights of few bits that most cells have, or of all where none has company."""
    bits = _compared_bits(view, models)
    if len(models) == 1:
        return [_model_sentence(view, models[0], bits).removesuffix(".")]
    firsts: dict[str, list[bool]] = {}
    for model in models:
        one = model.conclusions[view.score]
        assert one.pairs is not None
        among = [spec for spec in one.pairs.order if bits is None or one.bits.get(spec) == bits]
        if len(among) > 1:
            firsts.setdefault(among[0], []).append(_told_from_all(one.pairs, among[0], among[1:]))
    total = sum(map(len, firsts.values()))
    best = "stays nearest to full precision" if view.score.endswith(OWN_AUDIO) else f"is best by {view.score}"
    others = "others" if bits is None else f"other {bits}-bit cells"
    ranked = sorted(firsts.items(), key=lambda item: (-len(item[1]), item[0]))
    every = [one for told in firsts.values() for one in told]
    alike = len(set(every)) == 1 or len(firsts) == 1
    parts = [
        f"{_named(view, spec)} {'' if place else f'{best} '}on {len(told) if place else _share(len(told), total)}"
        f"{'' if alike else f' ({_apart(told, others)})'}"
        for place, (spec, told) in enumerate(ranked[:_MOST_PARTS])
    ]
    if rest := sum(len(told) for _, told in ranked[_MOST_PARTS:]):
        parts.append(f"{len(ranked) - _MOST_PARTS} more on the other {rest}")
    where = "Of all cells" if bits is None else f"At {bits}-bit weights"
    return [f"{where} {listed(parts)}{f' ({_apart(every, others)})' if alike else ''}"] if parts else []


def _compared_bits(view: BoardView, models: Sequence[ModelView]) -> int | None:
    """Return the bits of a weight, below 8 if possible, that most cells with company on their model have."""
    counts: Counter[int] = Counter()
    for model in models:
        one = model.conclusions[view.score]
        own = Counter(bits for spec, bits in one.bits.items() if one.pairs and spec in one.pairs.values)
        counts.update({bits: count for bits, count in own.items() if count > 1})
    return max(counts, key=lambda bits: (bits < 8, counts[bits], -bits), default=None)


def _share(some: int, total: int) -> str:
    return "the one model that has several" if total == 1 else _of(some, total)


def _apart(told: Sequence[bool], others: str) -> str:
    """Say on how many models a cell is told apart from every other one."""
    if not any(told):
        return f"not told apart from some {others}"
    return f"told apart from all {others}{'' if all(told) else f' on {sum(told)}'}"


def _told_from_all(pairs: AllPairs, spec: str, others: Iterable[str]) -> bool:
    return all(pairs.better_than(spec, other) for other in others)


def _rounding(view: BoardView) -> list[str]:
    """Say which methods are shown to beat rounding at the same bits on how many models, those on most models first."""
    known = [one for one in view.across if len(one.models) > 1]
    if not known:
        return []
    than = "shown to beat rounding at the same nominal bits"
    if not any(one.better for one in known):
        return [f"none of {len(known)} methods is {than} on any model"]
    groups: dict[tuple[int, int], list[str]] = {}
    for one in sorted(known, key=lambda one: (-one.better, len(one.models), one.mean or 0.0, one.cell)):
        groups.setdefault((one.better, len(one.models) if one.better else 0), []).append(one.cell)
    (first, cells), *others = groups.items()
    verb, room = "is" if len(cells) == 1 else "are", _MOST_NAMES - len(cells)
    parts = [f"{listed([_named(view, cell) for cell in cells], _MOST_NAMES)} {verb} {than} on {_of(*first)}"]
    for (better, total), cells in others[: _MOST_PARTS - 1]:
        room -= len(cells)
        who = listed([_named(view, cell) for cell in cells]) if room >= 0 else f"{len(cells)} more"
        parts.append(f"{who} on {f'{better} of {total}' if better else 'none'}")
    if rest := others[_MOST_PARTS - 1 :]:
        count = sum(len(cells) for _, cells in rest)
        parts.append(f"{count} more on {'fewer' if any(better for (better, _), _ in rest) else 'none'}")
    return [", ".join(parts)]


def _of(some: int, total: int) -> str:
    every = "both models" if total == 2 else f"all {total} models"
    return every if some == total else f"{some} of {total} models"


def _no_worse(view: BoardView) -> list[str]:
    """Count the words of all quantized cells by FD."""
    verdicts = [
        own.verdicts[NO_WORSE_BY]
        for model in view.models
        for own in model.rows
        if own.spec != FULL_PRECISION and NO_WORSE_BY in own.verdicts
    ]
    if not verdicts:
        return []
    words = Counter(one.word for one in verdicts)
    good, bad, open_ones = (words[word] for word in ("no worse", "worse", "cannot be told"))
    verb = "is" if good <= 1 else "are"
    parts = [f"{good or 'none'} of {len(verdicts)} cells {verb} shown to be no worse than full precision"]
    if bad:
        parts.append(f"{bad} {'is' if bad == 1 else 'are'} shown to be worse")
    if open_ones:
        parts.append(f"of {open_ones} it cannot be told{_would_tell(verdicts)}")
    return [f"With the margin {verdicts[0].margin}, {listed(parts)}"]


def _would_tell(verdicts: Sequence[Verdict]) -> str:
    needed = sorted({one.captions_needed for one in verdicts if one.captions_needed})
    if not needed:
        return ""
    least, most = f"{needed[0]:,}", f"{needed[-1]:,}"
    return f" ({f'about {least}' if least == most else f'{least} to {most}'} captions would tell)"


def _bits_said_once(view: BoardView, sentences: Sequence[str]) -> list[str]:
    """Return sentences in which the bits of a method stand where it is named first."""
    text = "\n".join(sentences)
    for spec in dict.fromkeys(own.spec for model in view.models for own in model.rows):
        named = _named(view, spec)
        first, found, rest = text.partition(named)
        text = first + found + rest.replace(named, spec)
    return text.split("\n")


def _left_out(view: BoardView) -> list[str]:
    """Say how many finished cells have no place in the order."""
    rows = [own for model in view.models for own in model.rows if own.record.status == "done"]
    count = sum(view.score in own.missing and own.spec != FULL_PRECISION for own in rows)
    return [f"{count} {'cell has' if count == 1 else 'cells have'} no place in the order (the table says why)"][:count]


def _named(view: BoardView, spec: str) -> str:
    """Name a method; where its weights have more bits than it says, with these."""
    found = [own.record for model in view.models for own in model.rows if own.spec == spec]
    sizes = [(bits_per_weight(record), record.method.bits) for record in found]
    real = [own for own, said in sizes if own and said and said.weight and own >= said.weight + 0.5]
    if not real:
        return spec
    low, high = f"{min(real):.2g}", f"{max(real):.2g}"
    return f"{spec} ({low if low == high else f'{low} to {high}'} bits a weight)"
