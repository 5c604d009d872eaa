"""The result record: what `result.json` of one cell (one model x one method) holds, key by key.

The top-level keys are fixed and every one is present; a section that does not apply is null. A missing number is null
and the section's `reason` says why: never 0, -1, NaN or an empty string. Sections marked "open" accept further keys, so
that a metric or a kernel can say more than the board shows; all others refuse a key they do not know, so that a typing
error is found.

Types are strict (no "3" for 3, no true for 1), see `admbench.leaderboard.fields`. What relates several keys
to each other is in `admbench.leaderboard.consistency`.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from admbench.leaderboard.fields import (
    MOST_ENTRIES,
    MOST_REPEATS,
    MOST_SCORES,
    CommandLine,
    Count,
    Fraction,
    Interval,
    MetricName,
    Milliseconds,
    Name,
    OpenSection,
    Operations,
    Positive,
    Seconds,
    Section,
    Sha256,
    Spec,
    Text,
    Time,
)
from admbench.leaderboard.layer_reports import LayerReports
from admbench.taxonomy import Family, Read, Track

SCHEMA_VERSION = 3
"""Of the records that are written. Older ones are read as ever: version 1, which has no track, family, paper, effective
bits and versions of metrics, and version 2, which has no submitter, and texts that may hide something."""
FULL_PRECISION = "fp32"
"""`method.name` of the model left as it is; a name of the schema, for a board is made where no method is installed."""


class Model(Section):
    """The audio diffusion model. Only the name is known when a cell fails before its model is loaded."""

    name: Name
    """Registry name, or `dir:PATH` of a local checkpoint."""
    source: Text | None = None
    """Where the weights come from: a package, a hub repository, a folder."""
    revision: Text | None = None
    """Revision of the source; null where the source has none."""
    weights_sha256: Sha256 | None = None
    """Hash over all weights of the pipeline as they were loaded."""
    license: Text | None = None
    """Licence of the weights; null if the source states none."""
    parameters: Positive | None = None
    """Number of parameters of the backbone."""
    random_weights: bool | None = None
    """True if the weights are not trained: good for timing, never for a rank."""


class Bits(Section):
    """Nominal bit widths, as the spec names them. What a weight takes on disk is in `size`, and can be half more."""

    weight: Annotated[int, Field(ge=1, le=64)] | None
    """Bits of a quantized weight; null for a method that quantizes nothing."""
    activation: Annotated[int, Field(ge=1, le=64)] | None
    """Bits of a quantized activation, 16 if activations are left alone; null for a method that quantizes nothing."""


class Paper(Section):
    """What a method is from."""

    citation: Text
    """Authors, title, place and year."""
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,500}$")] | None = None
    """Where it is read: an arXiv page where there is one; null if it is nowhere on the web."""
    read: Read | None = None
    """How much of it the implementation rests on: `abstract` where nothing else could be read; null in a record that
    does not say."""


class Method(Section):
    """The quantization method. Name and spec are known even when a cell fails; the rest may be null then."""

    name: Name
    """Registry name, without bits and options."""
    spec: Spec
    """The method exactly as it was typed, such as `naive@w4a8[weights=tensor]`."""
    repeat: Count = 0
    """Number of the calibration draw, from 0; a method that depends on no draw has no other."""
    version: Text | None = None
    """Version of the method's implementation; a change of behaviour changes it."""
    track: Track | None = None
    """Whether it is post-training quantization, or trains the network's weights."""
    family: Family | None = None
    """What it does to weights, the main thing of several."""
    paper: Paper | None = None
    """What it is from; null where there is nothing to cite, as of rounding to nearest."""
    bits: Bits | None = None
    """Nominal bit widths."""
    config: dict[str, JsonValue] | None = None
    """Every option with its value, defaults expanded."""
    preset: Text | None = None
    """Name of the preset the options come from (`quick`, `paper`); null if the method has none."""
    components: Annotated[list[Name], Field(max_length=MOST_ENTRIES)] | None = None
    """Components of the pipeline that are quantized, such as `backbone`."""
    simulated: bool | None = None
    """True if quantization was simulated in floating point; false if integer kernels ran or nothing is quantized."""
    layers: LayerReports | None = None
    """One entry per layer of the quantized components: its name, bits, and what the method reports about it."""
    seconds: Seconds | None = None
    """Time that quantization took, calibration not included; null in a record that does not say."""


