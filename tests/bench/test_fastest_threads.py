"""The number of threads follows what calls take: on a machine that is calculated, whose neighbours come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import nn

from admbench.bench.measurement.fastest_threads import LOOKING, ThreadChoice, fastest_threads


def work(choice: ThreadChoice, seconds: Callable[[int], float], others: float, calls: int) -> tuple[float, list[int]]:
    """Make calls that take `seconds(threads)`; return the time they took and their numbers of threads."""
    first = len(choice.used)
    total = 0.0
    for _ in range(calls):
        count = choice.next
        choice.took(count, seconds(count), others)
        total += seconds(count)
    return total, choice.used[first:]


def idle(count: int) -> float:
    """Of a step on two idle cores: AudioLDM-S."""
    return {2: 0.4, 1: 0.7}[count]


def taken(count: int) -> float:
    """Of the same step while another process has one of them."""
    return {2: 6.0, 1: 0.72}[count]


def test_threads_follow_neighbours_that_come_and_go():
    choice = ThreadChoice(2)
    _, used = work(choice, idle, 0.0, 30)
    assert used[:4] == [2, 2, 1, 1], "each number once unprepared and once more"
    assert Counter(used[4:])[2] >= 25
    spent, used = work(choice, taken, 0.8, 100)
    assert Counter(used)[2] <= 3, "two slow calls are enough, one could be chance; a third was a look"
    assert spent < 1.25 * 100 * taken(1)
    _, used = work(choice, idle, 0.0, 20)
    assert Counter(used)[2] >= 16, "looked at again as soon as the neighbour is gone"


@pytest.mark.parametrize("others", [None, 0.8])
def test_looking_again_costs_no_more_than_its_share(others):
    choice = ThreadChoice(2)
    work(choice, taken, others, 4)
    spent, used = work(choice, taken, others, 2000)
    assert 0 < spent - 2000 * taken(1) <= LOOKING * spent
    assert 1 < Counter(used)[2] < 100


def test_without_word_of_others_a_neighbour_that_left_is_noticed_all_the_same():
    choice = ThreadChoice(2)
    work(choice, taken, None, 500)
    _, used = work(choice, idle, None, 500)
    assert Counter(used[-100:])[2] >= 85


@pytest.mark.parametrize(("most", "fastest"), [(1, 1), (16, 15), (16, 4), (12, 12), (3, 2), (6, 1)])
def test_the_fastest_of_many_numbers_is_found(most, fastest):
    choice = ThreadChoice(most)
    _, used = work(choice, lambda count: 1 + 0.3 * abs(count - fastest), 0.5, 100)
    assert Counter(used).most_common(1)[0][0] == fastest == choice.best
    assert len(choice.counts) <= 6


def test_numbers_that_only_get_slower_are_not_tried():
    choice = ThreadChoice(64)
    _, used = work(choice, lambda count: 64 / count, 0.0, 20)
    assert set(used) == {64, 63, 32}


def test_calls_of_a_module_have_the_threads_and_what_there_was_is_put_back():
    seen: list[int] = []

    class Network(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return x

    network, before = Network(), torch.get_num_threads()
    with fastest_threads(network, 2) as choice:
        for _ in range(6):
            network(torch.zeros(1))
    network(torch.zeros(1))
    assert seen[:4] == [2, 2, 1, 1]
    assert seen[:6] == choice.used
    assert seen[6] == torch.get_num_threads() == before
