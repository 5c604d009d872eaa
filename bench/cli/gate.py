"""`bench gate`: may these cells, or these clips, be used? Exit code 0 only if all are shown to be no worse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admbench.bench.cli import options
from admbench.bench.cli.tables import print_table
from admbench.errors import UsageError

if TYPE_CHECKING:
    from admbench.leaderboard.gate import Gate


def gate(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUNS...", help="Run folders, or result.json files.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="What cells are held against, fp32 by default; with --generated, a folder."),
    ] = None,
    margins: Annotated[
        list[str] | None,
        typer.Option("--max", help="Largest loss that counts as none: fd=+5%, clap=-0.01; repeatable."),
    ] = None,
    allow_undecided: Annotated[
        bool | None,
        typer.Option(
            "--allow-undecided/--no-allow-undecided", help="Let pass what cannot be told; a failed cell does not."
        ),
    ] = None,
    generated: Annotated[Path | None, typer.Option(help="Folder of clips, held against the folder --baseline.")] = None,
    reference: Annotated[Path | None, typer.Option(help="With --generated: folder of real audio.")] = None,
    prompts: Annotated[str | None, typer.Option(help="With --generated: caption file or suite, for clap.")] = None,
    encoding: options.FileEncoding = None,
    tagger: options.Tagger = None,
    clap: options.Clap = None,
    aesthetics: options.Aesthetics = None,
    tagger_weights: options.TaggerWeights = None,
    clap_weights: options.ClapWeights = None,
    aesthetics_weights: options.AestheticsWeights = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as for a pull request.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Say which cells are no worse than full precision, by margins that you name.

    A line per cell: no worse, worse, or cannot be told, then with the captions that would tell. Exit code 0 if all are
    no worse, 1 if not, 2 for bad usage or input. Without --max the margins are those of the run's grid ([gate]), or
    fd=+5%. With --generated a folder of clips is held against another.
    """
    from admbench.bench.cli.checks import check_writable_file

    for path in (junit, json):
        if path is not None:
            check_writable_file(path)
    chosen = {
        "tagger": tagger,
        "clap": clap,
        "aesthetics": aesthetics,
        "tagger_weights": tagger_weights,
        "clap_weights": clap_weights,
        "aesthetics_weights": aesthetics_weights,
    }
    if generated is None:
        _refuse("--generated", reference=reference, prompts=prompts, encoding=encoding, **chosen)
        found = _of_records(runs or [], margins, baseline, allow_undecided=allow_undecided)
    else:
        from admbench.bench.scoring.folder_gate import gate_folders

        if runs:
            raise UsageError(f"{runs[0]}: runs and --generated are two gates; expected one of them")
        if baseline is None:
            raise UsageError("--generated needs --baseline: the folder of clips to hold it against")
        found = gate_folders(
            generated,
            baseline,
            reference,
            prompts=options.captions_of("--prompts", prompts, encoding),
            margins=margins,
            judges=options.judge_spec(**chosen),
            allow_undecided=bool(allow_undecided),
        )
    _say(found, junit, json, markdown=markdown, quiet=quiet)
    return 0 if found.passed else 1


def _of_records(
    runs: list[Path], margins: list[str] | None, baseline: str | None, *, allow_undecided: bool | None
) -> Gate:
    from admbench.bench.run.asked import gate_of
    from admbench.leaderboard.gate import DEFAULT, gate
    from admbench.leaderboard.reading import read_runs
    from admbench.leaderboard.record import FULL_PRECISION

    if not runs:
        raise UsageError("nothing to judge: expected run folders, or --generated and --baseline")
    asked = None if margins and allow_undecided is not None else gate_of(runs)
    if allow_undecided is None:
        allow_undecided = asked is not None and asked.allow_undecided
    return gate(
        read_runs(runs),  # strictly: a record that was left out would be a cell that nobody judged
        margins or (asked.max if asked else DEFAULT),
        baseline=baseline or FULL_PRECISION,
        allow_undecided=allow_undecided,
    )


def _refuse(without: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} is of no use without {without}")


def _say(found: Gate, junit: Path | None, json: Path | None, *, markdown: bool, quiet: bool) -> None:
    from admbench.files import write_json_atomic, write_text_atomic
    from admbench.leaderboard import gate_text

    if junit is not None:
        write_text_atomic(junit, gate_text.to_junit(found))
    if json is not None:
        write_json_atomic(json, gate_text.to_json(found))
    if markdown:
        sys.stdout.write(gate_text.to_markdown(found))
        return
    print_table(gate_text.HEADER, gate_text.rows(found))
    for caution in found.cautions:
        print(f"warning: {caution}", file=sys.stderr)
    if not quiet:
        print(f"gate {gate_text.summary(found)}", file=sys.stderr)
