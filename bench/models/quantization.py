"""Calibrate, quantize, keep and load again the components of a model: what command line, cells and API share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from admbench.bench.models.component_view import view_of
from admbench.bench.models.components import COMPONENTS, Component, components_of
from admbench.bench.suites import calibration_prompts
from admbench.errors import CheckpointError
from admbench.files import atomic_directory
from admbench.hashing import sha256_json
from admbench.methods import from_spec
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe
from admbench.methods.core.checkpoint.architectures import describe_network, is_allowed
from admbench.methods.core.checkpoint.formats import load, read_header
from admbench.methods.core.checkpoint.header import HEADER_FILE, Header
from admbench.methods.core.checkpoint.third_party import ThirdPartyHeader
from admbench.methods.core.third_party import ThirdPartyBackbone
from admbench.methods.core.weight_only_fallback import apply_weight_only_fallback
from admbench.methods.spec import MethodSpec

if TYPE_CHECKING:
    from torch import nn

    from admbench.bench.models.base import AudioDiffusionModel
    from admbench.methods.base import Method
    from admbench.methods.core.backbone import QuantizedBackbone
    from admbench.methods.protocol import DenoisingModel

DEFAULT_CALIBRATION_PROMPTS = 128
"""Prompts offered to a method whose configuration does not say how many it takes."""
BACKBONE: Component = "backbone"
OTHER_BITS = 8
"""Fewest bits of what is quantized beside the backbone: it runs once a clip, and errors in it are heard directly."""


class Quantized(NamedTuple):
    """One component as a method left it."""

    network: QuantizedBackbone
    calibration: CalibrationSet | None
    """What it was calibrated on; None if the method needs nothing."""


class DrawnSet(NamedTuple):
    """A calibration set that was drawn without the method that may take it."""

    key: str
    """Its content address: `Method.calibration_key` of whoever takes it."""
    folder: Path
    """Where `CalibrationSet.save` wrote it."""


def quantize_components(
    model: AudioDiffusionModel,
    spec: str | MethodSpec,
    components: Iterable[str] = (BACKBONE,),
    *,
    prompts: Sequence[str] | None = None,
    seed: int = 0,
    draw: int = 0,
    drawn: Mapping[Component, DrawnSet] | None = None,
) -> dict[Component, Quantized]:
    """Quantize components of a model with one method; the model is left as it is.

    Beside the backbone, every component keeps at least `OTHER_BITS` bits; where the backbone is not among them, they
    get the bits of the spec, so that what each of them stands can be found out. A method without bits, such as `bf16`,
    is one of the backbone alone.

    Args:
        model: in full precision.
        spec: method spec, such as `naive@w4a8`; text, or as `MethodSpec.parse` returned it.
        components: names, or `all`.
        prompts: calibration prompts; None takes those of the embedded corpus's calibration split.
        seed: of the calibration trajectories.
        draw: number of the calibration draw: another one takes other prompts, noise and timesteps, and with them other
            random numbers of the method; 0 is the one that is taken where nobody asks for several.
        drawn: calibration sets that were drawn before, as `draw_calibration` returned them. A method whose
            `calibration_key` is another draws its own.

    Raises:
        BenchError: the spec is not valid, the method cannot be loaded, the model cannot be quantized by it, or has no
            such component.
    """
    spec = MethodSpec.parse(spec) if isinstance(spec, str) else spec
    chosen = _chosen(model, components) if spec.weight_bits else (BACKBONE,)
    quantized: dict[Component, Quantized] = {}
    for component in chosen:
        method = from_spec(spec.of_at_least(OTHER_BITS) if BACKBONE in chosen and component != BACKBONE else spec)
        offered = calibration_prompts(calibration_prompt_count(method), draw=draw) if prompts is None else prompts
        view = view_of(model, component)
        calibration = _calibration(method, view, offered, draw_seed(seed, draw), (drawn or {}).get(component))
        network = method.quantize(view, calibration)
        if component != BACKBONE and not isinstance(network, ThirdPartyBackbone):
            network = apply_weight_only_fallback(network, view, calibration, method.spec.sides[0])
        quantized[component] = Quantized(network, calibration)
    return quantized


def draw_calibration(
    model: AudioDiffusionModel,
    request: CalibrationRequest,
    components: Iterable[str],
    folder: Path,
    *,
    seed: int,
    draw: int,
) -> dict[Component, DrawnSet]:
    """Draw what methods ask for of each component, without any of these methods, and keep it in a folder.

    Args:
        model: in full precision.
        request: what is asked for.
        components: names, or `all`, as of `quantize_components`.
        folder: gets a folder for each component.
        seed: of the calibration trajectories.
        draw: number of the calibration draw, as of `quantize_components`.

    Raises:
        BenchError: the request names what there is not, there are too few prompts, or the model's calls do not fit
            together or hold NaN or infinity.
    """
    drawn: dict[Component, DrawnSet] = {}
    prompts, own_seed = calibration_prompts(request.prompts, draw=draw), draw_seed(seed, draw)
    for component in _chosen(model, components):
        view = view_of(model, component)
        recipe = CalibrationRecipe.of(request, view)
        recipe.draw(view, prompts, seed=own_seed).save(folder / component)
        drawn[component] = DrawnSet(recipe.key(view, prompts, seed=own_seed), folder / component)
    return drawn


def save_components(quantized: Mapping[Component, QuantizedBackbone], folder: Path) -> None:
    """Write a packed checkpoint: the backbone in the folder itself, any other component in a folder of its name.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        with atomic_directory(folder) as made:
            for name in (name for name in COMPONENTS if name in quantized):  # the backbone first: it makes its folder
                quantized[name].pack(made if name == BACKBONE else made / name, name)
    except OSError as error:
        raise CheckpointError(f"{folder}: the checkpoint cannot be written ({error})") from error


