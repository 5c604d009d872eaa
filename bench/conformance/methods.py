"""What every quantization method keeps to, checked on two tiny U-Nets in seconds.

Effort is cut down to a few prompts and iterations where the method has the usual options and the spec does not say
otherwise: the contract is checked, not how good the method is.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from admbench.bench.conformance.findings import (
    Check,
    Finding,
    NotChecked,
    Violation,
    check_description,
    listed,
    require,
    require_same,
    run_checks,
)
from admbench.bench.conformance.method_subject import Case, Subject, predict_with, random_state
from admbench.bench.conformance.network_state import (
    changed,
    changes,
    condition_of,
    hashes_of,
    is_finite,
    not_finite,
    odd_weights,
    same_set,
)
from admbench.errors import BenchError, UsageError
from admbench.methods import registry
from admbench.methods.base import CalibratedConfig, Method, MethodConfig
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.prompts import GIVEN
from admbench.methods.core.checkpoint.header import TENSOR_FILE
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.full_precision import Float32
from admbench.methods.spec import FULL_PRECISION, MethodSpec
from admbench.taxonomy import FAMILIES, TRACKS, Paper


def check_method(text: str) -> Iterator[Finding]:
    """Check a method and yield what is found.

    Args:
        text: registry name, or a spec such as `my-method@w4a16[group_size=32]`.

    Raises:
        UsageError: the spec is malformed, or there is no such method.
        PluginError: it cannot be loaded.
    """
    yield from run_checks(Subject(text), CHECKS, gates=(_IS_METHOD, _CONFIGURES, _QUANTIZES))


def _is_a_method(subject: Subject) -> str:
    plugin = subject.plugin
    require(
        isinstance(plugin, type) and issubclass(plugin, Method), "expected a subclass of admbench.methods.base.Method"
    )
    require(plugin.name == subject.name, f"its name is {plugin.name!r}, it is registered as {subject.name!r}")
    version = getattr(plugin, "version", None)
    require(isinstance(version, str) and bool(version), "version: expected text, which changes whenever results do")
    require(
        issubclass(plugin.Config, MethodConfig), "Config: expected a subclass of admbench.methods.base.MethodConfig"
    )
    said = check_description(registry, subject.name, plugin)
    return f"{said}; {_kind(subject.name, plugin)}"


def _kind(name: str, plugin: type[Method]) -> str:
    """Check what a method says of its kind, and that lists and records say the same."""
    track, family = getattr(plugin, "track", None), getattr(plugin, "family", None)
    require(track in TRACKS, f"track: expected {' or '.join(TRACKS)}, found {track!r}")
    require(family in FAMILIES, f"family: expected one of {', '.join(FAMILIES)}, found {family!r}")
    require(
        (track == "fine-tuned") == (family == "fine-tuning"), f"a method of family {family} is not of track {track}"
    )
    paper = getattr(plugin, "paper", "missing")
    require(
        paper is None or isinstance(paper, Paper),
        f"paper: expected an admbench.taxonomy.Paper, or None where there is nothing to cite, found {paper!r}",
    )
    shown = dict(listed(registry, name).facts)
    require(
        shown == {"track": track, "family": family},
        f"lists show {shown}: the class itself has to declare track and family, as literals",
    )
    return f"{track}, {family}"


def _configures(subject: Subject) -> str:
    config = subject.method.config.model_dump(mode="json")
    require({"preset", "calibration"} <= config.keys(), "its configuration lacks preset or calibration")
    json.dumps(config, allow_nan=False)
    spec = subject.method.spec
    for preset in ("quick", "paper"):
        subject.plugin(replace(spec, options={"preset": preset}))
    try:
        subject.plugin(replace(spec, options={"no_such_option": "1"}))
    except UsageError:
        return f"{spec}: {len(config)} options"
    raise Violation("an option that it does not know is accepted")


def _quantizes(case: Case) -> str | None:
    product = case.quantized
    require(isinstance(product, QuantizedBackbone), "quantize returns no QuantizedBackbone")
    expected, found = type(case.model.backbone), type(product.module)
    require(found is expected, f"the class of the backbone is {found.__name__}, it was {expected.__name__}")
    require(not product.module.training, "the quantized backbone is in training mode")
    require(
        case.predicted.shape == case.full.shape,
        f"it predicts {tuple(case.predicted.shape)}, not {tuple(case.full.shape)}",
    )
    require(is_finite(case.predicted), "it predicts NaN or infinity")
    error = case.predicted - case.full
    if not error.any():
        return "predicts what full precision does"
    return f"{10 * torch.log10(case.full.square().sum() / error.square().sum()):.1f} dB from full precision"


def _leaves_the_original(case: Case) -> None:
    quantized = case.quantized.module
    changed = changes(case.before, condition_of(case.model.backbone))
    require(not changed, f"quantizing changes the full-precision backbone: its {', '.join(changed)}")
    places = {tensor.data_ptr() for tensor in case.model.backbone.state_dict().values()}
    shared = [name for name, tensor in quantized.state_dict().items() if tensor.numel() and tensor.data_ptr() in places]
    require(not shared, f"the quantized backbone shares {min(shared, default='')} with the full-precision one")


def _repeats(case: Case) -> None:
    with random_state(2):
        again = case.method.quantize(case.model, case.calibration)
    differ = changes(hashes_of(case.quantized.module), hashes_of(again.module))
    require_same(not differ, f"quantizing again gives another {min(differ, default='')}: seed what is random")
    require_same(torch.equal(case.predict(again.module), case.predicted), "quantizing again gives other predictions")


def _calibrates_by_key(case: Case) -> str | None:
    method, drawn = case.method, case.calibration
    key = method.calibration_key(case.model, case.prompts, seed=0)
    require((key is None) == (drawn is None), "one of calibration_key and calibrate is None and the other is not")
    if drawn is None:
        return "it takes no calibration set"
    with random_state(2):
        again = method.calibrate(case.model, case.prompts, seed=0)
    require_same(again is not None and same_set(drawn, again), "the same seed draws another calibration set")
    require(key == method.calibration_key(case.model, case.prompts, seed=0), "calibration_key is not repeatable")
    others = (
        method.calibration_key(case.model, case.prompts, seed=1),
        method.calibration_key(case.make(1), case.prompts, seed=0),
    )
    require(key not in others, "calibration_key leaves out the seed or the model's weights")
    return f"{len(drawn)} samples"


def _varies(case: Case) -> str:
    """A run with several calibration draws quantizes once what says that it varies with none."""
    if case.method.varies:
        return "it may"
    other = case.method.calibrate(case.model, case.prompts, seed=1)
    with random_state(1):
        again = case.method.quantize(case.model, other)
    differ = changes(hashes_of(case.quantized.module), hashes_of(again.module))
    require_same(not differ, f"varies is False, and another calibration set gives another {min(differ, default='')}")
    return "it does not"


def _leaves_the_calibration_set(case: Case) -> None:
    _ = case.quantized
    require_same(
        same_set(case.drawn_from(0), case.needed), "quantizing changes the calibration set, which others share"
    )


def _w16a16(case: Case) -> None:
    if not case.method.takes_bits:
        raise NotChecked("it takes no bits")
    try:
        method = type(case.method)(case.method.spec.with_bits(16, 16))
    except UsageError as error:
        raise NotChecked(f"refused: {error}") from None
    product = method.quantize(case.model, method.calibrate(case.model, case.prompts, seed=0))
    require_same(torch.equal(case.predict(product.module), case.full), "it does not predict what full precision does")


def _packs(case: Case) -> str:
    with tempfile.TemporaryDirectory() as folder:
        packed, full = Path(folder, "packed"), Path(folder, "full")
        case.quantized.pack(packed)
        Float32(MethodSpec(FULL_PRECISION)).quantize(case.model, None).pack(full)
        loaded = load(packed)
        size, full_size = ((place / TENSOR_FILE).stat().st_size for place in (packed, full))
    differ = changes(hashes_of(case.quantized.module), hashes_of(loaded))
    require(not differ, f"the packed checkpoint loads with another {min(differ, default='')}")
    same = torch.equal(case.predict(loaded), case.predicted)
    require_same(same, "the packed checkpoint predicts other numbers than the quantized backbone in memory")
    fewer = any(layer.weight_bits is not None for layer in case.quantized.report.layers)
    require(not fewer or size < full_size, f"its weights take {size} bytes, in full precision {full_size}")
    return f"{size} bytes of weights, {full_size} in full precision"


def _reports(case: Case) -> str:
    product, report = case.quantized, case.quantized.report
    known = {layer.name for layer in report.layers} | set(report.unquantized)
    missing = [
        name
        for name in quantizable_layers(case.model.backbone)
        if name not in known and not any(one.startswith(f"{name}.") for one in known)
    ]
    require(not missing, f"the report says nothing of layer {min(missing, default='')} ({len(missing)} in all)")
    json.dumps(report.layers_as_json(), allow_nan=False)
    require(0 <= report.quantized_fraction <= 1, f"quantized_fraction is {report.quantized_fraction}")
    require(0 < report.nominal_bits_per_weight <= 64, f"bits per weight are {report.nominal_bits_per_weight}")
    require(math.isfinite(report.seconds) and report.seconds >= 0, f"seconds are {report.seconds}")
    header, method = product.method, case.method
    stated = (header.name, header.spec, header.version)
    require(stated == (method.name, str(method.spec), method.version), f"the checkpoint's header says {stated}")
    for option, value in method.config.model_dump(mode="json").items():
        require(
            option in header.config and value in (None, header.config[option]),  # None: what the model's default is
            f"the checkpoint's header says nothing, or something else, of option {option}={value}",
        )
    source = (product.source.model, product.source.weights_sha256)
    require(source == (case.model.name, case.model.weights_sha256), f"the header names the source {source}")
    return f"{len(report.layers)} quantized layers, {report.nominal_bits_per_weight:.2f} bits a weight"


def _stays_finite(case: Case) -> str:
    model = changed(case.make(0), odd_weights)
    try:
        product = case.method.quantize(model, case.method.calibrate(model, case.prompts, seed=0))
    except BenchError as error:
        return f"refused: {error}"
    require(is_finite(predict_with(model, product.module)), "it predicts NaN or infinity")
    return "a layer of zeros, an output channel of zeros, a weight of 1000, a layer that reads one number alone"


def _refuses_bad_weights(case: Case) -> str:
    said = ""
    for value, what in ((torch.nan, "NaN"), (torch.inf, "infinite")):
        model = changed(case.make(0), partial(not_finite, value))
        try:
            product = case.method.quantize(model, case.method.calibrate(model, case.prompts, seed=0))
            with tempfile.TemporaryDirectory() as folder:
                product.pack(Path(folder, "packed"))
        except BenchError as error:
            said = said or str(error)
            continue
        raise Violation(f"a weight that is {what} is quantized and packed; expected a CheckpointError or a DataError")
    return said


def _refuses_few_prompts(case: Case) -> str:
    _ = case.needed
    config = case.method.config
    wanted = getattr(config, "prompts", 1)
    makes_its_own = isinstance(config, CalibratedConfig) and config.recipe_for(case.model).prompt_source != GIVEN
    accepted = wanted
    for count in range(wanted - 1, -1 if makes_its_own else wanted - 2, -1):  # what makes prompts needs some to start
        try:
            case.method.calibrate(case.model, case.prompts[:count], seed=0)
        except UsageError as error:
            return str(error)
        accepted = count
    raise Violation(f"{accepted} prompts are accepted, it is configured to take {wanted}; expected a UsageError")


def _refuses_other_sets(case: Case) -> str:
    _ = case.needed
    said = ""
    for what, given in (("none at all", None), ("one drawn from other weights", case.drawn_from(1))):
        try:
            case.method.quantize(case.model, given)
        except UsageError as error:
            said = str(error)
            continue
        raise Violation(f"instead of its calibration set {what} is accepted; expected a UsageError")
    return said


def _on_each(check: Check[Case]) -> Check[Subject]:
    """Return a check of a method that is done on every tiny model; what it finds is said with what that is of."""

    def run(subject: Subject) -> str:
        details = {}
        for case in subject.cases:
            try:
                details[case.what] = check(case) or ""
            except Violation as problem:
                raise Violation(f"{case.what}: {problem}") from None
        if len(set(details.values())) == 1:
            return next(iter(details.values()))
        return "; ".join(f"{what}: {detail}" for what, detail in details.items())

    return run


_IS_METHOD = "is a method that lists can show"
_CONFIGURES = "configuration expands and refuses what it does not know"
_QUANTIZES = "quantizes"
CHECKS: Mapping[str, Check[Subject]] = {
    _IS_METHOD: _is_a_method,
    _CONFIGURES: _configures,
    _QUANTIZES: _on_each(_quantizes),
    "leaves the full-precision backbone as it was": _on_each(_leaves_the_original),
    "gives the same twice, bit for bit": _on_each(_repeats),
    "names its calibration set by content": _on_each(_calibrates_by_key),
    "says whether other calibration data may change it": _on_each(_varies),
    "leaves the calibration set as it was": _on_each(_leaves_the_calibration_set),
    "w16a16 is full precision, bit for bit": _on_each(_w16a16),
    "packs and loads again, bit for bit": _on_each(_packs),
    "reports on every layer": _on_each(_reports),
    "predicts no NaN from odd weights": _on_each(_stays_finite),
    "refuses weights that are not finite": _on_each(_refuses_bad_weights),
    "refuses too few prompts": _on_each(_refuses_few_prompts),
    "refuses a missing calibration set, and that of another model": _on_each(_refuses_other_sets),
}
"""What has to hold -> its check, in the order in which they are done."""
