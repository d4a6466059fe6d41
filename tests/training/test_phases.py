"""What trains in which phase, where a phase starts from, when it stops, and which epoch is its best."""

import pytest
import torch

from catdog_cli.errors import SettingsError
from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import run
from catdog_cli.training.checkpointing import better

from .runs import Events, load, settings_for, train


def changed(before, after) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def trained(few, resnet_file, tmp_path_factory):
    """Return what a resnet18 with given weights was before and after one epoch each of five recipes."""
    recipes = {
        "start": (Phase("p", 0),),
        "head": (Phase("head", 1, 1e-2, batch_size=6),),
        "last 3": (Phase("some", 1, 1e-2, unfreeze=3, batch_size=6),),
        "all": (Phase("all", 1, 1e-3, unfreeze="all", batch_size=6),),
    }
    folder = tmp_path_factory.mktemp("trained")
    return {
        name: train(settings_for(few, *phases, arch="resnet18", weights=resnet_file), folder / name)[
            "state_dict"
        ]
        for name, phases in recipes.items()
    }


def test_frozen_backbone_keeps_every_bit(trained):
    """BatchNorm's running statistics and counters included, which train mode would move."""
    found = changed(trained["start"], trained["head"])
    fitted = {"head.norm.mean", "head.norm.std"}  # before the first epoch, so in "start" too
    assert found == {name for name in trained["start"] if name.startswith("head.")} - fitted
    assert trained["head"]["head.norm.mean"].any()


def test_given_weights_are_where_training_starts(trained, resnet_file):
    given = torch.load(resnet_file, weights_only=True)
    for name, tensor in given.items():
        if not name.startswith("fc."):
            assert torch.equal(trained["head"][f"backbone.{name}"], tensor)


def test_last_layers_change_and_nothing_before_them(trained):
    """The last three layers of resnet18 are conv2 and bn2 of its last block, and the pool."""
    found = changed(trained["start"], trained["last 3"])
    backbone = {name for name in found if name.startswith("backbone.")}
    last = ("backbone.layer4.1.conv2.", "backbone.layer4.1.bn2.")
    assert backbone == {name for name in trained["start"] if name.startswith(last)}


def test_everything_unfrozen_changes_everything(trained):
    found = changed(trained["start"], trained["all"])
    assert {name for name in trained["start"] if name.startswith("backbone.")} <= found


def test_from_scratch_everything_changes(few, tmp_path):
    states = [
        train(settings_for(few, Phase("s", n, 1e-2, unfreeze="all")), tmp_path / str(n))["state_dict"]
        for n in (0, 1)
    ]
    still = {"head.norm.mean", "head.norm.std"}  # without known features there is nothing to standardise by
    assert changed(*states) == set(states[0]) - still


