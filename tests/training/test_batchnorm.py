"""Running statistics put together from parts are those of the whole batch."""

import copy

import pytest
import torch
from torch import nn

from catdog_cli.models.classifier import build_classifier
from catdog_cli.settings import HeadSpec
from catdog_cli.training.batchnorm import RunningStatistics, count_elements

SIZES = [(3, 5), ()]  # of the maps: height and width in px, or pooled


def make_norm(size, momentum):
    """Return a BatchNorm in training mode that has seen other values before."""
    norm = (nn.BatchNorm2d if size else nn.BatchNorm1d)(4, momentum=momentum)
    norm(3 + 2 * torch.randn(9, 4, *size, generator=torch.Generator().manual_seed(1)))
    return norm


def make_values(number, size, seed=0):
    """Return values whose mean drifts, so that parts differ, and a channel that is far from 0."""
    values = torch.randn(number, 4, *size, generator=torch.Generator().manual_seed(seed))
    values += torch.arange(number).view(-1, *[1] * (values.ndim - 1)) / 4
    values[:, 0] += 100
    return values


def assert_same(norm, whole):
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(norm, name), getattr(whole, name), rtol=1e-5, atol=1e-6)
    assert norm.num_batches_tracked == whole.num_batches_tracked


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("momentum", [0.1, 0.01, None])
@pytest.mark.parametrize("counts", [(6, 6), (2, 7, 3), (12,)])
def test_parts_give_the_statistics_of_the_whole(size, momentum, counts):
    norm, values = make_norm(size, momentum), make_values(12, size)
    whole = copy.deepcopy(norm)
    whole(values)
    statistics = RunningStatistics([norm])
    for part in values.split(counts):
        norm(part)
        statistics.take(len(part), [torch.Size(size).numel()])
    statistics.settle()
    assert_same(norm, whole)


def test_sums_of_two_processes_add_up():
    norms = [make_norm((3, 5), 0.1) for _ in range(2)]
    values, whole = make_values(12, (3, 5)), make_norm((3, 5), 0.1)
    whole(values)
    both = [RunningStatistics([norm]) for norm in norms]
    for norm, statistics, part in zip(norms, both, values.split((7, 5)), strict=True):
        norm(part)
        statistics.take(len(part), [15])
    total = torch._foreach_add(both[0].sums, both[1].sums)
    for norm, statistics in zip(norms, both, strict=True):
        statistics.sums = total
        statistics.settle()
        assert_same(norm, whole)


def test_a_part_of_one_picture_and_none_say_nothing():
    norm, values = make_norm((), 0.1), make_values(6, ())
    untouched, whole = copy.deepcopy(norm), copy.deepcopy(norm)
    whole(values)
    statistics = RunningStatistics([norm])
    statistics.take(1, [1])
    norm(values)
    statistics.take(6, [1])
    statistics.take(0, [0])
    statistics.settle()
    assert_same(norm, whole)
    alone = RunningStatistics([untouched])
    before = untouched.running_mean.clone(), untouched.running_var.clone()
    alone.take(1, [1])
    alone.settle()
    assert torch.equal(untouched.running_mean, before[0])
    assert torch.equal(untouched.running_var, before[1])


def test_elements_are_counted_without_a_trace():
    classifier = build_classifier("simple_cnn", 2, HeadSpec((4,), 0.5))
    classifier.unfreeze("all")
    classifier.train()
    norms = [each for each in classifier.modules() if isinstance(each, nn.BatchNorm2d)]
    stranger, before = nn.BatchNorm1d(3), copy.deepcopy(classifier.state_dict())
    values = torch.zeros(1, 3, 32, 32)
    found = count_elements(classifier, classifier.suffix(0), [*norms, stranger], values)
    assert found == [1024, 256, 64, 16, 4, 0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert all(norm.training and not norm._forward_pre_hooks for norm in norms)