class References(Section):
    """Which of the captions that were used have real audio."""

    found: Count
    """Captions with a reference clip."""
    missing: Count
    """Captions whose reference clip should be there and is not; scores against the reference lack them."""
    first_missing: Annotated[list[Name], Field(max_length=MOST_ENTRIES)]
    """Ids of the first of these."""


class Suite(Section):
    """The captions."""

    name: Text
    """Registry name, or path of the caption file."""
    sha256: Sha256 | None = None
    """Hash of the whole suite: captions, seeds, reference clips."""
    n: Positive | None = None
    """Number of captions that were used."""
    split: Name | None = None
    """Split of the corpus that the captions belong to; null for a caption file without splits."""
    captions: Literal["first", "all"] | None = None
    """Which captions of a clip with several were used; null if no clip has several."""
    references: References | None = None
    """Reference clips of the captions that were used; null in a record that does not say."""


class Generation(Section):
    """How audio was sampled."""

    scheduler: Name
    """Class name of the scheduler."""
    sampler: Name | None = None
    """Solver that was asked for in place of the model's own, for calibration too; null: the model's own."""
    steps: Positive
    """Denoising steps."""
    guidance: float
    """Classifier-free guidance scale."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)]
    """Seed of the run; every caption's own seed follows from it and from the suite."""
    dtype: Name
    """Floating-point type of everything that is not quantized."""
    batch_size: Positive
    """Captions per batch."""
    sample_rate: Positive
    """Sample rate of the audio, Hz."""
    seconds: Annotated[float, Field(gt=0)]
    """Length of a clip, seconds."""


class Difference(OpenSection):
    """Paired difference of a score to the same model's full-precision score, captions resampled jointly. Open."""

    value: float | None = None
    """This cell's score minus the baseline's score; null with a reason if there is none."""
    ci95: Interval | None = None
    """95 % interval of the difference."""
    versus: Text | None = None
    """What the score is compared with."""
    significant: bool | None = None
    """True if the interval does not hold zero."""
    reason: Text | None = None
    """Why the value or its interval is missing."""


class Score(OpenSection):
    """One score. Open: a metric adds what belongs to it, such as the number of `splits` of an Inception score."""

    value: float | None
    """The score; null with a reason if it could not be computed."""
    ci95: Interval | None = None
    """95 % interval of the score over captions; it contains the value. Null with a reason if the metric has none."""
    n: Positive | None = None
    """Number of clips the score was computed from."""
    backbone: Name | None = None
    """Name of the network whose features were used; null if none was."""
    backbone_sha256: Sha256 | None = None
    """Hash of that network's weights."""
    against: Literal["reference", "baseline"] | None = None
    """`reference`: the suite's real audio. `baseline`: the full-precision model's own output. Null: neither."""
    direction: Text | None = None
    """Order of the arguments of a metric that is not symmetric, such as `reference || generated`."""
    higher_is_better: bool | None = None
    """Which way is better."""
    version: Name | None = None
    """Version of the metric; a change of its value changes it. Null in records of schema version 1."""
    difference: Difference | None = None
    """Paired difference to the full-precision baseline; null for the baseline itself."""
    reason: Text | None = None
    """Why the value or its interval is missing."""


class CutCaptions(Section):
    """Captions of which the model's text encoder read the beginning: they have more tokens than its tokenizer keeps."""

    n: Count
    """How many."""
    first: Annotated[list[Name], Field(max_length=MOST_ENTRIES)]
    """Ids of the first of these."""


class Audio(Section):
    """Health of the generated audio: counted, never hidden."""

    clips: Count
    """Clips generated."""
    silent: Count
    """Clips below the level of silence."""
    clipped: Count
    """Clips that reach full scale."""
    too_short: Count
    """Clips shorter than asked for."""
    nan: Count
    """Clips with a sample that is not a finite number."""
    captions_cut: CutCaptions | None = None
    """Captions that were cut, so that their clips are of their beginning; null in a record that does not say."""
    reading: dict[str, JsonValue] | None = None
    """How the clips came to the metric networks: channels, resampler, length, and each network's rate in Hz."""


class PipelineSize(Section):
    """Bytes of all components of a pipeline together."""

    bytes: Positive
    """With the quantized components in it."""
    baseline_bytes: Positive
    """In fp32."""
    reduction: Annotated[float, Field(lt=1)]
    """1 - bytes / baseline_bytes."""


