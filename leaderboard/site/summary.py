"""What the page says around its tables: the facts at the top, the meaning of scores, the settings of a cell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from admbench.leaderboard.boards import Board
from admbench.leaderboard.inference.across import Across
from admbench.leaderboard.record import Generation, Record
from admbench.leaderboard.site.definitions import Definition, against, definition
from admbench.leaderboard.site.numbers import count
from admbench.leaderboard.view import TO_REAL_AUDIO, BoardView

_MOST_COMMANDS = 5
MOST_ENTRIES, MOST_CHARACTERS = 60, 300
"""Of a section of a record that a page shows; the record has it whole."""
_SHOWN_PACKAGES = ("python", "torch", "diffusers", "transformers", "admbench")


@dataclass(frozen=True)
class Head:
    """The facts at the top of the page."""

    models: list[str]
    methods: list[str]
    done: int
    failed: int
    skipped: int
    suites: list[str]
    dates: str
    machines: list[str]
    packages: list[str]
    judges: list[str]
    sampling: list[str]
    commands: list[str]


def head(boards: Sequence[Board]) -> Head:
    """Summarize all boards."""
    records = [row.record for board in boards for row in board.rows]
    days = sorted(record.provenance.started[:10] for record in records if record.provenance)
    judges: dict[tuple[str, str], list[str]] = {}
    for board in boards:
        for key in board.metrics:
            if key in board.networks and not key.endswith("_vs_baseline"):
                judges.setdefault(board.networks[key], []).append(definition(key).label)
    environments = [record.environment for record in records if record.environment]
    return Head(
        models=sorted({record.model.name for record in records}),
        methods=sorted({record.method.spec for record in records}),
        done=sum(record.status == "done" for record in records),
        failed=sum(record.status == "failed" for record in records),
        skipped=sum(record.status == "skipped" for record in records),
        suites=[suite_label(board) for board in boards],
        dates=" to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
        machines=_unique(
            ", ".join(filter(None, (e.cpu, e.gpu, count(e.threads, "thread"), e.machine))) for e in environments
        ),
        packages=_unique(
            ", ".join(f"{name} {e.packages[name]}" for name in _SHOWN_PACKAGES if name in e.packages)
            for e in environments
        ),
        judges=[
            f"{name} ({sha256[:8]}) for {', '.join(dict.fromkeys(labels))}" for (name, sha256), labels in judges.items()
        ],
        sampling=_samplings(records),
        commands=_unique(record.provenance.command for record in records if record.provenance)[:_MOST_COMMANDS],
    )


def _samplings(records: Iterable[Record]) -> list[str]:
    """Each way in which audio was sampled; of several, with the models."""
    models: dict[str, dict[str, None]] = {}
    for record in records:
        if record.generation:
            models.setdefault(_sampled(record.generation), {})[record.model.name] = None
    return [f"{told} ({', '.join(own)})" if len(models) > 1 else told for told, own in models.items()]


def _sampled(how: Generation) -> str:
    scheduler = f"{how.sampler} ({how.scheduler})" if how.sampler else how.scheduler
    told = f"{scheduler}, {how.steps} steps, guidance {how.guidance:g}, seed {how.seed}, {how.dtype}"
    return f"{told}, {how.seconds:g} s at {how.sample_rate} Hz"


def suite_label(board: Board) -> str:
    """Suite, split, number of captions, hash: `foley (test), 48 captions, 1a2b3c4d`."""
    split = f" ({board.split})" if board.split else ""
    captions = f", {board.n} captions" if board.n else ""
    sha256 = f", {board.suite_sha256[:8]}" if board.suite_sha256 else ""
    return f"{board.suite}{split}{captions}{sha256}"


def across(view: BoardView) -> list[tuple[str, list[Across]]]:
    """(heading, methods) of what is held against something on several models."""
    found = (
        (f"By {definition(view.score).label}, against rounding at the same nominal bits", view.across),
        (f"By {definition(TO_REAL_AUDIO).label}, against full precision", view.across_full),
    )
    tables = [(heading, [one for one in rows if len(one.models) > 1]) for heading, rows in found]
    return [(heading, rows) for heading, rows in tables if rows]


def definitions(boards: Sequence[Board]) -> list[tuple[str, Definition, str, str, str]]:
    """(key, definition, order of arguments, better, network) per score that any board shows."""
    found: dict[str, tuple[str, Definition, str, str, str]] = {}
    for board in boards:
        for row in board.rows:
            for key, score in row.record.scores.items():
                if score.value is not None and key not in found:
                    better = "higher is better" if score.higher_is_better else "lower is better"
                    network = f"{score.backbone} ({(score.backbone_sha256 or '')[:8]})" if score.backbone else "none"
                    found[key] = (key, definition(key), against(score), better, network)
    return [found[key] for board in boards[:1] for key in board.metrics if key in found] + [
        value for key, value in found.items() if all(key not in board.metrics for board in boards[:1])
    ]


def settings(record: Record) -> list[tuple[str, Any]]:
    """Return the sections of a record as nested plain data; long lists are counted, they are in the record file."""
    dump = record.model_dump(mode="json")
    layers = dump["method"].pop("layers")
    if layers is not None:
        dump["method"]["layers"] = f"{len(layers)} (listed in the record)"
    for key in ("step_ms", "baseline_step_ms"):
        if dump["latency"] and dump["latency"].get(key):
            dump["latency"][key].pop("values")
    if dump["latency"]:
        dump["latency"].pop("roofline", None)  # the page draws it
    return [
        (name, bounded(_without_reasoned_nulls(value)))
        for name, value in dump.items()
        if isinstance(value, dict) and name != "scores"
    ]


def bounded(value: Any) -> Any:
    """Return plain data with at most MOST_ENTRIES entries a level and MOST_CHARACTERS a text, and how much is left out.

    Numbers have six digits.

    >>> bounded({"a": "x" * 310})["a"][-28:]
    'xxx… (310 characters in all)'
    """
    if isinstance(value, str):
        return (
            value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]}… ({len(value)} characters in all)"
        )
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        kept = {bounded(key): bounded(item) for key, item in list(value.items())[:MOST_ENTRIES]}
        return kept | ({"…": f"{len(value) - MOST_ENTRIES} more in the record"} if len(value) > MOST_ENTRIES else {})
    if isinstance(value, list):
        kept_items = [bounded(item) for item in value[:MOST_ENTRIES]]
        return kept_items + ([f"… ({len(value)} in all)"] if len(value) > MOST_ENTRIES else [])
    return value


def _without_reasoned_nulls(section: dict[str, Any]) -> dict[str, Any]:
    """A section that has a reason for what is missing, without what is missing."""
    return {key: value for key, value in section.items() if value is not None} if "reason" in section else section


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
