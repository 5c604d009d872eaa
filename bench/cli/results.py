"""`bench results`: a repository of results that checks itself, and what a model card says of a cell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.errors import UsageError

app = typer.Typer(help="Publish results: a repository that checks itself, model cards.", no_args_is_help=True)


class CardFormat(StrEnum):
    """Forms of evaluation results on the Hugging Face Hub."""

    EVAL_RESULTS = "eval-results"
    MODEL_INDEX = "model-index"


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    title: Annotated[
        str, typer.Option(help="Title of the page.")
    ] = "How much does quantization cost audio diffusion models?",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a results repository.

    Its layout, README, and workflows for GitHub: a pull request is validated, its clips are scored again, and the
    gate is said in a comment; what is merged is published as a page.
    """
    from admbench.bench.publishing.repository import init_repository

    written = init_repository(folder, title)
    if not quiet:
        for path in written:
            print(path)
        print(f"next: cd {folder} && git init && git lfs install; bench results add RUN {folder}")


@app.command("add")
def add(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    repository: Annotated[Path, typer.Argument(metavar="DIR", help="The results repository.")],
    name: Annotated[str | None, typer.Option(help="Of its folder there; the run folder's own if left out.")] = None,
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Whether the clips come along, so that others can score them.")
    ] = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Copy what is published of a run into a results repository: valid records, per-caption results and clips."""
    from admbench.bench.publishing.repository import add_run
    from admbench.files import directory_bytes

    target = add_run(run, repository, name, audio=audio)
    if not quiet:
        print(f"{target}: {directory_bytes(target) / 1e6:.1f} MB")


@app.command("card")
def card(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="A cell's folder, or its result.json.")],
    form: Annotated[CardFormat, typer.Option("--format", help="The Hub's current form, or that of the card.")] = (
        CardFormat.EVAL_RESULTS
    ),
    dataset: Annotated[str | None, typer.Option(help="OWNER/NAME of the benchmark on the Hub.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the dataset.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the results are, such as a board.")] = None,
    debug: Debug = False,
) -> None:
    """Print a cell's scores as the evaluation results of a model card."""
    from admbench.bench.publishing import model_card
    from admbench.leaderboard.reading import read_record
    from admbench.leaderboard.run_folder import RECORD_FILE

    record = read_record(cell / RECORD_FILE if cell.is_dir() else cell)
    if form is CardFormat.EVAL_RESULTS:
        if dataset is None:
            raise UsageError(
                "--dataset: expected OWNER/NAME of the benchmark on the Hub; --format model-index needs none"
            )
        print(model_card.eval_results(record, dataset, revision=revision, url=url), end="")
        return
    if dataset is not None or revision is not None:
        raise UsageError("--dataset and --revision are of no use with --format model-index: it names the suite")
    print(model_card.model_index(record, url=url), end="")
