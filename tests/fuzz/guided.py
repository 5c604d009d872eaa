"""The parsers under Atheris, guided by coverage: `python tests/fuzz/guided.py PARSER|all [--seconds 60]`.

What breaks one is kept in `regressions/bytes/PARSER/` and is a test from then on. Atheris takes a process for itself:
`all` starts one for each parser. Needs `pip install atheris`; `tox -e parsers` has it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> int:
    """Return 0 if no parser broke."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parser")
    options.add_argument("--seconds", type=int, default=60, help="of each parser")
    asked = options.parse_args()
    if asked.parser != "all":
        return _one(asked.parser, asked.seconds)
    from fuzz.parsers import PARSERS

    command = [sys.executable, __file__, "--seconds", str(asked.seconds)]
    broken = [name for name in PARSERS if subprocess.run([*command, name], check=False).returncode]
    print(f"{len(PARSERS)} parsers, {len(broken)} broke: {', '.join(broken) or 'none'}")
    return bool(broken)


def _one(name: str, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["admbench", "json", "csv", "yaml", "pydantic"]):
        from fuzz.parsers import KEPT, PARSERS, feed

    parser, kept = PARSERS[name], KEPT / name
    with tempfile.TemporaryDirectory() as place:
        corpus, folder = Path(place, "corpus"), Path(place, "read")
        corpus.mkdir()
        folder.mkdir()
        (corpus / "seed").write_bytes(parser.seed)
        kept.mkdir(parents=True, exist_ok=True)

        def one(data: bytes) -> None:
            feed(parser, data, folder)

        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096", "-max_len=4096"]
        atheris.Setup([name, *limits, f"-artifact_prefix={kept}/", str(corpus)], one)
        atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