class Size(Section):
    """Bytes on disk, after packing. Never computed from nominal bits."""

    checkpoint_bytes: Positive | None
    """Bytes of the packed checkpoint of the quantized components; null with a reason if none was written."""
    baseline_bytes: Positive | None
    """Bytes of the same components in fp32, written through the same door."""
    reduction: Annotated[float, Field(lt=1)] | None
    """1 - checkpoint_bytes / baseline_bytes: 0.75 is a quarter of the bytes; negative is larger than fp32."""
    nominal_bits_per_weight: Annotated[float, Field(gt=0, le=64)] | None = None
    """Mean bits of a stored parameter of the quantized components, biases and norms included, scales not."""
    effective_bits_per_weight: Annotated[float, Field(gt=0, le=1000)] | None = None
    """What a parameter of the quantized components takes on disk: 8 x bytes of all tensors of the packed checkpoint
    (codes, scales, zero points, code books, low-rank branches, ranges of activations, and what stays in floating point)
    / number of parameters in full precision. The header's JSON is not counted. Null in records of schema version 1."""
    quantized_fraction: Fraction | None = None
    """Share of the components' weights that is stored in fewer bits than full precision."""
    components: Annotated[dict[Name, Count], Field(max_length=MOST_ENTRIES)] | None = None
    """Bytes of every component of the pipeline with this checkpoint in it: the whole pipeline is their sum."""
    pipeline: PipelineSize | None = None
    """The whole pipeline, quantized components and others."""
    reason: Text | None = None
    """Why a value is missing."""


class Timing(OpenSection):
    """Repeated timings of one denoising step, milliseconds. Open."""

    median: Milliseconds
    """Median of the values."""
    p10: Milliseconds
    """10th percentile of the values."""
    p90: Milliseconds
    """90th percentile of the values."""
    values: Annotated[list[Milliseconds], Field(min_length=1, max_length=MOST_REPEATS)]
    """Every timed repetition, in order, warm-up excluded."""


class Cost(OpenSection):
    """What one step of the backbone computes, counted from the shapes of its layers. Attention is not in it. Open."""

    flops: Operations | None = None
    """Multiplications and additions of all Linear layers and convolutions."""
    bit_operations: Operations | None = None
    """Each multiplication times the bits of its weight and of its input: 1,024 in float32."""
    bytes_moved: Positive | None = None
    """Weights and inputs in their codes and outputs in float32, each once."""
    batch: Positive | None = None
    """Rows of the step."""


class Latency(OpenSection):
    """Measured speed of real kernels; nothing is estimated. Open."""

    kernel: Name | None
    """Kernels that ran; null with a reason if none did: `simulated` for fake quantization."""
    layers: Annotated[dict[Name, Count], Field(max_length=MOST_ENTRIES)] | None = None
    """Number of layers per kernel."""
    step_ms: Timing | None = None
    """Time of one denoising step of the quantized model."""
    baseline_step_ms: Timing | None = None
    """Time of the same step in fp32, eager, measured in the same run; also where nothing is quantized."""
    speedup: Annotated[float, Field(ge=1e-9, le=1e9)] | None = None
    """Median of baseline_step_ms / median of step_ms."""
    real_time_factor: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Seconds of computing per second of audio, whole pipeline; encoding captions counts as what the baseline took."""
    cost: Cost | None = None
    """What the step computes; also where no kernel ran."""
    roofline: dict[str, JsonValue] | None = None
    """What the machine gives and how far below that each layer runs (docs/latency.md)."""
    roofline_reason: Text | None = None
    """Why there is no roofline; older records do not say."""
    reason: Text | None = None
    """Why there is no kernel or no number."""


class Memory(OpenSection):
    """Memory of the cell's two processes: one quantizes, the other generates from the packed checkpoint and scores.
    `process` says which the peak is of, `quantization_bytes` and `generation_bytes` have each; a record without them is
    of the time when one process did both. Open."""

    peak_bytes: Positive | None
    """Larger peak of resident (or device) memory; null with a reason if it was not measured."""
    reason: Text | None = None
    """Why the value is missing."""


class PromptCoverage(Section):
    """What a list of captions covers of what audio can be, by a lexicon and by the model's text encoder; 1 is all."""

    n: Positive
    """Captions."""
    values: Fraction
    """Share of the values of all aspects that some caption states."""
    pairs: Fraction
    """Share of the pairs of values of different aspects that some caption states together; not all can occur."""
    text: Fraction
    """Facility location: mean similarity of the candidates to the nearest of the captions."""
    aspects: Annotated[dict[Name, Fraction], Field(max_length=MOST_ENTRIES)]
    """Share of the values of each aspect."""
    known_words: Fraction
    """Share of the captions' words that the lexicon knows."""


