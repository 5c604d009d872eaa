"""The model card, written from what `bench zoo check` measured and what the training stages noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from admcore.files import write_text_atomic
from bench.zoo.corpus import EVENTS, FAMILIES

_HEAD = """# The embedded zoo: model card

Written by `bench zoo check --card`; every number below was measured by that command or noted by `bench zoo train`.

## What it is

Small text-to-audio diffusion models with the true conditioning routes and classes of AudioLDM, TANGO and
Make-An-Audio, and two small judges, all trained from seeds on a procedural corpus of {events} sound events. They exist
so that a quantization method can be tried, scored and ranked in minutes on a machine without a GPU or a model hub.

## Data

Clips of 2.56 s at 16 kHz from `bench/zoo/events.py`, captioned by `bench/zoo/captions.py`; 60 % hold one event, 25 % two
at once, 15 % two in a row. The ADMs, their autoencoders, text encoders and vocoders saw the "train" split; the judges the
"metrics" split; all figures are on the "test" split. The splits have disjoint seed streams. No recorded audio was used.

## Limits

- They know {events} synthetic events and nothing else: no speech that means anything, no music that goes anywhere.
- Captions outside the closed vocabulary become unknown words.
- A ranking of methods on these models is evidence about methods at this size, not about the published checkpoints.
- The judges know the same events; their scores do not compare with PANNs or LAION-CLAP numbers.
"""


def write_card(report: dict[str, Any], path: Path) -> None:
    """Writes the card of a report of `bench.zoo.check.check`."""
    parts = [_HEAD.format(events=len(EVENTS)), _figures(report), _judges(report["judges"])]
    parts += [_model(name, details) for name, details in report["models"].items()]
    write_text_atomic(path, "\n".join(parts))


def _figures(report: dict[str, Any]) -> str:
    machine = report["machine"]
    rows = [
        f"| {figure['name']} | {figure['value']:.4g} | {figure['required']} | {'yes' if figure['holds'] else '**no**'} |"
        for figure in report["figures"]
    ]
    where = f"Measured in {report['seconds']:.0f} s on {machine['cores']} cores of {machine['processor']}."
    return "\n".join(
        ["## Figures", "", where, "", "| figure | value | required | holds |", "|---|---|---|---|", *rows, ""]
    )


def _judges(judges: dict[str, Any]) -> str:
    tagger, clap = judges["tagger"], judges["clap"]
    worst = sorted(tagger["average_precision"].items(), key=lambda item: item[1])[:5]
    return "\n".join(
        [
            "## Judges",
            "",
            f"`tiny-tagger`: macro-mAP {tagger['macro_map']:.4f} over all test clips, top-1 {tagger['top1_single']:.4f} on"
            f" single events; least certain of {', '.join(f'{name} ({value:.3f})' for name, value in worst)}.",
            "",
            f"`tiny-clap`: cosine of matching captions {clap['matching']:.3f}, of shuffled ones {clap['shuffled']:.3f}. Its"
            " audio tower starts from the tagger's convolutions.",
            "",
        ]
    )


def _model(name: str, details: dict[str, Any]) -> str:
    facts = details["facts"]
    sizes = ", ".join(f"{part} {count:,}" for part, count in details["parameters"].items())
    trials = "; ".join(
        f"{trial['decoder']}: top-1 {trial['top1']:.3f}, spectral distance {trial['spectral_distance']:.3f}"
        for trial in facts["decoder_trials"]
    )
    lines = [
        f"## {name}",
        "",
        f"Parameters: {sizes}. Latents {tuple(facts['latent_shape'])}.",
        "",
        f"From picture to audio: **{facts['decoder']}** ({trials}; on autoencoded real clips).",
        "",
        f"FD {details['fd']:.2f} against {details['fd_random_weights']:.2f} with random weights ({details['fd_clips']} clips).",
        "",
        "Training:",
        "",
        "| stage | steps | seconds | loss, first to last |",
        "|---|---|---|---|",
    ]
    for stage, notes in facts["training"].items():
        losses = ", ".join(f"{row['loss']:.3f}" for row in notes["curve"])
        lines.append(f"| {stage} | {notes['steps']} | {notes['seconds']:.0f} | {losses} |")
    lines += [
        "",
        f"Events, of {details['clips']} clips (what the tagger heard instead, where it was not the caption's):",
        "",
    ]
    lines += ["| event | family | right | heard instead |", "|---|---|---|---|"]
    for row, event in enumerate(EVENTS):
        counts = details["confusion"][row]
        wrong = sorted(((count, EVENTS[i]) for i, count in enumerate(counts) if count and i != row), reverse=True)
        instead = ", ".join(f"{other} {count}" for count, other in wrong)
        lines.append(f"| {event} | {FAMILIES[event]} | {counts[row]}/{sum(counts)} | {instead} |")
    return "\n".join([*lines, ""])
