"""What outputs mean: losses, weights and answers of several labels, and that unknown ones count nowhere."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from catdog_cli.models.tasks import MULTI_LABEL, SINGLE_LABEL, TASKS, task_of

LABELS = torch.tensor([[1, 0, -1], [0, 1, 1], [0, 0, 0]], dtype=torch.int8)
LOGITS = torch.tensor([[2.0, -1.0, 5.0], [0.5, 3.0, -2.0], [-1.0, -2.0, 0.1]])


def test_the_loss_is_binary_cross_entropy_over_what_is_known():
    known = LABELS >= 0
    expected = F.binary_cross_entropy_with_logits(LOGITS[known], LABELS[known].float())
    assert MULTI_LABEL.loss(LOGITS, LABELS) == pytest.approx(expected.item())
    summed = MULTI_LABEL.loss(LOGITS, LABELS, reduction="sum")
    assert summed.item() / MULTI_LABEL.loss_weight(LABELS, None) == pytest.approx(expected.item())
    moved = LOGITS.clone()
    moved[0, 2] = -100.0  # an unknown cell
    assert MULTI_LABEL.loss(moved, LABELS) == MULTI_LABEL.loss(LOGITS, LABELS)


def test_unknown_labels_give_no_gradient_even_when_mixed():
    logits = LOGITS.clone().requires_grad_()
    targets = MULTI_LABEL.soft_targets(LABELS, 3)
    mixed = 0.7 * targets + 0.3 * targets[[2, 0, 1]]
    MULTI_LABEL.loss(logits, mixed, torch.tensor([2.0, 1.0, 1.0]), 0.1).backward()
    unknown = torch.isnan(mixed)
    assert unknown.tolist() == [[False, False, True], [False, False, True], [False, False, False]]
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[unknown] == 0).all()
    assert (logits.grad[~unknown] != 0).all()


def test_weights_make_up_for_rare_labels():
    labels = np.array([[1, 0], [0, 0], [0, -1], [0, 1]], dtype=np.int8)
    assert MULTI_LABEL.balanced_weights(labels, 2).tolist() == [3.0, 2.0]
    weights = torch.tensor([3.0, 2.0])
    loss = MULTI_LABEL.loss(torch.zeros(4, 2), torch.from_numpy(labels), weights, reduction="sum")
    assert loss.item() == pytest.approx(math.log(2) * (3 + 3 + 2 + 2))  # both sides alike


def test_single_label_weights_are_inverse_to_the_counts():
    weights = SINGLE_LABEL.balanced_weights(np.array([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert weights.dtype == np.float32


def test_smoothing_pulls_towards_a_half():
    target = torch.tensor([[1.0, 0.0]])
    smooth = MULTI_LABEL.loss(torch.tensor([[1.0, 1.0]]), target, label_smoothing=0.2)
    expected = F.binary_cross_entropy_with_logits(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.9, 0.1]]))
    assert smooth.item() == pytest.approx(expected.item())


def test_answers_and_losses_of_arrays_agree_with_torch():
    logits, labels = LOGITS.double().numpy(), LABELS.numpy()
    probabilities = MULTI_LABEL.probabilities(logits, 2.0)
    assert probabilities == pytest.approx((LOGITS.double() / 2).sigmoid().numpy())
    assert MULTI_LABEL.probabilities(np.array([[-1e4, 1e4]])).tolist() == [[0.0, 1.0]]  # no overflow
    found = MULTI_LABEL.label_losses(logits, labels, 2.0)
    cells = F.binary_cross_entropy_with_logits(
        LOGITS.double() / 2, LABELS.double().clamp_min(0), reduction="none"
    )
    assert found == pytest.approx((cells * (LABELS >= 0)).sum(1).numpy())
    means = MULTI_LABEL.log_losses(probabilities, labels)
    assert means == pytest.approx(found / (labels >= 0).sum(1))


def test_an_image_is_right_if_none_of_its_known_labels_is_wrong():
    assert MULTI_LABEL.num_correct(LOGITS, LABELS).item() == 1  # the unknown third of the first is no mistake
    right = MULTI_LABEL.is_right(MULTI_LABEL.probabilities(LOGITS.numpy()), LABELS.numpy())
    assert right.tolist() == [True, False, False]


def test_logits_of_probabilities_are_those_that_made_them():
    found = MULTI_LABEL.logits_of(MULTI_LABEL.activate(LOGITS))
    assert torch.allclose(found, LOGITS, atol=1e-5)
    assert torch.isfinite(MULTI_LABEL.logits_of(torch.tensor([[0.0, 1.0]]))).all()


def test_tasks_are_found_by_name_and_data():
    assert TASKS == {"single-label": SINGLE_LABEL, "multi-label": MULTI_LABEL}
    assert (task_of(True), task_of(False)) == (MULTI_LABEL, SINGLE_LABEL)
    assert MULTI_LABEL.chance_loss(20) == pytest.approx(math.log(2))
    assert SINGLE_LABEL.chance_loss(20) == pytest.approx(math.log(20))
