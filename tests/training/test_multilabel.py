"""Training on several labels an image: what is learnt, what a run leaves, and that it survives a stop."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from catdog_cli.data.label_lists import LabelForm
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import DataError, InterruptedRunError, SettingsError
from catdog_cli.models.tasks import MULTI_LABEL
from catdog_cli.recipes.build import build_settings
from catdog_cli.runs.checkpoint import build_from_checkpoint
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import lbfgs_head
from catdog_cli.training.reports import ReportWriter
from catdog_cli.training.resume.verify_resume import _choose

from ..label_files import COLOURS, write_csv, write_joined, write_labelled, write_wide
from .runs import Events, differences, load, resume, settings_for, train

LEARNING = Phase("scratch", 12, 3e-3, unfreeze="all", batch_size=8)


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Return a table of 48 images whose labels are joined."""
    return write_joined(tmp_path_factory.mktemp("joined"), 48)


@pytest.fixture(scope="module")
def holey(tmp_path_factory):
    """Return a table of 48 images with a column for each label, every seventh cell empty."""
    return write_wide(tmp_path_factory.mktemp("wide"), 48, unknown=7)


@pytest.fixture(scope="module")
def learnt(holey, tmp_path_factory):
    """Return the directory of a run that has learnt the three colours."""
    run_dir = tmp_path_factory.mktemp("learnt") / "run"
    train(settings_for(holey, LEARNING, head=HeadSpec((), 0.0)), run_dir, ReportWriter())
    return run_dir


def test_a_run_learns_labels_and_says_how_well(learnt):
    last, best = load(learnt), load(learnt, "best.pt")
    rows = last["history"]
    assert {"train_subset_accuracy", "val_map", "val_f1", "val_subset_accuracy", "val_loss"} <= rows[0].keys()
    assert not any("accuracy" in name and "subset" not in name for name in rows[0])
    assert max(row["val_map"] for row in rows) > 0.95
    assert rows[-1]["val_loss"] < math.log(2) / 2
    assert last["best"]["val_map"] == max(row["val_map"] for row in rows)
    assert (last["task"], best["task"]) == ("multi-label", "multi-label")
    assert last["settings"]["phases"][0]["monitor"] == "map"
    assert len(best["thresholds"]) == 3
    model = build_from_checkpoint(best, "best.pt")
    assert model.task is MULTI_LABEL
    assert model.class_names == list(COLOURS)


def test_it_leaves_a_report_and_a_split_that_is_data_again(learnt, holey):
    report = json.loads((learnt / "reports" / "1-scratch" / "report.json").read_text())
    best = load(learnt, "best.pt")
    assert report["map"] == pytest.approx(best["best"]["val_map"])
    assert [row["threshold"] for row in report["classes"].values()] == pytest.approx(best["thresholds"])
    assert "on parts that did not choose them" in report["notes"]["thresholds"]
    page = (learnt / "reports" / "1-scratch" / "report.html").read_text()
    for words in ("mean average precision", "threshold", "Precision and recall"):
        assert words in page
    again = scan_dataset(learnt / "split.csv")
    whole = scan_dataset(holey)
    assert again.has_several_labels
    assert sum(map(len, again.splits.values())) == len(whole)
    for value in (1, -1):
        first, second = (
            sum((split.labels == value).sum() for split in each.splits.values()) for each in (again, whole)
        )
        assert first == second


def test_the_same_seed_gives_the_same_run_and_another_order_of_classes_another_fingerprint(joined, tmp_path):
    phase = Phase("scratch", 2, unfreeze="all", batch_size=7)
    first = train(settings_for(joined, phase), tmp_path / "first")
    again = train(settings_for(joined, phase), tmp_path / "again")
    assert differences(first, again) == []
    assert (tmp_path / "first" / "split.csv").read_bytes() == (tmp_path / "again" / "split.csv").read_bytes()


@pytest.mark.parametrize("more", [{}, {"mixup": 0.4, "label_smoothing": 0.1, "class_weights": "balanced"}])
def test_a_stopped_run_resumes_bit_for_bit(holey, tmp_path, more):
    phase = Phase("scratch", 2, unfreeze="all", batch_size=7, **more)
    straight = train(settings_for(holey, phase), tmp_path / "straight")
    asked = iter([False] * 3 + [True] * 9)
    with pytest.raises(InterruptedRunError):
        train(settings_for(holey, phase), tmp_path / "stopped", should_stop=lambda: next(asked))
    stopped = resume(tmp_path / "stopped")
    assert differences(straight, stopped) == []
    assert differences(*(load(tmp_path / name, "best.pt") for name in ("straight", "stopped"))) == []


