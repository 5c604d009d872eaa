"""`bench zoo train`: rebuilds every embedded checkpoint from seeds, in stages that resume and run side by side.

A stage is a function of the stages before it; what it makes lies in WORK/STAGE, and a stage that is done is not done
again. Stages run as child processes with one thread each, as many at once as there are cores: networks this small use
two cores better as two processes than as two threads of one; one stage alone has all of them. The last stage writes
the shipped files.

A model that joins those that are shipped is trained upon them, `--reuse`: see `admbench.bench.zoo.reuse`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admbench.bench.zoo import effort
from admbench.errors import BenchError, UsageError, nearest
from admbench.files import read_json, write_json_atomic

TRAIN_CLIPS, JUDGE_CLIPS, JUDGE_VALIDATION_CLIPS = 12_000, 8_000, 780


@dataclass(frozen=True)
class Stage:
    """One step of the rebuild; `run(work)` needs what the stages in `needs` left in `work`."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[Path], None]


def _corpus(work: Path) -> None:
    from admbench.bench.zoo.data import render_split

    for split, count in (
        ("metrics", JUDGE_CLIPS),
        ("metrics-validation", JUDGE_VALIDATION_CLIPS),
        ("train", TRAIN_CLIPS),
    ):
        render_split(work / "corpus", split, count)


def _tagger(work: Path) -> None:
    from admbench.bench.zoo.data import render_split
    from admbench.bench.zoo.judges import train_tagger

    corpus = work / "corpus"
    train_tagger(
        render_split(corpus, "metrics", JUDGE_CLIPS),
        render_split(corpus, "metrics-validation", JUDGE_VALIDATION_CLIPS),
        work / "tiny-tagger",
    )


def _clap(work: Path) -> None:
    from admbench.bench.zoo.data import render_split
    from admbench.bench.zoo.judges import train_clap

    corpus = work / "corpus"
    train_clap(
        render_split(corpus, "metrics", JUDGE_CLIPS),
        render_split(corpus, "metrics-validation", JUDGE_VALIDATION_CLIPS),
        work / "tiny-tagger",
        work / "tiny-clap",
    )


def _texts(work: Path) -> None:
    from admbench.bench.zoo.data import render_split
    from admbench.bench.zoo.texts import train_texts

    train_texts(render_split(work / "corpus", "train", TRAIN_CLIPS), work / "texts")


def _autoencoder(name: str) -> Callable[[Path], None]:
    def run(work: Path) -> None:
        from admbench.bench.zoo.architectures import BLUEPRINTS
        from admbench.bench.zoo.autoencoders import encode_split, train_autoencoder
        from admbench.bench.zoo.data import mel_pictures, render_split

        blueprint = next(plan for plan in BLUEPRINTS.values() if plan.vae == name)
        split = render_split(work / "corpus", "train", TRAIN_CLIPS)
        pictures = mel_pictures(work / "corpus", split, "train", blueprint.mel)
        vae = train_autoencoder(name, blueprint.latent_channels, pictures, work / name)
        encode_split(vae, pictures, work / name)

    return run


def _decoder(name: str) -> Callable[[Path], None]:
    def run(work: Path) -> None:
        import torch

        from admbench.bench.zoo.architectures import BLUEPRINTS, autoencoder
        from admbench.bench.zoo.autoencoders import load_latents
        from admbench.bench.zoo.data import mel_pictures, render_split
        from admbench.bench.zoo.decoders import train_perceptor, tune_decoder

        blueprint = next(plan for plan in BLUEPRINTS.values() if plan.decoder == name)
        split = render_split(work / "corpus", "train", TRAIN_CLIPS)
        pictures = mel_pictures(work / "corpus", split, "train", blueprint.mel)
        perceptor = train_perceptor(pictures, split.labels, work / name / "perceptor")
        vae = autoencoder(blueprint.latent_channels)
        vae.load_state_dict(torch.load(work / blueprint.vae / "weights.pt", weights_only=True))
        tune_decoder(name, vae, perceptor, load_latents(work / blueprint.vae), pictures, work / name)

    return run


