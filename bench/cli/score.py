"""`bench score`: two folders of audio in, a table and a JSON file out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from admbench.bench.cli import options
from admbench.bench.cli.tables import print_table
from admbench.errors import UsageError

Pairing = Literal["paired", "whole"]

_FAULTS = {"silent": "silent", "clipped": "clipped", "too_short": "too short"}


def score(
    generated: Annotated[Path, typer.Option(help="Folder of generated audio, or of a cell of a run.")],
    reference: Annotated[Path | None, typer.Option(help="Folder of real audio, for fd and kl.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Folder of the full-precision model's own audio, for scores against it.")
    ] = None,
    prompts: Annotated[str | None, typer.Option(help="Caption file (.csv, .jsonl, .txt) or suite, for clap.")] = None,
    encoding: options.FileEncoding = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Metrics, separated by commas; fd,kl,is,clap if left out, with --baseline zimtohrli too."),
    ] = None,
    tagger: options.Tagger = None,
    clap: options.Clap = None,
    aesthetics: options.Aesthetics = None,
    tagger_weights: options.TaggerWeights = None,
    clap_weights: options.ClapWeights = None,
    aesthetics_weights: options.AestheticsWeights = None,
    pairing: Annotated[
        Pairing, typer.Option(help="Compare clips of one name, or each set as a whole, whatever its clips are called.")
    ] = "paired",
    per_clip: Annotated[
        Path | None, typer.Option(help="Write every clip's own scores and faults to this .csv or .json file.")
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            help="Score as another tool does, under its names: audioldm_eval or av-benchmark. Reads --generated,"
            " --reference and, of the second, --prompts; --tagger takes the place of its CNN14."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores to this file.")] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Score a folder of audio.

    Clips of one name are compared, and those without a partner are left out and said; --pairing whole compares all of
    both folders. A score that cannot be computed is listed with its reason.
    """
    from admbench.bench.scoring.report import score_report
    from admbench.metrics import registry

    names = None if metrics is None else options.names_of("--metrics", metrics)
    captions = options.captions_of("--prompts", prompts, encoding)
    for name in names or ():
        registry.check(name)
    _check_files(json, per_clip)
    if convention is not None:
        _refuse_with_convention(
            {
                "--baseline": baseline,
                "--metrics": metrics,
                "--clap": clap,
                "--aesthetics": aesthetics,
                "--clap-weights": clap_weights,
                "--aesthetics-weights": aesthetics_weights,
                "--per-clip": per_clip,
                "--pairing": None if pairing == "paired" else pairing,
            }
        )
        return _by_convention(convention, generated, reference, captions, tagger, tagger_weights, json)
    judges = options.judge_spec(
        tagger=tagger,
        clap=clap,
        aesthetics=aesthetics,
        tagger_weights=tagger_weights,
        clap_weights=clap_weights,
        aesthetics_weights=aesthetics_weights,
    )
    report = score_report(
        generated, reference, baseline=baseline, prompts=captions, metrics=names, judges=judges, pairing=pairing
    )
    _say(report, quiet=quiet)
    _write(report, json, per_clip)
    return _code(report["scores"])


def _check_files(json: Path | None, per_clip: Path | None) -> None:
    from admbench.bench.cli.checks import check_writable_file
    from admbench.bench.scoring.per_clip_file import check_suffix

    for path in (json, per_clip):
        if path is not None:
            check_writable_file(path)
    if per_clip is not None:
        check_suffix(per_clip)


def _write(report: dict[str, Any], json: Path | None, per_clip: Path | None) -> None:
    """Write the clips' own scores to a file of their own, and all else."""
    from admbench.bench.scoring.per_clip_file import write_per_clip
    from admbench.files import write_json_atomic

    rows = report.pop("clips")
    if per_clip is not None:
        write_per_clip(per_clip, rows)
    if json is not None:
        write_json_atomic(json, report)


def _code(scores: dict[str, Any]) -> int:
    """Return the exit code; without any score it is an error, and says so."""
    if any(value["value"] is not None for value in scores.values()):
        return 0
    key, first = next(iter(scores.items()))
    print(f"error: no score has a value; {key}: {first['reason']}", file=sys.stderr)
    return 2


def _say(report: dict[str, Any], *, quiet: bool) -> None:
    """Print the scores; on standard error which clips were compared, what is wrong with some, and what it cost."""
    from admbench.bench.scoring.report import sets_in_words

    print_table(
        ("metric", "value", "95 % interval", "n", "against", "network", "note"),
        [_row(key, value) for key, value in report["scores"].items()],
    )
    for line in sets_in_words(report):
        print(line, file=sys.stderr)
    for whose, counts in report["audio"].items():
        faults = ", ".join(f"{count} {_FAULTS[name]}" for name, count in counts.items() if name in _FAULTS and count)
        if faults:
            print(f"warning: of {counts['clips']} {whose} clips: {faults}", file=sys.stderr)
    if not quiet:
        cost = report["cost"]
        share = cost["network_seconds"] / cost["seconds"]
        print(f"{cost['seconds']:.1f} s, of which {share:.0%} in the judges' networks", file=sys.stderr)


def _refuse_with_convention(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{name}: does not go with --convention, which says what is computed and how")


def _by_convention(
    name: str,
    generated: Path,
    reference: Path | None,
    captions: Any,
    tagger: str | None,
    weights: str | None,
    json: Path | None,
) -> int:
    """Print the numbers of another tool; exit code as of the command."""
    from admbench.bench.scoring.audio_folder import left_out_in_words
    from admbench.bench.scoring.conventional import convention_called, score_by_convention
    from admbench.files import write_json_atomic

    if reference is None:
        raise UsageError("--convention compares with real audio: name its folder by --reference")
    first, judge = convention_called(name).slots[0].judge, None
    if tagger or weights:
        judge, *more = options.judge_spec(tagger=tagger or first, tagger_weights=weights).of_role("tagger").values()
        if more:
            raise UsageError(f"--tagger {tagger}: expected one judge, in the place of the convention's {first}")
    report = score_by_convention(name, generated, reference, judge, captions)
    scores = report["scores"]
    header = ("metric", "value", "n", "against", "network", "note")
    rows = [_row(key, value) for key, value in scores.items()]
    print_table(header, [(row[0], row[1], *row[3:]) for row in rows])
    for line in left_out_in_words(report["files_left_out"]):
        print(line, file=sys.stderr)
    for what, why in report["cannot"].items():
        print(f"not here: {what}: {why}", file=sys.stderr)
    if json is not None:
        write_json_atomic(json, report)
    return _code(scores)


def _row(key: str, score: dict[str, Any]) -> tuple[str, ...]:
    value, interval = score["value"], score.get("ci95")
    return (
        key,
        "-" if value is None else f"{value:.4f}",
        "-" if interval is None else f"{interval[0]:.4f} .. {interval[1]:.4f}",
        _number(score),
        score.get("against") or "-",
        score.get("backbone") or "-",
        score.get("reason") or score.get("direction") or "-",
    )


def _number(score: dict[str, Any]) -> str:
    """Return how many clips a score is of: pairs, or the clips of both sets where these are whole."""
    if "against_n" in score:
        return f"{score['n']} / {score['against_n']}"
    return str(score.get("n") or "-")
