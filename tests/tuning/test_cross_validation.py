"""Cross-validation: every picture held out once, look-alikes together, the held-out fold chooses nothing."""

import csv
import json
import shutil

import numpy as np
import pytest

import catdog_cli
from catdog_cli.errors import DataError, InterruptedRunError, SettingsError
from catdog_cli.tuning import cross_validation, fold_run
from catdog_cli.tuning.events import FoldEnded

from ..label_files import write_joined
from .conftest import draw

SCRATCH = {
    "arch": "simple_cnn",
    "weights": "none",
    "image_size": 32,
    "device": "cpu",
    "precision": "fp32",
    "workers": 0,
    "epochs": 2,
}


@pytest.fixture
def solved(squeezenet_file):
    """Return the options of a solved head, which is trained in a moment."""
    common = {"image_size": 64, "device": "cpu", "precision": "fp32"}
    return {"arch": "squeezenet1_1", "weights": squeezenet_file, "optimizer": "lbfgs", **common}


def test_a_solved_head_by_folds(hard, solved, tmp_path):
    events, said = [], []
    found = catdog_cli.cross_validate(
        hard, folds=4, output=tmp_path / "out", listeners=[events.append], log=said.append, **solved
    )
    assert [row["num_train"] for row in found.rows] == [45] * 4
    assert [row["num_measured"] for row in found.rows] == [15] * 4
    assert found.num_samples == 60
    assert np.sum(found.confusion) == 60
    right = np.trace(found.confusion) / 60
    assert found.mean["accuracy"] == pytest.approx(right)
    assert found.deviation["accuracy"] == pytest.approx(np.std([r["accuracy"] for r in found.rows], ddof=1))
    assert found.interval[0] < right < found.interval[1]
    assert sum(isinstance(event, FoldEnded) for event in events) == 4
    assert any("train alone is used; val stay unseen" in text for text in said)

    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["path"] for row in rows}) == len(rows) == 60
    assert np.mean([row["class"] == row["predicted"] for row in rows]) == pytest.approx(right)
    assert all(float(row["probability"]) == max(float(row[f"p({c})"]) for c in "abc") for row in rows)
    document = json.loads((tmp_path / "out" / "cross_validation.json").read_text())
    assert document["mean"] == found.mean
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert report["confusion"] == found.confusion
    assert "deviation" in str(found)
    assert "<td>mean</td>" in found._repr_html_()


def test_it_equals_trainings_on_the_same_folds(hard, solved, tmp_path):
    found = catdog_cli.cross_validate(hard, folds=3, weight_decay=0.1, **solved)
    held = found.fold_of[0] == 0
    split = found.dataset.splits["train"]
    for side, chosen in (("train", ~held), ("val", held)):
        for place in np.flatnonzero(chosen):
            source = hard / split.paths[place]
            target = tmp_path / "fold" / side / source.parent.name / f"{place}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    run = catdog_cli.train(tmp_path / "fold", weight_decay=0.1, output=tmp_path / "run", **solved)
    assert found.rows[0]["accuracy"] == run.best["val_accuracy"]
    assert found.rows[0]["loss"] == pytest.approx(run.best["val_loss"], abs=2e-3)


def test_what_is_held_out_chooses_no_epoch(hard, monkeypatch):
    seen = []
    fit = fold_run.fit

    def spy(setup, *arguments):
        seen.append({name: set(split.paths) for name, split in setup.dataset.splits.items()})
        return fit(setup, *arguments)

    monkeypatch.setattr(fold_run, "fit", spy)
    found = catdog_cli.cross_validate(hard, folds=3, **SCRATCH)
    assert len(seen) == 3
    for parts in seen:
        assert not parts["val"] & parts["test"]
        assert not parts["train"] & (parts["val"] | parts["test"])
        assert len(parts["val"]) in range(6, 11)
    assert set.union(*(parts["test"] for parts in seen)) == set(found.dataset.splits["train"].paths)
    assert [row["num_val"] + row["num_train"] + row["num_measured"] for row in found.rows] == [60] * 3


def test_the_last_epoch_needs_no_validation_pictures(hard):
    found = catdog_cli.cross_validate(hard, folds=3, monitor="last", **SCRATCH)
    assert [(row["num_train"], row["num_val"], row["epoch"]) for row in found.rows] == [(40, 0, 2)] * 3


