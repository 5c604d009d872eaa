"""The listening page's material: clips and spectrograms of a few captions, written into the site."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from admbench.errors import DataError
from admbench.files import slug
from admbench.leaderboard.boards import Board, Row
from admbench.leaderboard.clips import Clip, Sound, read_clips, read_sound, write_sound
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.run_folder import BASELINES, CAPTIONS_FILE, REFERENCE
from admbench.leaderboard.site.spectrogram import mel_decibels, mel_height, write_spectrogram
from admbench.progress import track

_FREQUENCIES = (500, 1000, 2000, 4000, 8000, 16000)  # Hz, labelled on the frequency axis


@dataclass(frozen=True)
class Card:
    """One clip: what it is, and its files relative to the site; without files, why."""

    label: str
    kind: str  # reference | baseline | method
    audio: str | None
    spectrogram: str | None
    seconds: float
    axis: tuple[tuple[float, str], ...]  # frequency labels: share of the height from the bottom, text
    missing: str | None = None


@dataclass(frozen=True)
class CaptionCards:
    """A caption with the reference, the baseline and each method."""

    id: str
    text: str
    seed: int | None
    cards: list[Card]


@dataclass(frozen=True)
class ListeningGroup:
    """What one entry of the selector shows."""

    key: str
    label: str
    captions: list[CaptionCards]


@dataclass(frozen=True)
class _Source:
    """Where the clips of a card come from."""

    label: str
    kind: str
    run: Path
    folder: Path
    slug: str
    group: str | None  # None: shared by all groups
    without: str  # why a clip may be missing


def write_listening(boards: Sequence[Board], site: Path, max_captions: int) -> list[ListeningGroup]:
    """Write audio/ and spectrograms/ below `site` and return what the page shows, one entry per group that has audio.

    Captions are taken at even steps through the suite, so that the strata of a suite in order are all met. Per caption,
    all spectrograms of a board share one colour scale.

    A clip that is not valid is named on its card.
    """
    groups: list[ListeningGroup] = []
    for number, board in enumerate(boards):
        sources = list(_sources(board))
        clips = _evenly(_captions(sources), max_captions)
        shown: dict[str, list[CaptionCards]] = {group: [] for group in board.groups}
        for clip in track(clips, "Listening page"):
            cards = _write_caption(sources, clip, site, f"board{number + 1}")
            for group, captions in shown.items():
                own = [card for source, card in zip(sources, cards, strict=True) if source.group in (None, group)]
                captions.append(CaptionCards(clip.id, clip.caption, clip.seed, own))
        suffix = f" ({board.suite}, {board.n} captions)" if len(boards) > 1 else ""
        groups.extend(
            ListeningGroup(f"{slug(group)}-{number + 1}", group + suffix, captions)
            for group, captions in shown.items()
            if any(card.audio and card.kind != "reference" for caption in captions for card in caption.cards)
        )
    return groups


def _sources(board: Board) -> Iterator[_Source]:
    """Reference folders, then per group its baseline, then its methods in the order of the board."""
    yield from _reference_source(board)
    for group in board.groups:
        rows = [row for row in board.rows if row.group == group]
        if all(row.record.method.name != FULL_PRECISION for row in rows):
            yield from _baseline_source(rows[0])
        for row in sorted(rows, key=lambda row: row.record.method.name != FULL_PRECISION):
            yield _row_source(row)


def _reference_source(board: Board) -> Iterator[_Source]:
    """The first reference folder of the board's runs that has a caption of the board's cells under the same id."""
    for row in board.rows:
        run = row.loaded.run
        own = {(clip.id, clip.caption) for clip in _clips(run, row.loaded.cell)}
        for folder in sorted((run / REFERENCE).glob("*/")):
            if any((clip.id, clip.caption) in own for clip in _clips(run, folder)):
                yield _Source("reference", "reference", run, folder, "reference", None, "no recording for this caption")
                return


def _baseline_source(row: Row) -> Iterator[_Source]:
    """The model's full-precision audio where the grid has no cell of it."""
    folder = row.loaded.run / BASELINES / slug(row.record.model.name)
    if (folder / CAPTIONS_FILE).exists():
        yield _Source(
            FULL_PRECISION, "baseline", row.loaded.run, folder, "baseline", row.group, "no audio in the run folder"
        )


def _row_source(row: Row) -> _Source:
    spec, status = row.name, row.record.status
    kind = "baseline" if row.record.method.name == FULL_PRECISION else "method"
    without = f"{status}: {row.record.reason}" if status != "done" else "no audio in the run folder"
    return _Source(spec, kind, row.loaded.run, row.loaded.cell, slug(spec), row.group, without)


def _captions(sources: Sequence[_Source]) -> list[Clip]:
    """Captions for which something was generated, in suite order, each once."""
    found: dict[str, Clip] = {}
    for source in sources:
        if source.kind != "reference":
            for clip in _clips(source.run, source.folder):
                found.setdefault(clip.id, clip)
    return list(found.values())


def _evenly(clips: Sequence[Clip], count: int) -> list[Clip]:
    if len(clips) <= count:
        return list(clips)
    return [clips[int((index + 0.5) * len(clips) / count)] for index in range(count)]


def _write_caption(sources: Sequence[_Source], clip: Clip, site: Path, board: str) -> list[Card]:
    """Write the clips and spectrograms of one caption; one card per source."""
    heard = [_sound(source, clip) for source in sources]
    sounds = [sound for sound, _ in heard]
    spectrograms = [mel_decibels(sound) if sound else None for sound in sounds]
    loudest = max((float(np.max(spectrogram)) for spectrogram in spectrograms if spectrogram is not None), default=0.0)
    cards = []
    for source, (sound, without), spectrogram in zip(sources, heard, spectrograms, strict=True):
        if sound is None or spectrogram is None:
            cards.append(Card(source.label, source.kind, None, None, 0.0, (), without))
            continue
        place = Path(board, slug(source.group) if source.group else "real", source.slug, slug(clip.id))
        audio, image = Path("audio", place).with_name(place.name + ".wav"), Path("spectrograms", f"{place}.png")
        for path in (audio, image):
            (site / path).parent.mkdir(parents=True, exist_ok=True)
        write_sound(site / audio, sound)
        write_spectrogram(site / image, spectrogram, loudest)
        cards.append(Card(source.label, source.kind, audio.as_posix(), image.as_posix(), sound.seconds, _axis(sound)))
    return cards


def _sound(source: _Source, clip: Clip) -> tuple[Sound | None, str]:
    """Return a clip, or why there is none: one that is no audio costs itself alone."""
    try:
        return read_sound(source.run, source.folder, clip), source.without
    except DataError as error:
        return None, " ".join(str(error).removeprefix(f"{source.folder}/").split())


def _clips(run: Path, folder: Path) -> list[Clip]:
    """Return the clips of a folder beside the cells; none where its list is not valid."""
    try:
        return read_clips(run, folder)
    except DataError:
        return []


def _axis(sound: Sound) -> tuple[tuple[float, str], ...]:
    """Labels of the frequency axis in kHz."""
    shown = [frequency for frequency in _FREQUENCIES if frequency <= sound.rate / 2]
    return tuple((mel_height(frequency, sound.rate), f"{frequency / 1000:g}") for frequency in shown)