def _vocoder(name: str) -> Callable[[Path], None]:
    def run(work: Path) -> None:
        from admbench.bench.zoo.architectures import BLUEPRINTS
        from admbench.bench.zoo.autoencoders import train_vocoder
        from admbench.bench.zoo.data import render_split

        blueprint = next(plan for plan in BLUEPRINTS.values() if plan.vocoder == name)
        train_vocoder(name, blueprint.mel, render_split(work / "corpus", "train", TRAIN_CLIPS), work / name)

    return run


def _backbone(name: str) -> Callable[[Path], None]:
    def run(work: Path) -> None:
        import torch

        from admbench.bench.zoo.architectures import BLUEPRINTS
        from admbench.bench.zoo.autoencoders import load_latents
        from admbench.bench.zoo.backbones import encode_captions, train_backbone
        from admbench.bench.zoo.data import render_split
        from admbench.bench.zoo.texts import Towers

        blueprint = BLUEPRINTS[name]
        split = render_split(work / "corpus", "train", TRAIN_CLIPS)
        towers = Towers().eval()
        towers.load_state_dict(torch.load(work / "texts" / "weights.pt", weights_only=True))
        conditions = encode_captions(blueprint, towers, [spec.caption for spec in split.specs])
        train_backbone(blueprint, load_latents(work / blueprint.vae), conditions, split, work / name)

    return run


def _pairs(shard: int) -> Callable[[Path], None]:
    def run(work: Path) -> None:
        from admbench.bench.zoo.flows import PAIRS, make_pairs

        teacher, network, conditions = _flow_teacher(work)
        make_pairs(teacher, network, conditions, work / f"pairs-{shard}", shard=shard, count=_rows_of_teacher(PAIRS))

    return run


def _flow(work: Path) -> None:
    from admbench.bench.zoo.flows import SHARDS, Pairs, train_flow

    teacher, network, conditions = _flow_teacher(work)
    pairs = Pairs.load([work / f"pairs-{shard}" for shard in range(SHARDS)])
    train_flow(teacher, network, conditions, pairs, work / "tiny-flow")


def _transformer(work: Path) -> None:
    from admbench.bench.zoo.autoencoders import load_latents
    from admbench.bench.zoo.data import render_split
    from admbench.bench.zoo.texts import load_encoder
    from admbench.bench.zoo.transformers import NAME, encode_words, train_transformer

    split = render_split(work / "corpus", "train", TRAIN_CLIPS)
    words = encode_words(load_encoder("t5", work / "texts"), [spec.caption for spec in split.specs])
    train_transformer(load_latents(work / "vae-64"), words, work / NAME)


def _ways(shard: int) -> Callable[[Path], None]:
    def run(work: Path) -> None:
        from admbench.bench.zoo.students import WAYS, make_ways

        teacher, words = _student_teacher(work)
        make_ways(teacher, words, work / f"ways-{shard}", shard=shard, count=_rows_of_teacher(WAYS))

    return run


def _student(work: Path) -> None:
    from admbench.bench.zoo.flows import SHARDS
    from admbench.bench.zoo.students import NAME, Ways, train_student

    teacher, words = _student_teacher(work)
    train_student(teacher, Ways.load([work / f"ways-{shard}" for shard in range(SHARDS)]), words, work / NAME)


def _student_teacher(work: Path) -> tuple[Any, Any]:
    """tiny-pingpong's teacher as it ships, rounded to float16, and the captions of its ways."""
    from admbench.bench.suites.corpus.corpus import draw_clip
    from admbench.bench.zoo.export import as_shipped
    from admbench.bench.zoo.students import TEACHER, WAYS
    from admbench.bench.zoo.texts import load_encoder
    from admbench.bench.zoo.transformers import Denoiser, encode_words

    captions = [draw_clip("train", index).caption for index in range(_rows_of_teacher(WAYS))]
    return as_shipped(Denoiser(), work / TEACHER), encode_words(load_encoder("t5", work / "texts"), captions)


