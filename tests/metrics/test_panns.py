"""CNN14 loads the published state dictionaries by their own names and computes what the paper says."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchaudio import functional as audio_functional

from admbench.errors import CheckpointError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import panns, registry
from admbench.metrics.embedders.panns import AT_16K, AT_32K, Cnn14
from admbench.metrics.embedders.published import load_strictly

SMALL = (2, 3, 4, 5, 6, 8)
CLASSES = 7


def published_shapes(front_end, channels=panns.CHANNELS, classes=527):
    """Names and shapes of a published file, as its users have listed them."""
    bins = front_end.n_fft // 2 + 1
    shapes = {
        "spectrogram_extractor.stft.conv_real.weight": (bins, 1, front_end.n_fft),
        "spectrogram_extractor.stft.conv_imag.weight": (bins, 1, front_end.n_fft),
        "logmel_extractor.melW": (bins, 64),
        "fc1.weight": (channels[-1], channels[-1]),
        "fc1.bias": (channels[-1],),
        "fc_audioset.weight": (classes, channels[-1]),
        "fc_audioset.bias": (classes,),
    }
    norms = {"bn0": 64}
    for number, (inputs, outputs) in enumerate(zip((1, *channels[:-1]), channels, strict=True), start=1):
        shapes[f"conv_block{number}.conv1.weight"] = (outputs, inputs, 3, 3)
        shapes[f"conv_block{number}.conv2.weight"] = (outputs, outputs, 3, 3)
        norms |= {f"conv_block{number}.bn1": outputs, f"conv_block{number}.bn2": outputs}
    for name, width in norms.items():
        shapes |= {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.num_batches_tracked"] = ()
    return shapes


def state(front_end, channels=SMALL, classes=CLASSES):
    """A random state dictionary in the published format, with the true Fourier and mel matrices."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in published_shapes(front_end, channels, classes).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(1000)
        elif "running_var" in name or ("bn" in name and name.endswith("weight")):
            tensors[name] = 1 + 0.3 * noise.abs()
        else:
            tensors[name] = noise / math.sqrt(max(1, math.prod(shape[1:])))
    time = np.arange(front_end.n_fft)
    window = np.sin(np.pi * time / front_end.n_fft) ** 2
    angle = 2 * np.pi * np.arange(front_end.n_fft // 2 + 1)[:, None] * time / front_end.n_fft
    tensors["spectrogram_extractor.stft.conv_real.weight"] = torch.tensor(np.cos(angle) * window).float()[:, None]
    tensors["spectrogram_extractor.stft.conv_imag.weight"] = torch.tensor(-np.sin(angle) * window).float()[:, None]
    tensors["logmel_extractor.melW"] = audio_functional.melscale_fbanks(
        front_end.n_fft // 2 + 1, front_end.f_min, front_end.f_max, 64, front_end.sample_rate, "slaney", "slaney"
    )
    return tensors


def build(tensors, front_end, path="file"):
    with torch.device("meta"):
        network = Cnn14(front_end, SMALL, CLASSES)
    load_strictly(network, tensors, path)
    return network.eval()


def log_mel(waveforms, front_end):
    """The front end by torch's own transform."""
    spectrum = torch.stft(
        waveforms, front_end.n_fft, front_end.hop, window=torch.hann_window(front_end.n_fft), return_complex=True
    )
    mel = spectrum.abs().square().transpose(1, 2) @ state(front_end)["logmel_extractor.melW"]
    return 10 * torch.log10(torch.maximum(mel, torch.tensor(1e-10)))


def cnn14(picture, tensors):
    """Features and logits of pictures (n, frames, 64), straight from the tensors."""

    def normalise(hidden, name):
        mean, var, weight, bias = (
            tensors[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (hidden - mean) / torch.sqrt(var + 1e-5) * weight + bias

    hidden = normalise(picture.transpose(1, 2)[..., None], "bn0")[..., 0].transpose(1, 2)[:, None]
    for number in range(1, 7):
        for part in "12":
            hidden = F.conv2d(hidden, tensors[f"conv_block{number}.conv{part}.weight"], padding=1)
            hidden = normalise(hidden, f"conv_block{number}.bn{part}").clamp(min=0)
        if number < 6:
            n, channels, frames, bands = hidden.shape
            hidden = hidden[:, :, : frames // 2 * 2, : bands // 2 * 2]
            hidden = hidden.reshape(n, channels, frames // 2, 2, bands // 2, 2).mean(dim=(3, 5))
    over_time = hidden.mean(dim=3)
    pooled = over_time.max(dim=2).values + over_time.mean(dim=2)
    features = (pooled @ tensors["fc1.weight"].T + tensors["fc1.bias"]).clamp(min=0)
    return features, features @ tensors["fc_audioset.weight"].T + tensors["fc_audioset.bias"]


def clips(front_end, n=2, seconds=1.0):
    return 0.1 * torch.randn(n, int(seconds * front_end.sample_rate), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("front_end", [AT_16K, AT_32K], ids=["16k", "32k"])
def test_the_network_has_exactly_the_tensors_of_the_published_file(front_end):
    with torch.device("meta"):
        network = Cnn14(front_end)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published_shapes(front_end)


def test_the_front_ends_are_those_of_the_published_models():
    assert (AT_16K.sample_rate, AT_16K.n_fft, AT_16K.hop, AT_16K.f_min, AT_16K.f_max) == (16_000, 512, 160, 50, 8000)
    assert (AT_32K.sample_rate, AT_32K.n_fft, AT_32K.hop, AT_32K.f_min, AT_32K.f_max) == (32_000, 1024, 320, 50, 14_000)


@pytest.mark.parametrize("front_end", [AT_16K, AT_32K], ids=["16k", "32k"])
def test_features_and_logits_are_those_of_an_independent_computation(front_end):
    tensors, waveforms = state(front_end), clips(front_end)
    network = build(tensors, front_end)
    with torch.no_grad():
        picture = network.log_mel(waveforms)[:, 0]
        features, logits = network(waveforms)
    expected_picture = log_mel(waveforms, front_end)
    assert (picture - expected_picture).norm() < 1e-4 * expected_picture.norm()
    expected_features, expected_logits = cnn14(expected_picture, tensors)
    assert expected_features.max() > 0
    assert (features - expected_features).norm() < 1e-4 * expected_features.norm()
    assert (logits - expected_logits).norm() < 1e-4 * expected_logits.norm()
    assert features.min() >= 0


def test_silence_is_at_the_floor_of_the_logarithm():
    silence = build(state(AT_16K), AT_16K).log_mel(torch.zeros(1, 16_000))
    assert torch.allclose(silence, torch.tensor(-100.0))


def test_a_clip_too_short_for_the_poolings_counts_as_followed_by_silence():
    network, short = build(state(AT_16K), AT_16K), clips(AT_16K, seconds=0.05)
    assert network.minimum_samples == 31 * 160
    with torch.no_grad():
        features, _ = network(short)
        padded, _ = network(F.pad(short, (0, network.minimum_samples - short.shape[1])))
    assert torch.equal(features, padded)


@pytest.fixture
def small_sizes(monkeypatch):
    """Let files of small networks pass as published ones."""
    monkeypatch.setattr(panns.Cnn14.__init__, "__defaults__", (SMALL, CLASSES))


@pytest.fixture
def weights(tmp_path, monkeypatch, small_sizes):
    """A folder of weights with a file as it was published: tensors, and the training sampler's numpy state."""
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    path = tmp_path / "Cnn14_16k_mAP=0.438.pth"
    sampler = {
        "indexes": np.arange(5),
        "pointers_of_classes": [0, 1],
        "best": np.float64(0.438),
        "pointer": np.int64(3),
    }
    torch.save({"iteration": 800_000, "model": state(AT_16K), "sampler": sampler}, path)
    return path


def test_a_published_file_is_found_by_name_and_judges_in_batches_of_any_size(weights):
    judge = registry.get("panns-cnn14-16k")
    tagger = judge.load()
    assert (tagger.name, tagger.sample_rate, tagger.embedding_dim) == ("panns-cnn14-16k", 16_000, SMALL[-1])
    assert tagger.sha256 == judge.fingerprint() == sha256_file(weights)
    waveforms = clips(AT_16K, n=9, seconds=0.4)
    heard = tagger.embed_audio(waveforms.numpy())
    features, logits = cnn14(log_mel(waveforms, AT_16K), state(AT_16K))
    np.testing.assert_allclose(heard.embedding, features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(heard.logits, logits, rtol=1e-3, atol=1e-4)


def test_a_missing_file_is_one_line_with_the_command_that_gets_it(tmp_path, monkeypatch):
    judge = registry.get("panns-cnn14-32k")
    monkeypatch.delenv("ADMBENCH_WEIGHTS", raising=False)
    with pytest.raises(CheckpointError, match=r"\$ADMBENCH_WEIGHTS, the folder to look for .*, is not set"):
        judge.find()
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError) as missing:
        judge.find()
    text = str(missing.value)
    assert "\n" not in text
    assert str(tmp_path) in text
    url = "https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth"
    assert text.endswith(f'to get them: wget -O "$ADMBENCH_WEIGHTS/Cnn14_mAP=0.431.pth" {url}')
    with pytest.raises(CheckpointError, match=r"other\.pth: no such file"):
        judge.find(str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("fc1.bias"), r"lacks fc1\.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has extra"),
        (lambda tensors: tensors.update({"fc1.bias": torch.zeros(3)}), r"fc1\.bias is \(3,\), expected \(8,\)"),
    ],
    ids=["lacking", "left over", "shape"],
)
def test_a_tensor_without_destination_or_source_is_refused(weights, change, message):
    tensors = state(AT_16K)
    change(tensors)
    torch.save({"model": tensors}, weights)
    with pytest.raises(CheckpointError, match=message):
        registry.get("panns-cnn14-16k").load()


class _Code:
    def __reduce__(self):
        return (pytest.fail, ("a pickle ran code",))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: torch.save({"model": {}, "extra": _Code()}, path),
            r"asks for more than tensors.*weights_only=False",
        ),
        (lambda path: torch.save([1], path), 'expected a dictionary with the tensors under "model"'),
        (lambda path: path.write_bytes(b"<html>"), "not a readable checkpoint"),
        (lambda path: path.write_bytes(b""), "not a readable checkpoint"),
    ],
    ids=["code", "no dictionary", "no pickle", "empty"],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(weights, write, message):
    write(weights)
    with pytest.raises(CheckpointError, match=message) as refused:
        registry.get("panns-cnn14-16k").load()
    assert "\n" not in str(refused.value)
    assert weights.name in str(refused.value)
