"""The tables of docs/results.md, made from the records of runs.

    python -m admbench.leaderboard.results_page PAGE NAME=RUN ...
    python -m admbench.leaderboard.results_page --short README.md default=runs/default
    python -m admbench.leaderboard.results_page --by-bits --picture PICTURE.svg docs/results_dit.md dit=runs/dit

Each run has a section of the page between two lines

    <!-- NAME: begin -->
    <!-- NAME: end -->

and everything between them is replaced: what the records are, what can be told of them, which methods are shown to be
nearer to full precision than rounding to nearest at the same bits, one table a model, and every such pair. The rest of
the page stays as it is. What is printed is what `bench table RUN --versus naive` prints, from the same engine. With
`--short` a section is the conclusion and one table of methods by models, with `--by-bits` one such table for each pair
of bits, and what is told from rounding; `--picture` draws the scores of the order.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from admbench.errors import BenchError, UsageError
from admbench.files import write_text_atomic
from admbench.leaderboard.comparison import compare_views
from admbench.leaderboard.comparison_text import code_span, markdown_table, to_markdown, versus_markdown
from admbench.leaderboard.reading import LoadedRecord, gather
from admbench.leaderboard.results_picture import distances_svg
from admbench.leaderboard.short_table import short_markdown
from admbench.leaderboard.versus import Statement, Word, versus
from admbench.leaderboard.view import view_boards

ROUNDING = "naive"
_WORDS: tuple[Word, ...] = ("better", "not told apart", "worse", "not compared")


def short_section(records: Sequence[LoadedRecord]) -> str:
    """Return the markdown of one run's section in short: what the records are, the conclusion, and one table."""
    shown = [short_markdown(one) for one in compare_views(view_boards(records))]
    return "\n\n".join([*shown, _made_from(records)])


def section(name: str, records: Sequence[LoadedRecord]) -> str:
    """Return the markdown of one run's section.

    Args:
        name: of the section, lower-case letters, digits and hyphens: its footnotes begin with it.
        records: of the run.
    """
    views = view_boards(records)
    statements = versus(views, ROUNDING)
    parts = [_made_from(records), to_markdown(compare_views(views), notes=f"{name}-")]
    for score in dict.fromkeys(one.score for one in statements):
        own = [one for one in statements if one.score == score]
        parts += [f"Against `{ROUNDING}` at the same bits, by {code_span(score)}:", against(own)]
        parts += [versus_markdown(ROUNDING, score, own)]
    return "\n\n".join(part.strip() for part in parts)


def section_by_bits(records: Sequence[LoadedRecord], by: str | None = None) -> str:
    """Return the markdown of one run's section with a table of methods by models for each pair of bits.

    Args:
        records: of the run.
        by: key of the score of the order; None is nearness to full precision.
    """
    views = view_boards(records, by)
    parts = [_made_from(records), *(short_markdown(one, by_bits=True) for one in compare_views(views))]
    statements = versus(views, ROUNDING)
    for score in dict.fromkeys(one.score for one in statements):
        own = [one for one in statements if one.score == score]
        parts += [f"Against `{ROUNDING}` at the same bits, by {code_span(score)}:", against(own)]
    return "\n\n".join(parts)


def against(statements: Iterable[Statement]) -> str:
    """Return a table that counts models: each method against the one that it is held against, by the four words."""
    models: dict[tuple[str, str], dict[Word, list[str]]] = {}
    for one in statements:
        models.setdefault((one.method, one.versus), {}).setdefault(one.word, []).append(one.model)
    rows = [
        (method, other, *(", ".join(map(code_span, found.get(word, ()))) or "-" for word in _WORDS))
        for (method, other), found in models.items()
    ]
    shown = [word for k, word in enumerate(_WORDS, start=2) if any(row[k] != "-" for row in rows)]
    keep = [0, 1, *(_WORDS.index(word) + 2 for word in shown)]
    return markdown_table(("method", "than", *shown), [[row[k] for k in keep] for row in rows], code=(0, 1))


def replaced(page: str, name: str, text: str) -> str:
    """Return a page with another text in one section.

    Raises:
        UsageError: the page has no such section, or has it twice.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise UsageError(f'the page has no section "{name}": expected one line {begin} and after it one line {end}')
    return f"{page[: page.index(begin)]}{begin}\n\n{text}\n\n{page[page.index(end) :]}"


def _made_from(records: Sequence[LoadedRecord]) -> str:
    """Say which records these are: how many, of which schema, of which commit."""
    schemas = sorted({one.record.schema_version for one in records})
    commits = sorted({commit for one in records if (commit := _commit(one))})
    done = sum(one.record.status == "done" for one in records)
    of = f", cells made by {' and '.join(map(code_span, commits))}" if commits else ""
    lost = f"; {len(records) - done} cells failed or were skipped" if done < len(records) else ""
    versions = " and ".join(map(str, schemas))
    return f"Made from {done} records (schema {versions}{of}) by `python -m admbench.leaderboard.results_page`{lost}."


def _commit(one: LoadedRecord) -> str | None:
    provenance = one.record.provenance
    return provenance.git.commit[:7] if provenance and provenance.git else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sections of a page; see the module. Exit code 2: one line says what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m admbench.leaderboard.results_page", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--short", action="store_true", help="the conclusion and one table of methods by models")
    parser.add_argument("--by-bits", action="store_true", help="one such table for each pair of bits")
    parser.add_argument("--by", metavar="SCORE", help="score of the order of these; nearness to full precision if none")
    parser.add_argument("--picture", type=Path, help="SVG of distances to full precision, of the first section's run")
    parser.add_argument("page", type=Path, help="markdown with a begin and an end line for each section")
    parser.add_argument("sections", nargs="+", metavar="NAME=RUN", help="section and the run folder it is made from")
    given = parser.parse_args(arguments)
    try:
        page = given.page.read_text(encoding="utf-8")
        for wanted in given.sections:
            name, equals, run = wanted.partition("=")
            if not equals or not re.fullmatch(r"[a-z0-9-]+", name):
                raise UsageError(f'"{wanted}": expected NAME=RUN, such as methods=runs/methods')
            found = gather([run])
            for one in found.quarantined:
                print(f"left out: {one}", file=sys.stderr)
            if given.by_bits:
                text = section_by_bits(found.records, given.by)
            else:
                text = short_section(found.records) if given.short else section(name, found.records)
            page = replaced(page, name, text)
            if given.picture is not None and wanted == given.sections[0]:
                comparison, *_ = compare_views(view_boards(found.records, given.by))
                write_text_atomic(given.picture, distances_svg(comparison))
    except (BenchError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_text_atomic(given.page, page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