def test_repeats_have_other_folds_and_the_same_seed_the_same(hard, solved):
    found = catdog_cli.cross_validate(hard, folds=3, repeats=2, **solved)
    assert (found.fold_of[0] != found.fold_of[1]).any()
    assert np.sum(found.confusion) == 120
    assert found.num_samples == 60
    again = catdog_cli.cross_validate(hard, folds=3, repeats=2, **solved)
    assert (again.probabilities == found.probabilities).all()


def test_look_alikes_and_groups_are_on_one_side(tmp_path, solved):
    for label, name in enumerate(("a", "b")):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for animal in range(4):
            for shot in range(3):
                draw(label, 10 * animal + shot).save(folder / f"{animal}_{shot}.png")
        draw(label, 0).resize((64, 64)).save(folder / "copy.png")
    found = catdog_cli.cross_validate(tmp_path / "data", folds=2, group_by=r"([ab]/\d)_", **solved)
    folds = dict(zip(found.dataset.splits["train"].paths, found.fold_of[0], strict=True))
    for name in ("a", "b"):
        for animal in range(4):
            assert len({folds[f"{name}/{animal}_{shot}.png"] for shot in range(3)}) == 1
        assert folds[f"{name}/copy.png"] == folds[f"{name}/0_0.png"]
    assert found.num_groups == 8


def test_several_labels(tmp_path, solved):
    table = write_joined(tmp_path / "data", 30)
    found = catdog_cli.cross_validate(table, folds=3, output=tmp_path / "out", **solved)
    assert found.headline == "map"
    assert found.confusion is None
    assert 0 < found.mean["map"] <= 1
    header = (tmp_path / "out" / "predictions.csv").read_text().splitlines()[0]
    assert header.startswith("repeat,fold,path,labels,p(")
    assert "mAP" in found.summary


@pytest.mark.slow
def test_processes_give_what_one_gives(hard, solved):
    one = catdog_cli.cross_validate(hard, folds=3, jobs=1, **solved)
    two = catdog_cli.cross_validate(hard, folds=3, jobs=2, **solved)
    assert [row["accuracy"] for row in one.rows] == [row["accuracy"] for row in two.rows]
    np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("left", "fold_s", "free", "count"),
    [(10, 60.0, 1e12, 4), (10, 0.1, 1e12, 1), (3, 60.0, 1e12, 3), (10, 60.0, 2.9e9, 2), (10, 60.0, 0, 1)],
)
def test_as_many_processes_as_cores_and_memory_allow(left, fold_s, free, count, hard, monkeypatch):
    monkeypatch.setattr(cross_validation, "usable_cores", lambda: 4)
    monkeypatch.setattr(cross_validation, "available_bytes", lambda: free)
    monkeypatch.setattr(cross_validation, "peak_bytes", lambda: int(1e9))
    settings = cross_validation.build_settings(str(hard), {**SCRATCH, "weights": None, "arch": "resnet18"})
    base = type("Base", (), {"settings": settings, "device": type("Device", (), {"type": "cpu"})})
    trainer = type("Trainer", (), {"base": base})
    assert cross_validation._count_processes(trainer, None, left, fold_s) == count
    assert cross_validation._count_processes(trainer, 2, left, fold_s) == min(2, left)


def test_an_unreadable_picture_is_named_and_left_out(tmp_path, hard, solved):
    shutil.copytree(hard / "train", tmp_path / "data")
    (tmp_path / "data" / "a" / "0.png").write_bytes(b"no picture")
    found = catdog_cli.cross_validate(tmp_path / "data", folds=3, max_bad_fraction=0.1, **solved)
    assert list(found.unreadable) == ["a/0.png"]
    assert found.num_samples == 59


def test_stopped_by_the_user(hard):
    with pytest.raises(InterruptedRunError):
        catdog_cli.cross_validate(hard, folds=3, should_stop=lambda: True, **SCRATCH)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"folds": 1}, SettingsError, "folds is 1"),
        ({"repeats": 0}, SettingsError, "repeats is 0"),
        ({"folds": 61}, DataError, "cannot be divided into 61 folds"),
        ({"group_by": "nothing"}, DataError, "matches none of the paths"),
        ({"jobs": 0}, SettingsError, "jobs is 0"),
    ],
)
def test_what_cannot_be_done_is_said(options, error, match, hard):
    with pytest.raises(error, match=match):
        catdog_cli.cross_validate(hard, **{**SCRATCH, **options})


def test_a_folder_with_a_result_is_not_written_over(hard, tmp_path):
    (tmp_path / "cross_validation.json").write_text("{}")
    with pytest.raises(SettingsError, match="holds a cross-validation already"):
        catdog_cli.cross_validate(hard, output=tmp_path, **SCRATCH)
