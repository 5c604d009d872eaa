"""`bench generate`: one clip from a model or from a packed checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import LARGEST_SEED, Debug, Device, Quiet, RandomWeights, Sampler, judge_spec
from admbench.errors import UsageError


def generate(
    prompt: Annotated[str, typer.Option(help="Caption of the audio.")],
    out: Annotated[Path, typer.Option(help="WAV file, 16-bit PCM.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Registry name of a full-precision model, or dir:PATH; beside --checkpoint: where its model is."
        ),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of a packed checkpoint.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the noise.")] = 0,
    sampler: Sampler = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="Classifier-free guidance scale.")] = None,
    candidates: Annotated[
        int, typer.Option(min=1, max=64, help="Clips to make, of which the nearest to the prompt by CLAP is kept.")
    ] = 1,
    clap: Annotated[str | None, typer.Option(help="The judge that chooses; default: the embedded one.")] = None,
    clap_weights: Annotated[str | None, typer.Option(help="Its weights, where it does not find them itself.")] = None,
    device: Device = "cpu",
    random_weights: RandomWeights = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Generate one clip from a prompt.

    From a full-precision model or a packed checkpoint; the same seed gives the same bytes.
    """
    from admbench.bench.cli.checks import check_writable_file
    from admbench.bench.models.checks import check_model, check_sampler_of
    from admbench.bench.suites.files import one_caption
    from admbench.files import write_bytes_atomic

    if model is None and checkpoint is None:
        raise UsageError("expected --model or --checkpoint")
    if checkpoint is not None and random_weights:
        raise UsageError("--random-weights: goes with --model; a checkpoint has weights of its own")
    if candidates == 1 and (clap or clap_weights):
        raise UsageError("--clap: chooses among --candidates; expected 2 or more of them")
    if not prompt.strip():
        raise UsageError("--prompt: expected some text, found none")
    prompt = one_caption("--prompt", prompt)
    if model is not None:
        check_model(model)
        check_sampler_of(model, sampler)
    check_writable_file(out)
    from admbench.bench import api
    from admbench.bench.scoring.clips import wav_bytes
    from admbench.bench.scoring.judges import check_judges

    judges = judge_spec(clap=clap, clap_weights=clap_weights)
    check_judges(judges)
    loaded = (
        api.load_model(str(model), random_weights=random_weights, device=device, sampler=sampler)
        if checkpoint is None
        else api.load_checkpoint(checkpoint, model=model, device=device, sampler=sampler)
    )
    if any(loaded.cut_captions([prompt]) or ()):
        print(f"warning: {loaded.name} reads the beginning of this prompt: it has too many tokens", file=sys.stderr)
    (waveform,) = api.generate(
        loaded, [prompt], [seed], steps=steps, guidance=guidance, batch_size=1, candidates=candidates, judges=judges
    )
    write_bytes_atomic(out, wav_bytes(waveform, loaded.sample_rate))
    print(f"{out}: {waveform.shape[-1] / loaded.sample_rate:.2f} s at {loaded.sample_rate} Hz")
