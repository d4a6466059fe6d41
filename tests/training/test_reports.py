"""The report of each phase: its files, its numbers, and what happens where it cannot be written."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from catdog_cli.cli import run
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import CatdogError
from catdog_cli.models.tasks import SINGLE_LABEL
from catdog_cli.settings import Phase, TrainSettings
from catdog_cli.training.events import PhaseEnded
from catdog_cli.training.reports import write_phase_report
from tests.commands.test_evaluate import FILES
from tests.commands.trained import call, train_tiny
from tests.conftest import write_images

LOGITS = torch.tensor([[2.0, 0.0]] * 6 + [[0.0, 1.0]] * 5 + [[3.0, 0.0]])


@pytest.fixture
def setup(pets):
    """Return the parts of a training's setup that a report looks at."""
    dataset = scan_dataset(pets)
    settings = TrainSettings(str(pets))
    return SimpleNamespace(settings=settings, dataset=dataset, task=SINGLE_LABEL, category_names={})


def make_facts(**changes):
    facts = {"index": 1, "phase": Phase("fine/tune: 2", 3), "best": {"epoch": 2}, "last": True}
    labels = torch.tensor([0] * 6 + [1] * 6)
    return PhaseEnded(**facts | {"logits": LOGITS, "labels": labels, "indices": torch.arange(12)} | changes)


@pytest.mark.plots
def test_every_phase_gets_a_report_that_has_the_numbers_training_printed(capsys, pets, tmp_path):
    run_dir = train_tiny(pets, tmp_path / "run", "--fine-tune-epochs", "2")
    talk = capsys.readouterr().err
    rows = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    folders = sorted((run_dir / "reports").iterdir())
    assert [folder.name for folder in folders] == ["1-scratch", "2-fine-tune"]
    for phase, folder in enumerate(folders):
        assert {path.name for path in folder.iterdir()} == FILES
        found = json.loads((folder / "report.json").read_text())
        epoch = int(found["title"].split("best epoch ")[1].split(",")[0])
        row = next(row for row in rows if (row["phase"], row["epoch"]) == (phase, epoch))
        assert found["accuracy"] == row["val_accuracy"]
        assert found["calibration"]["before"]["loss"] == pytest.approx(row["val_loss"], abs=1e-5)
        assert f"Phase {row['phase_name']!r}, best epoch {epoch}: {found['summary']}" in talk
        assert str(folder / "report.html") in talk


def test_the_report_knows_the_mistakes_and_where_they_are(setup, tmp_path):
    sentence = write_phase_report(setup, tmp_path, make_facts())
    folder = tmp_path / "reports" / "2-fine-tune-2"
    found = json.loads((folder / "report.json").read_text())
    assert sentence.startswith(
        "Phase 'fine/tune: 2', best epoch 2: 11 of 12 pictures (91.7 %) classified correctly."
    )
    assert sentence.endswith(f"Report: {folder / 'report.html'}")
    path = setup.dataset.splits["val"].paths[11]
    assert [item["path"] for item in found["mistakes"]] == [str(setup.dataset.root / path)]
    calibration, labels = found["calibration"], make_facts().labels
    assert calibration["before"]["loss"] == pytest.approx(torch.nn.functional.cross_entropy(LOGITS, labels))
    assert calibration["temperature"] == found["temperature"] != 1
    calibrated = torch.nn.functional.cross_entropy(LOGITS / found["temperature"], labels)
    assert found["loss"] == calibration["after"]["loss"] == pytest.approx(calibrated)
    assert "on parts of them that did not choose it, the loss is" in found["notes"]["probabilities"]


@pytest.mark.parametrize(
    "options", [(), ("--looks", "mirror"), ("--looks", "whole", "--unfreeze", "2", "--fine-tune-epochs", "1")]
)
def test_the_report_of_training_says_what_evaluate_says(capsys, tmp_path, options):
    """Of one checkpoint and the same pictures there is one set of figures: calibrated, and as trained.

    A checkpoint that was trained to average several looks at a picture does so without being asked.
    """
    counts = {f"{split}/{name}": 9 for split in ("train", "val") for name in ("cats", "dogs", "owls")}
    data = write_images(tmp_path / "pets", counts)
    run_dir = train_tiny(data, tmp_path / "run", "--precision", "fp32", *options)
    best = torch.load(run_dir / "best.pt", weights_only=True)
    (report,) = run_dir.glob(f"reports/{best['best']['phase'] + 1}-*/report.json")
    written = json.loads(report.read_text())
    capsys.readouterr()
    code, found, _ = call(capsys, "evaluate", data, run_dir, "--precision", "fp32")
    assert code == 0
    assert written["temperature"] == pytest.approx(found["temperature"], abs=1e-6) != 1
    for name in ("accuracy", "loss", "auc", "brier", "ece", "f1_macro"):
        assert written[name] == pytest.approx(found[name], abs=1e-5), name
    for side in ("before", "after"):
        for name in ("loss", "auc", "brier", "ece"):
            pair = [document["calibration"][side][name] for document in (written, found)]
            assert pair[0] == pytest.approx(pair[1], abs=1e-5), (side, name)
    text = (report.parent / "report.txt").read_text()
    assert found["tta"] == bool(options)
    assert best.get("looks", "once") == (options[1] if options else "once")
    assert ("pictures, each" in written["title"]) == found["tta"]
    for name in ("loss", "area under the ROC curve", "Brier score", r"calibration error \(ECE\)"):
        assert re.search(rf"^{name}, calibrated ", text, re.MULTILINE)
        assert re.search(rf"^{name}, as trained ", text, re.MULTILINE)


def test_unreadable_pictures_keep_the_others_in_their_places(setup, tmp_path):
    places = torch.tensor([0, 11])
    facts = make_facts(logits=LOGITS[places], labels=torch.tensor([0, 1]), indices=places)
    write_phase_report(setup, tmp_path, facts)
    found = json.loads((tmp_path / "reports" / "2-fine-tune-2" / "report.json").read_text())
    assert found["num_samples"] == 2
    assert Path(found["mistakes"][0]["path"]).name == Path(setup.dataset.splits["val"].paths[11]).name


@pytest.mark.parametrize(
    "changes", [{"best": None}, {"labels": torch.tensor([], dtype=torch.int64)}], ids=["no epoch", "none"]
)
def test_without_a_measured_epoch_there_is_no_report(setup, tmp_path, changes):
    assert write_phase_report(setup, tmp_path / "run", make_facts(**changes)) is None
    assert not (tmp_path / "run").exists()


def test_scores_that_are_not_finite_are_no_report(setup, tmp_path):
    with pytest.raises(CatdogError, match="not all finite"):
        write_phase_report(setup, tmp_path, make_facts(logits=LOGITS * np.inf))


def test_training_goes_on_where_a_report_cannot_be_written(capsys, pets, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "reports").write_text("mine")
    train_tiny(pets, tmp_path / "run")
    talk = capsys.readouterr().err
    assert "Warning: no report of phase 'scratch': Cannot write the picture" in talk
    assert (tmp_path / "run" / "best.pt").exists()
    assert (tmp_path / "run" / "reports").read_text() == "mine"
    assert run(["evaluate", str(pets), str(tmp_path / "run")]) == 0
