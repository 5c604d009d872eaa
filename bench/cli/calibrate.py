"""`bench calibrate`: which prompts a calibration is drawn on, and what these cover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import LARGEST_SEED, Debug, FileEncoding, Quiet, captions_of
from admbench.bench.cli.tables import print_table


def calibrate(
    model: Annotated[str, typer.Option(help="Registry name of the model, or dir:PATH; its text encoder is used.")],
    calibration: Annotated[
        str, typer.Option(help="Value of a method's option `calibration`, such as coverage-prompt or mixup-prompt.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for prompts.csv, coverage.json and coverage.png.")],
    prompts: Annotated[
        str | None, typer.Option(help="Caption file, or suite, to start from; the embedded corpus's if left out.")
    ] = None,
    encoding: FileEncoding = None,
    count: Annotated[int, typer.Option(min=1, help="Calibration prompts.")] = 16,
    against: Annotated[
        str | None, typer.Option(help="Caption file, or suite: how close the prompts are to its captions, too.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the choice.")] = 0,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="The model's architecture with random weights; needs no files.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Choose calibration prompts and show what they cover.

    Prints the shares of the coverage space's values and pairs of values that the prompts state, and how close they are
    to the candidates in the model's text embedding, before and after the choice. No trajectory is run.
    """
    from admbench.bench.cli.checks import check_writable_folder
    from admbench.bench.models.checks import check_model
    from admbench.bench.studies.prompt_report import NUMBERS_FILE, PLOT_FILE, write_study
    from admbench.bench.studies.prompts import study_prompts
    from admbench.bench.suites import calibration_prompts, load_suite
    from admbench.methods.core.calibration.samplers.recipe import parse_calibration

    check_model(model)
    parse_calibration(calibration)
    check_writable_folder(out, holds=[NUMBERS_FILE])
    given = captions_of("--prompts", prompts, encoding)
    own = calibration_prompts(count) if given is None else [item.caption for item in load_suite(given).items]
    others = None if against is None else [item.caption for item in load_suite(against).items]
    from admbench.bench.models import load_model

    loaded = load_model(model, random_weights=random_weights)
    study = study_prompts(loaded, own, calibration, count=count, seed=seed, against=others)
    write_study(study, out)
    before, after = study.before, study.after
    rows = [
        ("prompts", str(before.coverage.n), str(after.coverage.n)),
        ("values", f"{before.coverage.values:.3f}", f"{after.coverage.values:.3f}"),
        ("pairs", f"{before.coverage.pairs:.3f}", f"{after.coverage.pairs:.3f}"),
        ("text", f"{before.coverage.text:.3f}", f"{after.coverage.text:.3f}"),
    ]
    if before.against is not None and after.against is not None:
        rows.append((f"text of {against}", f"{before.against.text:.3f}", f"{after.against.text:.3f}"))
    rows.append(("known words", f"{before.coverage.known_words:.3f}", f"{after.coverage.known_words:.3f}"))
    rows += [
        (f"values of {aspect}", f"{share:.2f}", f"{after.coverage.aspects[aspect]:.2f}")
        for aspect, share in before.coverage.aspects.items()
    ]
    print_table(("coverage", "before", "after"), rows)
    print(out / PLOT_FILE)