def _rows_of_teacher(count: int) -> int:
    """How much a teacher makes in all shards; each shard has at least one chunk of it."""
    from admbench.bench.zoo.effort import scaled
    from admbench.bench.zoo.flows import CHUNK, SHARDS

    return scaled(count, SHARDS * CHUNK)


def _flow_teacher(work: Path) -> tuple[Any, Any, Any]:
    """Blueprint and backbone of tiny-flow's teacher as they ship, rounded to float16, and the pairs' conditions."""
    from admbench.bench.suites.corpus.corpus import draw_clip
    from admbench.bench.zoo.architectures import BLUEPRINTS, backbone
    from admbench.bench.zoo.backbones import encode_captions
    from admbench.bench.zoo.export import as_shipped
    from admbench.bench.zoo.flows import PAIRS
    from admbench.bench.zoo.texts import Towers

    teacher = BLUEPRINTS[BLUEPRINTS["tiny-flow"].teacher or ""]
    network, towers = as_shipped(backbone(teacher), work / teacher.name), as_shipped(Towers(), work / "texts")
    captions = [draw_clip("train", index).caption for index in range(_rows_of_teacher(PAIRS))]
    return teacher, network, encode_captions(teacher, towers, captions)


def _export(work: Path) -> None:
    from admbench.bench.zoo.export import export

    export(work)


def stages() -> dict[str, Stage]:
    """All stages in an order in which they can run one after the other."""
    plan = [
        Stage("corpus", (), _corpus),
        Stage("vae-64", ("corpus",), _autoencoder("vae-64")),
        Stage("texts", ("corpus",), _texts),
        Stage("tiny-tagger", ("corpus",), _tagger),
        Stage("vae-80", ("corpus",), _autoencoder("vae-80")),
        Stage("tiny-audioldm", ("vae-64", "texts"), _backbone("tiny-audioldm")),
        Stage("tiny-make-an-audio", ("vae-80", "texts"), _backbone("tiny-make-an-audio")),
        Stage("tiny-tango", ("vae-64", "texts"), _backbone("tiny-tango")),
        Stage("pairs-0", ("tiny-tango", "texts"), _pairs(0)),
        Stage("pairs-1", ("tiny-tango", "texts"), _pairs(1)),
        Stage("tiny-clap", ("corpus", "tiny-tagger"), _clap),
        Stage("decoder-64", ("vae-64",), _decoder("decoder-64")),
        Stage("decoder-80", ("vae-80",), _decoder("decoder-80")),
        Stage("tiny-flow", ("pairs-0", "pairs-1", "tiny-tango", "texts"), _flow),
        Stage("tiny-dit", ("vae-64", "texts"), _transformer),
        Stage("ways-0", ("tiny-dit", "texts"), _ways(0)),
        Stage("ways-1", ("tiny-dit", "texts"), _ways(1)),
        Stage("tiny-pingpong", ("ways-0", "ways-1", "tiny-dit", "texts"), _student),
        Stage("vocoder-64", ("corpus",), _vocoder("vocoder-64")),
        Stage("vocoder-80", ("corpus",), _vocoder("vocoder-80")),
    ]
    plan.append(Stage("export", tuple(stage.name for stage in plan), _export))
    return {stage.name: stage for stage in plan}


def is_done(work: Path, name: str) -> bool:
    """Whether a stage has finished in this work folder."""
    return (work / name / "done.json").exists()


def run_stage(work: Path, name: str) -> None:
    """Runs one stage in this process and notes that it is done."""
    started = time.monotonic()
    stages()[name].run(work)
    write_json_atomic(work / name / "done.json", {"seconds": round(time.monotonic() - started, 1)})