def checkpoint_folders(folder: str | Path) -> dict[Component, Path]:
    """Return the folder of each component in a packed checkpoint.

    Raises:
        CheckpointError: there is none.
    """
    places = {name: Path(folder) if name == BACKBONE else Path(folder, name) for name in COMPONENTS}
    found = {name: place for name, place in places.items() if (place / HEADER_FILE).is_file()}
    if not found:
        raise CheckpointError(f"{folder}: not a packed checkpoint (it has no {HEADER_FILE})")
    return found


def read_headers(folder: str | Path) -> dict[Component, Header | ThirdPartyHeader]:
    """Return the header of each component in a packed checkpoint.

    Raises:
        CheckpointError: there is none, one is malformed, or lies in another component's place.
    """
    headers = {}
    for name, place in checkpoint_folders(folder).items():
        headers[name] = read_header(place)
        if headers[name].component != name:
            raise CheckpointError(f"{place / HEADER_FILE}: component: expected {name}, found {headers[name].component}")
    return headers


def load_component(folder: str | Path, name: Component) -> nn.Module:
    """Return one component of a packed checkpoint, on the CPU; for errors see `formats.load`."""
    return load(checkpoint_folders(folder)[name])


def load_components(model: AudioDiffusionModel, folder: str | Path) -> None:
    """Put the components of a packed checkpoint in a model's place of them.

    Raises:
        CheckpointError: there are none, one is damaged, see `admbench.methods.core.checkpoint.formats.load`, or one is
            of another configuration than the model's own.
    """
    for name, header in read_headers(folder).items():
        network = load_component(folder, name)
        if name not in model.components:
            raise CheckpointError(f"{folder}: a {name}, which {header.source.model} does not have")
        _require_same(checkpoint_folders(folder)[name] / HEADER_FILE, network, model.components[name])
        model.set_component(name, network.to(model.device))


def _require_same(file: Path, network: nn.Module, replaced: nn.Module) -> None:
    """Raise CheckpointError unless two networks are of one class and configuration: weights' hashes do not cover it."""
    if not (is_allowed(network) and is_allowed(replaced)):
        return  # of a plug-in or package, whose networks nothing here can compare
    (name, found), (own, expected) = describe_network(network), describe_network(replaced)
    if name != own:
        raise CheckpointError(f"{file}: backbone.architecture: expected the model's own, {own}, found {name}")
    for key in sorted(found.keys() & expected.keys()):
        if json.dumps(found[key], default=str) != json.dumps(expected[key], default=str):
            raise CheckpointError(f"{file}: backbone.config.{key}: expected the model's own value")


def calibration_prompt_count(method: Method) -> int:
    """Return how many calibration prompts a method takes: its option `prompts`, where it has one."""
    return int(getattr(method.config, "prompts", DEFAULT_CALIBRATION_PROMPTS))


def run_seed(item_seed: int, seed: int) -> int:
    """Return the noise seed of a caption in a run: its own for run seed 0, else one that follows from both."""
    return item_seed if seed == 0 else int(sha256_json([item_seed, seed])[:8], 16) >> 1


def draw_seed(seed: int, draw: int) -> int:
    """Return the seed of a calibration draw of a run: the run's own for draw 0, else one that follows from both."""
    return seed if draw == 0 else int(sha256_json(["calibration draw", seed, draw])[:8], 16) >> 1


def _chosen(model: AudioDiffusionModel, components: Iterable[str]) -> tuple[Component, ...]:
    present = [name for name, module in model.components.items() if name == BACKBONE or is_allowed(module)]
    return components_of(model.name, present, components)


def _calibration(
    method: Method, model: DenoisingModel, prompts: Sequence[str], seed: int, drawn: DrawnSet | None
) -> CalibrationSet | None:
    """Load the calibration set that was drawn for the method, or let it draw its own."""
    if drawn is not None and method.calibration_key(model, prompts, seed=seed) == drawn.key:
        return CalibrationSet.load(drawn.folder)
    return method.calibrate(model, prompts, seed=seed)