class Calibration(OpenSection):
    """The calibration set. The whole section is null for a method that needs none. Open."""

    prompts: Positive
    """Number of calibration captions."""
    samples: Positive
    """Number of (latent, timestep, conditioning) samples."""
    timesteps: Annotated[list[Count], Field(max_length=MOST_REPEATS)]
    """The distinct timesteps that were drawn."""
    seconds: Seconds
    """Time spent drawing the set."""
    sampler: Text | None = None
    """How timesteps were chosen, by name."""
    prompt_source: Text | None = None
    """How the captions were come by, by name; `given`: the first of those at hand."""
    coverage_before: PromptCoverage | None = None
    """What the captions at hand cover, where others were chosen by coverage."""
    coverage_after: PromptCoverage | None = None
    """What the chosen captions cover."""


class Environment(OpenSection):
    """Hardware and software that a number belongs to. Open."""

    machine: Text
    """Architecture and operating system."""
    cpu: Text
    """Model name of the processor."""
    gpu: Text | None
    """Model name of the accelerator; null if none was used."""
    threads: Positive
    """Threads the numerical libraries were given."""
    packages: Annotated[dict[Name, Name], Field(max_length=MOST_ENTRIES)]
    """Versions of Python and of the packages that can change a number."""


class Git(Section):
    """State of the source tree."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
    """Commit that was checked out."""
    dirty: bool
    """True if tracked files differed from it."""


class PluginState(Section):
    """One state of a plug-in: what a run tells it from another by, and computes again where any of it changed."""

    target: Text
    """What was run: `module:attribute`."""
    version: Name | None
    """That its class says; null where it says none."""
    distribution: Name
    """That it came with; of one that was registered in a program, its module."""
    distribution_version: Name | None
    """Version of that distribution; null where it is not installed."""
    source_sha256: Sha256 | None
    """Over the source: of one of ours, of its whole folder; of others, of all that the distribution brings. Null where
    there was none to be found."""
    packages: Annotated[dict[Name, Name | None], Field(max_length=MOST_ENTRIES)]
    """Distribution that it requires -> version; null if it was not installed."""


class Provenance(Section):
    """Where the record comes from."""

    started: Time
    """When the cell started: ISO 8601 with its offset from UTC."""
    seconds: Seconds
    """Duration of the cell."""
    git: Git | None
    """State of the source tree; null if the harness did not run from one."""
    command: CommandLine
    """Command line of the run."""
    submitter: Name | None = None
    """Who ran it, as they call themselves; null where nobody said. Never taken from an account of the machine."""
    code: dict[Name, Sha256] = Field(default_factory=dict, max_length=MOST_ENTRIES)
    """Part of this package that computed -> hash of its source. Empty in records that do not say."""
    plugins: dict[Name, PluginState] = Field(default_factory=dict, max_length=MOST_ENTRIES)
    """`GROUP NAME` of each plug-in behind the numbers (model, method, suite, extractors, judges, metrics, formats) ->
    its state. Empty in records that do not say."""
    pruned: list[Literal["audio", "checkpoint"]] = Field(default_factory=list, max_length=2)
    """What was removed from the run folder later, to make room (`bench prune`); the cell was scored with it."""


class Record(Section):
    """Everything about one cell. All keys are present; which may be null depends on the status."""

    schema_version: Literal[1, 2, 3]
    """Version of this schema. Version 1 lacks track, family, paper, effective bits and versions of metrics; version 2
    the submitter, and limits of texts."""
    status: Literal["done", "failed", "skipped"]
    """`done`: all that was asked for is here. `failed`: it broke. `skipped`: it cannot run here; not an error."""
    reason: Text | None
    """Why the cell failed or was skipped; null when done."""
    model: Model
    """The audio diffusion model."""
    method: Method
    """The quantization method."""
    suite: Suite
    """The captions."""
    generation: Generation | None
    """How audio was sampled; null if none was."""
    scores: Annotated[dict[MetricName, Score], Field(max_length=MOST_SCORES)]
    """Every score that was asked for, by its key; `*_vs_baseline` are against the full-precision model's own output."""
    audio: Audio | None
    """Health of the generated audio; null if none was generated."""
    size: Size | None
    """Bytes on disk; null unless done."""
    latency: Latency | None
    """Measured speed; null unless done."""
    memory: Memory | None
    """Peak memory; null unless done."""
    calibration: Calibration | None
    """The calibration set; null if the method needs none."""
    environment: Environment | None
    """Hardware and software; null only if the cell never started."""
    provenance: Provenance | None
    """Time, source tree and command; null only if the cell never started."""
