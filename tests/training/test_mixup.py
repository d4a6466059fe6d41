"""Mixup and cutmix: what the pictures and the targets become."""

import pytest
import torch

from catdog_cli.models.tasks import SINGLE_LABEL
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training.mixup import mix_batch

from .runs import settings_for, train

LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])


def flat_pictures():
    """Return pictures (8, 3, 16, 16) whose every pixel is their number."""
    return torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16).clone()


def mixed(seed, values, **alphas):
    torch.manual_seed(seed)
    return mix_batch(values, LABELS, 3, SINGLE_LABEL, Phase("p", 1, **alphas))


def test_nothing_is_mixed_unless_asked():
    values, targets = mix_batch(flat_pictures(), LABELS, 3, SINGLE_LABEL, Phase("p", 1))
    assert torch.equal(values, flat_pictures())
    assert torch.equal(targets, LABELS)


@pytest.mark.parametrize("seed", range(8))
def test_mixup_blends_pictures_and_targets_by_one_share(seed):
    values, targets = mixed(seed, flat_pictures(), mixup=1.0)
    assert values.std((1, 2, 3)).max() == 0  # the same share everywhere in a picture
    assert torch.allclose(targets.sum(1), torch.ones(8))
    torch.manual_seed(seed)
    order = torch.randperm(8)
    for place in range(8):
        other = order[place].item()
        if other != place:
            share = ((values[place, 0, 0, 0] - other) / (place - other)).item()
            expected = torch.zeros(3)
            expected[LABELS[place]] += share
            expected[LABELS[other]] += 1 - share
            assert torch.allclose(targets[place], expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_pastes_a_rectangle_and_counts_its_pixels(seed):
    values, targets = mixed(seed, flat_pictures(), cutmix=1.0)
    torch.manual_seed(seed)
    order = torch.randperm(8)
    for place in range(8):
        found = set(values[place].unique().tolist())
        assert found <= {float(place), float(order[place])}  # pasted, not blended
        share = (values[place] == place).float().mean()
        expected = torch.zeros(3)
        expected[LABELS[place]] += share
        expected[LABELS[order[place]]] += 1 - share
        assert torch.allclose(targets[place], expected, atol=1e-5)


def test_with_both_each_batch_takes_one_of_them():
    kinds = set()
    for seed in range(12):
        values, _ = mixed(seed, flat_pictures(), mixup=1.0, cutmix=1.0)
        kinds.add("cutmix" if torch.equal(values, values.round()) else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_cutmix_of_pooled_features_mixes_them_up():
    values, targets = mixed(1, torch.arange(8.0).view(8, 1).expand(8, 5), cutmix=1.0)
    assert values.shape == (8, 5)
    assert not torch.equal(values, values.round())
    assert ((targets > 0).sum(1) == 2).any()


@pytest.mark.parametrize("option", ["mixup", "cutmix", "label_smoothing"])
@pytest.mark.parametrize("unfreeze", [0, "all"], ids=["features", "pictures"])
def test_training_on_mixed_targets_is_less_sure(few, tmp_path, option, unfreeze):
    losses = {}
    epochs, rate = (4, 0.01) if unfreeze else (25, 1.0)  # random features need more steps
    for value in (0.0, 0.4):
        phase = Phase("p", epochs, rate, unfreeze=unfreeze, batch_size=6, **{option: value})
        last = train(settings_for(few, phase, head=HeadSpec((), 0.0)), tmp_path / str(value))
        losses[value] = last["history"][-1]["train_loss"]
    assert losses[0.4] > losses[0.0] + 0.05