def test_more_layers_than_there_are_is_an_error(few, tmp_path):
    with pytest.raises(SettingsError, match=r"unfreeze is 99, but simple_cnn has \d+ layers"):
        train(settings_for(few, Phase("p", 1, unfreeze=99)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_phase_starts_from_the_best_of_the_one_before(few, tmp_path):
    """A rate that ruins the second epoch: phase two must start from the good first one."""
    wild = Phase("wild", 2, 0.05, unfreeze="all", optimizer="sgd", batch_size=3, monitor="loss", patience=0)
    frozen = Phase("still", 1, 0.0, batch_size=3, monitor="loss")
    last = train(settings_for(few, wild, frozen, head=HeadSpec((), 0.0)), tmp_path / "run")
    rows = last["history"]
    best = min(rows[:2], key=lambda row: row["val_loss"])
    assert best is not rows[1], "the second epoch must be a bad one for this test to tell anything"
    assert rows[2]["val_loss"] == pytest.approx(best["val_loss"], rel=1e-4)


def test_each_phase_has_a_fresh_optimizer_and_its_own_best(few, tmp_path):
    first = Phase("head", 2, 1e-2, batch_size=3)
    second = Phase("fine-tune", 2, 1e-30, unfreeze="all", batch_size=3, optimizer="sgd")
    events = Events()
    last = train(settings_for(few, first, second), tmp_path / "run", events)
    ends = events.of("phase_end")
    assert [end["best"]["phase"] for end in ends] == [0, 1]
    assert [end["last"] for end in ends] == [False, True]
    assert all("momentum_buffer" in state for state in last["optimizer"]["state"].values())
    assert [row["phase_name"] for row in last["history"]] == ["head", "head", "fine-tune", "fine-tune"]
    assert [row["epoch"] for row in last["history"]] == [1, 2, 1, 2]
    assert last["best"]["val_accuracy"] == max(row["val_accuracy"] for row in last["history"])


def test_second_phase_of_adam_does_not_go_on_with_the_first_ones_moments(few, tmp_path):
    phases = (Phase("one", 2, 1e-2, batch_size=6), Phase("two", 1, 1e-2, batch_size=6))
    last = train(settings_for(few, *phases), tmp_path / "run")
    assert {state["step"].item() for state in last["optimizer"]["state"].values()} == {2.0}


def test_patience_stops_a_phase_and_the_next_one_goes_on(few, tmp_path):
    stuck = Phase("stuck", 9, 0.0, batch_size=6, patience=2)
    then = Phase("then", 1, 1e-2, batch_size=6, patience=2)
    events = Events()
    history = train(settings_for(few, stuck, then), tmp_path / "run", events)["history"]
    assert [row["phase_name"] for row in history] == ["stuck"] * 3 + ["then"]
    assert events.of("early_stop") == [{"phase": "stuck", "epoch": 3, "patience": 2}]


def test_small_gains_do_not_count_as_patience_sees_it(few, tmp_path):
    lengths = {}
    for delta in (0.0, 10.0):
        phase = Phase("p", 6, 1e-3, unfreeze="all", batch_size=6, patience=2, monitor="loss", min_delta=delta)
        history = train(settings_for(few, phase, seed=1), tmp_path / str(delta))["history"]
        lengths[delta] = len(history)
    assert lengths[10.0] == 3
    assert lengths[0.0] > 3


@pytest.mark.parametrize("monitor", ["accuracy", "loss", "f1", "auc"])
def test_best_is_by_what_is_monitored(few, tmp_path, monitor):
    phase = Phase("p", 6, 0.05, unfreeze="all", optimizer="sgd", batch_size=3, monitor=monitor)
    last = train(settings_for(few, phase), tmp_path / "run")
    rows = last["history"]
    key = f"val_{monitor}"
    best = (min if monitor == "loss" else max)(row[key] for row in rows)
    assert last["best"][key] == best
    equal = [row for row in rows if row[key] == best]
    assert last["best"]["epoch"] == min(equal, key=lambda row: row["val_loss"])["epoch"]
    assert load(tmp_path / "run", "best.pt")["best"] == last["best"]


@pytest.mark.parametrize(
    ("row", "best", "monitor", "delta", "expected"),
    [
        ((0.9, 0.3), (0.8, 0.2), "accuracy", 0.0, True),
        ((0.9, 0.3), (0.8, 0.2), "loss", 0.0, False),
        ((0.8, 0.1), (0.8, 0.2), "accuracy", 0.0, True),  # of two equal ones the lower loss
        ((0.8, 0.3), (0.8, 0.2), "accuracy", 0.0, False),
        ((0.82, 0.1), (0.8, 0.2), "accuracy", 0.05, False),
        ((0.8, 0.1), (0.8, 0.2), "accuracy", 0.05, False),
        ((0.5, 0.1), (0.8, float("nan")), "loss", 0.0, True),
        ((0.5, float("nan")), (0.8, 0.2), "loss", 0.0, False),
    ],
)
def test_better(row, best, monitor, delta, expected):
    rows = [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in (row, best)]
    assert better(*rows, monitor, delta) is expected
    assert better(rows[0], None, monitor, delta) is True


def test_best_checkpoint_gives_the_accuracy_that_the_history_says(few, tmp_path):
    from catdog_cli.images.transforms import load_image, normalise
    from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint

    phase = Phase("p", 3, 1e-2, unfreeze="all", batch_size=3)
    result = run.train(settings_for(few, phase), tmp_path / "run", Events())
    loaded = build_from_checkpoint(load_checkpoint(tmp_path / "run"), "best.pt")
    losses = []
    for label, name in enumerate(loaded.class_names):
        for path in sorted((few / "val" / name).iterdir()):
            image = normalise(load_image(path, loaded.input_spec)[None], loaded.input_spec)
            losses.append(-loaded.classifier(image).log_softmax(1)[0, label].item())
    assert sum(losses) / len(losses) == pytest.approx(result.best["val_loss"], rel=1e-3)


def test_each_phase_leaves_its_best_checkpoint(pets, tmp_path):
    phases = (Phase("a/b c", 2, 1e-2, batch_size=7), Phase("all", 1, 1e-3, unfreeze="all", batch_size=7))
    last = train(settings_for(pets, *phases), tmp_path / "run")
    for name, number in (("best-1-a-b-c.pt", 0), ("best-2-all.pt", 1)):
        content = load_checkpoint(tmp_path / "run" / name)
        build_from_checkpoint(content, name)
        rows = [row for row in last["history"] if row["phase"] == number]
        assert content["best"]["val_accuracy"] == max(row["val_accuracy"] for row in rows)
