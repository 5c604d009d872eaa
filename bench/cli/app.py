"""The command `bench`: its subcommands, how errors are said, and exit codes. Imports nothing heavy."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import typer

from admbench.bench.cli import (
    cache,
    calibrate,
    check_plugin,
    choose,
    components,
    doctor,
    export,
    gate,
    generate,
    ladder,
    latency,
    leaderboard,
    list_plugins,
    listen,
    logs,
    merge,
    new_method,
    new_metric,
    new_model,
    prune,
    quantize,
    results,
    run,
    score,
    selftest,
    status,
    stress,
    table,
    validate,
    votes,
    zoo,
)
from admbench.bench.cli.lasting_streams import open_missing_streams
from admbench.errors import BenchError, CheckpointWarning
from admbench.plain_text import visible

DONE, SOME_CELL_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="bench",
    help="Benchmark and leaderboard for post-training quantization of text-conditional audio diffusion models.",
    epilog="Exit codes: 0 done; 1 some cell failed, or a gate; 2 bad usage or bad input; 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("list")(list_plugins.list_plugins)
app.command("calibrate")(calibrate.calibrate)
app.command("quantize")(quantize.quantize)
app.command("generate")(generate.generate)
app.command("export")(export.export)
app.command("score")(score.score)
app.command("latency")(latency.latency)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("prune")(prune.prune)
app.command("merge")(merge.merge)
app.command("table")(table.table)
app.command("votes")(votes.votes)
app.add_typer(listen.app, name="listen")
app.command("gate")(gate.gate)
app.command("choose")(choose.choose)
app.command("validate")(validate.validate)
app.add_typer(results.app, name="results")
app.command("ladder")(ladder.ladder)
app.command("stress")(stress.stress)
app.command("components")(components.components)
app.add_typer(zoo.app, name="zoo")
app.add_typer(cache.app, name="cache")
app.command("doctor")(doctor.doctor)
app.command("selftest")(selftest.selftest)
app.command("new-method")(new_method.new_method)
app.command("new-metric")(new_metric.new_metric)
app.command("new-model")(new_model.new_model)
app.command("check-plugin")(check_plugin.check_plugin)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; a mistake of the user's is one line on standard error.

    Args:
        arguments: without the program's name; None is `sys.argv[1:]`.
    """
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # their warnings are for developers; children inherit this
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        # a file's name that is no UTF-8 is escaped, and so are letters that the terminal's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = typer.main.get_command(app).main(args=arguments, prog_name="bench", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        sys.stdout = None
        return DONE
    except Exception as error:  # the door to the user: everything becomes one line here
        if "--debug" in arguments:
            traceback.print_exc()
        return _say(f"error: {_one_line(error)}", BAD_INPUT)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of ours as one line; a library's as Python does, with its place."""
    ours = f"warning: {visible(str(message))}\n" if issubclass(category, CheckpointWarning) else None
    print(ours or warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, (BenchError, typer.TyperException)):
        text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        text = f"{type(error).__name__}: {error} (not foreseen; --debug shows where)"
    return " ".join(visible(text).split())


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