def train(
    only: list[str] | None = None,
    work: Path = Path("runs/zoo"),
    *,
    jobs: int | None = None,
    fresh: bool = False,
    install: bool = False,
    reuse: bool = False,
    scale: float = 1.0,
) -> None:
    """Runs the stages that are not done yet, `jobs` at once (default: the number of cores).

    Args:
        only: names of stages; what they need must be done. None is all.
        work: folder of the stages.
        jobs: stages side by side, each with one thread; where there are fewer stages, they have so many in all.
        fresh: forget what these stages left.
        install: at the end, put the exported files in the place of the package's own.
        reuse: train tiny-dit or tiny-pingpong on what the package ships, and export it alone.
        scale: share of the steps and clips, to try the chain itself; what comes of less than 1 is of no other use.

    Raises:
        UsageError: an unknown stage, one whose need is not done, a folder that was begun at another scale, or `reuse`
            for other stages than those of one of these two.
        BenchError: a stage failed; names its log.
    """
    plan = stages()
    for name in only or ():
        if name not in plan:
            raise UsageError(f"unknown stage {name!r}: expected one of {', '.join(plan)}{nearest(name, plan)}")
    asked = [name for name in plan if only is None or name in only]
    if fresh:
        for name in asked:
            shutil.rmtree(work / name, ignore_errors=True)
    _check_scale(work, scale, install)
    if reuse:
        _reuse(work, asked, scale)
    wanted = [name for name in asked if not is_done(work, name)]
    for name in wanted:
        for need in plan[name].needs:
            if not is_done(work, need) and need not in wanted:
                raise UsageError(f"stage {name} needs stage {need}, which is not done in {work}")
    _run_all(plan, wanted, work, jobs or os.cpu_count() or 1, scale)
    if reuse:
        from admbench.bench.zoo.export import export_alone

        export_alone(work, asked[-1])
    if install:
        from admbench.bench.zoo.export import install as install_files

        install_files(work)


def _reuse(work: Path, asked: list[str], scale: float) -> None:
    """Fill the stages that a model needs, and which are not asked for, from the package's own files."""
    from admbench.bench.zoo.reuse import REUSED, reuse

    if asked not in (own := [list(stages) for stages in REUSED]):
        expected = " or ".join(",".join(stages) for stages in own)
        raise UsageError(f"--reuse with stages {', '.join(asked)}: expected {expected}")
    os.environ[effort.VARIABLE] = str(scale)
    reuse(work, REUSED[tuple(asked)], TRAIN_CLIPS)


def _check_scale(work: Path, scale: float, install: bool) -> None:
    """Note the scale of a work folder; raise UsageError for one that was begun at another."""
    if not 0 < scale <= 1 or (install and scale != 1):
        raise UsageError(f"scale {scale:g}: expected more than 0 and at most 1, and 1 to install")
    note = work / "scale.json"
    begun = read_json(note)["scale"] if note.exists() else scale
    if begun != scale:
        raise UsageError(f"{work} was begun at scale {begun:g}; expected the same, or another folder")
    write_json_atomic(note, {"scale": scale})


def _run_all(plan: dict[str, Stage], wanted: list[str], work: Path, jobs: int, scale: float) -> None:
    """Starts each stage in a child process as soon as its needs are done and a place is free."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    threads = max(1, jobs // max(1, len(wanted)))
    try:
        while wanted or running:
            for name in list(wanted):
                if len(running) < jobs and all(is_done(work, n) for n in plan[name].needs):
                    wanted.remove(name)
                    running[name] = _start(work, name, scale, threads)
            time.sleep(0.5)
            for name, process in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[name]
                if code != 0:
                    log = work / name / "log.txt"
                    tail = log.read_text(errors="replace").strip().splitlines()[-1:]
                    raise BenchError(f"stage {name} failed with exit code {code}: {' '.join(tail)} (see {log})")
                print(f"{name}: done in {read_json(work / name / 'done.json')['seconds']:.0f} s", flush=True)
    finally:
        for process in running.values():
            process.terminate()


def _start(work: Path, name: str, scale: float, threads: int) -> subprocess.Popen[bytes]:
    (work / name).mkdir(parents=True, exist_ok=True)
    settings = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), effort.VARIABLE: str(scale)}
    print(f"{name}: started", flush=True)
    with open(work / name / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "admbench.bench.zoo.train", str(work), name], stderr=log, env=os.environ | settings
        )


if __name__ == "__main__":
    run_stage(Path(sys.argv[1]), sys.argv[2])