def test_a_batch_without_a_known_label_changes_nothing(tmp_path):
    rows = [
        (
            path,
            *("" if number < 14 else int(name in labels) for name in COLOURS),
            "val" if number > 30 else "train",
        )
        for number, (path, labels) in enumerate(write_labelled(tmp_path, 48))
    ]
    data = write_csv(tmp_path / "wide.csv", [("path", *COLOURS, "split"), *rows])
    phase = Phase("scratch", 1, unfreeze="all", batch_size=1)
    last = train(settings_for(data, phase, head=HeadSpec((), 0.0)), tmp_path / "run")
    assert math.isfinite(last["history"][0]["train_loss"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "balanced"}, "--sampler balanced draws every class equally often"),
        ({"monitor": "accuracy"}, "--monitor accuracy has no meaning where a picture has several labels"),
    ],
)
def test_what_has_no_meaning_for_several_labels_is_refused(joined, tmp_path, changes, message):
    with pytest.raises(SettingsError, match=message):
        train(settings_for(joined, Phase("p", 1, **changes)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_map_of_one_class_an_image_is_refused_and_auto_is_accuracy(few, tmp_path):
    with pytest.raises(SettingsError, match="--monitor map is of several labels a picture"):
        train(settings_for(few, Phase("p", 1, monitor="map")), tmp_path / "run")
    last = train(settings_for(few, Phase("p", 1)), tmp_path / "run")
    assert last["settings"]["phases"][0]["monitor"] == "accuracy"
    assert "task" not in last


@pytest.mark.parametrize("monitor", ["map", "loss", "f1", "auc"])
def test_the_best_epoch_is_by_what_is_monitored(joined, tmp_path, monitor):
    phase = Phase("p", 4, 0.01, unfreeze="all", batch_size=8, monitor=monitor)
    last = train(settings_for(joined, phase), tmp_path / "run")
    values = [row[f"val_{monitor}"] for row in last["history"]]
    assert last["best"][f"val_{monitor}"] == (min if monitor == "loss" else max)(values)


def test_data_that_lost_its_labels_does_not_resume(joined, tmp_path):
    train(settings_for(joined, Phase("p", 1, batch_size=8)), tmp_path / "run")
    text = (tmp_path / "run" / "split.csv").read_text().replace("path,labels,unknown,", "path,class,x,")
    rows = [line.split(",") for line in text.splitlines()]
    lines = [",".join([row[0], row[1] or "none", *row[2:]]) for row in rows]
    (tmp_path / "run" / "split.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="no longer says whether pictures have one class or several labels"):
        resume(tmp_path / "run", epochs=2)


def test_the_solved_head_is_a_logistic_regression_of_each_label():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 5))
    labels = (features[:, :3] + rng.normal(size=(120, 3)) > 0.3).astype(np.int8)
    unknown = rng.random((120, 3)) < 0.2
    strength = 0.1
    tensors = torch.tensor(features, dtype=torch.float32), torch.from_numpy(labels)
    weight, bias = lbfgs_head.solve_regression(MULTI_LABEL, *tensors, 3, strength, tolerance=1e-7)
    for c in range(3):
        expected = LogisticRegression(C=1 / (120 * strength), tol=1e-8).fit(features, labels[:, c])
        assert weight[c].numpy() == pytest.approx(expected.coef_[0], abs=2e-3)
        assert bias[c].item() == pytest.approx(expected.intercept_[0], abs=2e-3)
    masked = torch.from_numpy(np.where(unknown, -1, labels).astype(np.int8))
    with_holes, _ = lbfgs_head.solve_regression(MULTI_LABEL, tensors[0], masked, 3, strength)
    moved = tensors[0].clone()
    alone, _ = lbfgs_head.solve_regression(MULTI_LABEL, moved, masked, 3, strength)
    assert torch.equal(with_holes, alone)
    assert (with_holes - weight).abs().max() > 1e-3


def test_folds_hold_out_every_image_once_and_share_rare_labels():
    labels = torch.zeros(60, 2, dtype=torch.int8)
    labels[:10, 0] = 1
    labels[5:40, 1] = 1
    held = lbfgs_head._held_out(labels, seed=1)
    assert torch.stack(held).sum(0).tolist() == [1] * 60
    assert [int((labels[out, 0] == 1).sum()) for out in held] == [2] * 5


def test_the_solved_head_trains_a_run(joined, tmp_path, resnet_file):
    options = {
        "arch": "resnet18",
        "weights": resnet_file,
        "optimizer": "lbfgs",
        "image_size": 32,
        "device": "cpu",
    }
    events = Events()
    last = train(build_settings(str(joined), options), tmp_path / "run", events)
    assert events.of("solved")
    assert 0 < last["history"][0]["train_loss"] < math.log(2)


def test_options_reach_the_scan(tmp_path):
    data = write_joined(tmp_path, 24, " ")
    settings = build_settings(str(data), {"label_delimiter": " ", "label_columns": None})
    assert LabelForm.of(settings) == LabelForm(delimiter=" ")
    listed = build_settings(str(data), {"label_columns": ["a,b", "c"]})
    assert listed.label_columns == '"a,b",c'
    both = build_settings(str(data), {"label_delimiter": " ", "label_columns": "a"})
    with pytest.raises(SettingsError, match=r"--label-delimiter divides one column"):
        train(both, tmp_path / "run")
    last = train(settings_for(data, Phase("p", 1, batch_size=8), label_delimiter=" "), tmp_path / "run")
    assert load(tmp_path / "run", "best.pt")["label_delimiter"] == " "
    assert list(last["class_to_idx"]) == list(COLOURS)


def test_verify_resume_takes_images_of_every_set_of_labels(joined):
    dataset = scan_dataset(joined)
    chosen = _choose(dataset, "all", 16)
    assert len(chosen) == 16
    sets = {tuple(dataset.splits["all"].labels[dataset.splits["all"].paths.index(path)]) for path in chosen}
    assert len(sets) == 8
