"""Blocks follow the structure of the backbone; their inputs and outputs are those of a whole run."""

import pytest
import torch
from torch import nn

from admbench.methods.core.layers import memory
from admbench.methods.core.layers.blocks import BlockRuns, execution_order, find_blocks
from admbench.methods.core.layers.kinds import quantizable_layers


@pytest.fixture
def batches(model):
    calls = model.trajectories(["a", "b", "c"], seeds=[0, 1, 2], steps=2, guidance=3.0, batch_size=2)
    return [call.inputs for call in calls]


@pytest.fixture
def found(model, batches):
    return find_blocks(model.backbone, execution_order(model, batches[0]))


def test_every_layer_is_in_one_block(model, found):
    members = [name for block in found for name in block.layers]
    assert sorted(members) == sorted(quantizable_layers(model.backbone))


def test_blocks_are_residual_units_in_the_order_in_which_they_run(found):
    kinds = {block.name: block.kind for block in found}
    assert kinds["mid_block.resnets.0"] == "resnet"
    assert kinds["mid_block.attentions.0.transformer_blocks.0"] == "transformer"
    assert kinds["conv_in"] == kinds["mid_block.attentions.0.proj_in"] == "layer"
    names = list(kinds)
    order = ["conv_in", "down_blocks.0.resnets.0", "mid_block.resnets.0", "mid_block.attentions.0.proj_in"]
    order += ["mid_block.attentions.0.transformer_blocks.0", "mid_block.resnets.1", "up_blocks.0.resnets.0", "conv_out"]
    assert [name for name in names if name in order] == order


@torch.no_grad()
def whole_run(model, batches, name):
    """Return a module's inputs and outputs in whole runs of the backbone."""
    inputs, outputs = [], []

    def note(module, args, output):
        inputs.append(args[0])
        outputs.append(output)

    hook = model.backbone.get_submodule(name).register_forward_hook(note)
    for batch in batches:
        model.call_backbone(batch)
    hook.remove()
    return torch.cat(inputs), torch.cat(outputs)


@pytest.mark.parametrize(("in_memory", "on_disk"), [(2**30, 0), (0, 0), (5000, 0), (0, 2**30), (5000, 20_000)])
@torch.no_grad()
def test_inputs_and_outputs_on_demand_are_those_of_a_whole_run(monkeypatch, model, found, batches, in_memory, on_disk):
    """Whatever is remembered of the blocks before, in memory or in files: nothing, a part, or all."""
    monkeypatch.setattr(memory, "IN_MEMORY_BYTES", in_memory)
    monkeypatch.setattr(memory, "ON_DISK_BYTES", on_disk)
    runs = BlockRuns(model, model.backbone, found, batches)
    for block in found:
        expected_inputs, expected_outputs = whole_run(model, batches, block.name)
        inputs = runs.inputs(block)
        assert inputs.rows == len(expected_inputs) == sum(len(batch["sample"]) for batch in batches)
        assert torch.equal(inputs.args[0], expected_inputs)
        assert torch.equal(*runs.outputs(block).returned, expected_outputs)
        args, kwargs = inputs.take(torch.tensor([0, 5, 9]))
        output = model.backbone.get_submodule(block.name)(*args, **kwargs)
        assert torch.allclose(output, expected_outputs[[0, 5, 9]], atol=1e-5)


@torch.no_grad()
def test_what_layers_inside_of_a_block_return_is_there_on_demand(model, found, batches):
    runs = BlockRuns(model, model.backbone, found, batches)
    block = next(block for block in found if block.name == "mid_block.resnets.0")
    for outputs in (runs.outputs(block, block.layers), runs.outputs(block, block.layers[:1])):
        for name, values in outputs.inner.items():
            assert torch.equal(values, whole_run(model, batches, name)[1])
    assert list(outputs.inner) == ["mid_block.resnets.0.conv1"]
    assert torch.equal(*outputs.returned, whole_run(model, batches, block.name)[1])


def test_layers_can_be_blocks_of_their_own(model, batches):
    order = execution_order(model, batches[0])
    found = find_blocks(model.backbone, order, "layer")
    assert [block.name for block in found] == order
    assert all(block.layers == (block.name,) and block.kind == "layer" for block in found)


def test_each_block_is_computed_once(model, found, batches):
    calls = {block.name: 0 for block in found}

    def counting(name, forward):
        def run(*args, **kwargs):
            calls[name] += 1
            return forward(*args, **kwargs)

        return run

    for block in found:
        module = model.backbone.get_submodule(block.name)
        module.forward = counting(block.name, module.forward)
    runs = BlockRuns(model, model.backbone, found, batches)
    calls = {block.name: 0 for block in found}
    for block in found:
        runs.inputs(block)
        runs.outputs(block)
    assert set(calls.values()) == {len(batches)}


def test_asking_leaves_the_model_as_it_was(model, found, batches, predict):
    before = predict(model)
    runs = BlockRuns(model, model.backbone, found, batches)
    runs.inputs(found[-1])
    assert torch.equal(predict(model), before)
    assert not any("forward" in vars(module) for module in model.backbone.modules())


@torch.no_grad()
def test_a_block_that_changed_is_run_again_once_forgotten(model, found, batches):
    runs = BlockRuns(model, model.backbone, found, batches)
    first, second = found[0], found[-1]
    before = runs.inputs(second).args[0]
    for parameter in model.backbone.get_submodule(first.name).parameters():
        parameter.mul_(2)
    assert torch.equal(runs.inputs(second).args[0], before)
    runs.forget()
    assert not torch.equal(runs.inputs(second).args[0], before)


def test_a_layer_that_runs_twice_is_in_no_block(audioldm):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once = nn.Linear(4, 4)
            self.twice = nn.Linear(4, 4)

        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            return self.twice(self.twice(self.once(sample)))

    audioldm.backbone = Twice()
    audioldm.call_backbone = lambda inputs: audioldm.backbone(inputs["sample"])
    assert execution_order(audioldm, {"sample": torch.randn(2, 4)}) == ["once"]
