"""The whole search on tiny pictures: what it leaves; kills change nothing, nor do validation pictures."""

import json
import shutil
import tomllib

import numpy as np
import pytest
import torch

import catdog_cli
from catdog_cli.errors import CatdogError, InterruptedRunError, SettingsError
from catdog_cli.models.zoo import timm_source
from catdog_cli.tuning import api, fine_tuning, request
from catdog_cli.tuning.events import SearchPlanned, StageStarted, TrialEnded
from catdog_cli.tuning.result import TuneResult
from catdog_cli.tuning.search import Search

from ..label_files import write_joined


@pytest.fixture(scope="module")
def found(hard, squeezenet_file, tmp_path_factory):
    """Return a finished small search and the events that it sent."""
    folder, events = tmp_path_factory.mktemp("search"), []
    options = small(squeezenet_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATDOG_CACHE", str(folder / "cache"))
        result = catdog_cli.tune(hard, output=folder / "run", listeners=[events.append], **options)
    return result, events


def small(squeezenet_file, **changes):
    space = {
        "stages": ["solved", "heads"],
        "looks": ["once", "mirror"],
        "augment": "none",
        "hidden_layers": [[8], [16]],
        "l2": [0.01, 0.1],
        "batch_size": [8, 16],
        "epochs": {"low": 1, "high": 4},
        **changes.pop("space", {}),
    }
    common = {
        "image_size": 64,
        "device": "cpu",
        "precision": "fp32",
        "budget": "10m",
        "trials": 4,
        "folds": 3,
    }
    return {"arch": "squeezenet1_1", "weights": squeezenet_file, "space": space, **common, **changes}


def trials_of(run_dir, metric="accuracy"):
    """Return (stage, number, params, score, metric) of all trials in a journal, as Optuna itself reads it."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(run_dir / "tuning" / "journal.log"))
    storage = optuna.storages.JournalStorage(backend)
    found = []
    for stage in ("solved", "heads", "fine-tune"):
        for trial in optuna.load_study(study_name=stage, storage=storage).get_trials():
            attrs = trial.user_attrs
            found.append((stage, trial.number, attrs.get("params"), trial.values, attrs.get(metric)))
    return found


def test_a_run_directory_like_any_other(found):
    result, _ = found
    names = {path.name for path in result.run_dir.iterdir()}
    assert {
        "best.pt",
        "last.pt",
        "settings.json",
        "split.csv",
        "history.jsonl",
        "curves.png",
        "reports",
    } <= names
    assert {"tuned.toml", "tuning.html", "tuning"} <= names
    assert result.num_trials == 8  # twice two strengths, four heads
    assert catdog_cli.evaluate(
        result.run_dir, json.loads((result.run_dir / "settings.json").read_text())["data"]
    )
    assert TuneResult.from_dict(result.to_dict(), result.run_dir) == result
    assert "Cross-validated accuracy" in str(result)
    assert "<div>" in result._repr_html_()


def test_the_figures_belong_together(found):
    result, _ = found
    best = max(trials_of(result.run_dir), key=lambda trial: trial[3][0] if trial[3] else -1)
    assert result.params == best[2]
    assert result.cross_validated == best[4]
    measured = catdog_cli.evaluate(
        result.checkpoint, json.loads((result.run_dir / "settings.json").read_text())["data"]
    )
    assert measured.accuracy == result.validation
    low, high = result.validation_interval
    assert low < result.validation < high
    assert result.flattery["corrected"] == pytest.approx(result.cross_validated - result.flattery["by"])
    assert result.gap["value"] == pytest.approx(result.cross_validated - result.validation)


def test_the_recipe_trains_the_same_again(found, hard, tmp_path):
    result, _ = found
    recipe = tomllib.loads(result.recipe.read_text())
    assert recipe["arch"] == "squeezenet1_1"
    again = catdog_cli.train(
        hard, recipe=str(result.recipe), output=tmp_path / "again", device="cpu", precision="fp32"
    )
    states = [
        torch.load(path, weights_only=True)["state_dict"] for path in (result.checkpoint, again.checkpoint)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_events_tell_of_the_plan_the_stages_and_each_trial(found):
    _, events = found
    plan = next(event for event in events if isinstance(event, SearchPlanned))
    assert [row[0] for row in plan.rows] == ["solved heads", "hidden layers", "training"]
    assert next(event.name for event in events if isinstance(event, StageStarted)) == "solved heads"
    told = {(event.stage, event.number) for event in events if isinstance(event, TrialEnded)}
    assert len(told) == 8


def test_the_page_says_all_of_it(found):
    result, _ = found
    page = result.page.read_text()
    for text in (
        "How sure that is",
        "the same, corrected",
        "validation pictures",
        "What mattered",
        "[[phase]]",
    ):
        assert text in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page


def test_validation_pictures_change_no_trial(hard, found, squeezenet_file, tmp_path):
    """Others in val, and others labels for them: the same trials, the same scores, the same best."""
    result, _ = found
    shutil.copytree(hard, tmp_path / "data")
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        (tmp_path / "data" / "val" / old).rename(tmp_path / "data" / "val" / new)
    other = catdog_cli.tune(tmp_path / "data", output=tmp_path / "run", **small(squeezenet_file))
    assert trials_of(other.run_dir) == trials_of(result.run_dir)
    assert other.validation != result.validation


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_again_and_again_it_ends_with_the_same_best_trial(hard, found, squeezenet_file, tmp_path):
    result, _ = found
    options = {"output": tmp_path / "run", **small(squeezenet_file)}
    kills = 0
    while True:
        left = 5 + 6 * kills

        def listen(event):
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError

        try:
            catdog_cli.tune(hard, listeners=[listen], **options)
            break
        except KilledError:
            kills += 1
        except CatdogError:  # killed behind the end
            break
    other = api.read_result(tmp_path / "run")
    assert kills >= 4
    assert trials_of(other.run_dir) == trials_of(result.run_dir)
    assert (other.stage, other.params) == (result.stage, result.params)
    states = [torch.load(each.checkpoint, weights_only=True)["state_dict"] for each in (result, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_stopped_and_resumed(hard, found, squeezenet_file, tmp_path):
    result, _ = found
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) > 12

    with pytest.raises(InterruptedRunError, match="catdog tune --resume"):
        catdog_cli.tune(hard, output=tmp_path / "run", should_stop=should_stop, **small(squeezenet_file))
    other = catdog_cli.tune(resume=tmp_path / "run")
    assert (other.stage, other.params) == (result.stage, result.params)
    with pytest.raises(CatdogError, match="has ended"):
        catdog_cli.tune(resume=tmp_path / "run")


def test_a_search_that_was_asked_something_else_is_not_joined(hard, found, squeezenet_file, tmp_path):
    with pytest.raises(InterruptedRunError):
        catdog_cli.tune(hard, output=tmp_path / "run", should_stop=lambda: True, **small(squeezenet_file))
    with pytest.raises(SettingsError, match="asked something else"):
        catdog_cli.tune(hard, output=tmp_path / "run", **small(squeezenet_file, trials=5))


def test_changed_pictures_are_refused(hard, squeezenet_file, tmp_path):
    shutil.copytree(hard, tmp_path / "data")
    options = {"output": tmp_path / "run", **small(squeezenet_file)}
    with pytest.raises(InterruptedRunError):
        catdog_cli.tune(tmp_path / "data", should_stop=lambda: True, **options)
    shutil.copy(tmp_path / "data/train/a/0.png", tmp_path / "data/train/a/new.png")
    (tmp_path / "data/train/b/0.png").unlink()
    with pytest.raises(CatdogError, match="have changed since the search"):
        catdog_cli.tune(tmp_path / "data", **options)


def test_partial_fine_tuning_by_successive_halving(hard, squeezenet_file, tmp_path):
    space = {
        "stages": ["solved", "fine-tune"],
        "blocks": [1, 2],
        "fine_tune_epochs": [1],
        "fine_tune_augment": ["none"],
        "fine_tune_learning_rate": {"low": 1e-4, "high": 1e-2},
        "l2": [0.1],
        "looks": "once",
    }
    events: list = []
    result = catdog_cli.tune(
        hard, output=tmp_path / "run", listeners=[events.append], **small(squeezenet_file, space=space)
    )
    tuned = [trial for trial in trials_of(result.run_dir) if trial[0] == "fine-tune"]
    assert len(tuned) == 4
    assert tuned[0][2]["blocks"] in (1, 2)
    named = [event.name for event in events if isinstance(event, StageStarted)]
    assert named == ["solved heads", "fine-tuning", "training"]


def test_a_fine_tuned_network_is_trained_as_its_trial_was(hard, squeezenet_file, tmp_path, monkeypatch):
    """Where fine-tuning wins, the last training has both phases, and keeps its last epoch."""
    monkeypatch.setattr(fine_tuning, "_goes_on", lambda *arguments: True)
    judge = Search.judge
    monkeypatch.setattr(
        Search, "judge", lambda self, probabilities: _raised(judge(self, probabilities), self)
    )
    space = {
        "stages": ["solved", "fine-tune"],
        "blocks": 1,
        "fine_tune_epochs": [2],
        "l2": [0.1],
        "looks": "once",
    }
    space |= {"fine_tune_augment": "none", "fine_tune_learning_rate": [1e-3], "ema": 0.0, "layer_decay": 1.0}
    options = small(squeezenet_file, space=space, trials=1)
    result = catdog_cli.tune(hard, output=tmp_path / "run", **options)
    assert result.stage == "fine-tune"
    recipe = tomllib.loads(result.recipe.read_text())
    assert [phase["name"] for phase in recipe["phase"]] == ["head", "fine-tune"]
    assert recipe["phase"][1]["monitor"] == "last"
    rows = [json.loads(line) for line in (result.run_dir / "history.jsonl").read_text().splitlines()]
    assert [(row["phase_name"], row["epoch"]) for row in rows] == [
        ("head", 1),
        ("fine-tune", 1),
        ("fine-tune", 2),
    ]
    best = torch.load(result.checkpoint, weights_only=True)["best"]
    assert (best["phase_name"], best["epoch"]) == ("fine-tune", 2)


def _raised(judged, search):
    """Return a judgement that is the better, the more trials have ended: the last one wins."""
    return judged[0] + search.ended, judged[1]


def test_several_labels_by_map(squeezenet_file, tmp_path):
    table = write_joined(tmp_path / "data", 40)
    result = catdog_cli.tune(table, output=tmp_path / "run", **small(squeezenet_file, trials=1))
    assert result.metric == "map"
    assert 0 < result.cross_validated <= 1
    assert result.validation is not None
    assert "mAP" in result.page.read_text()


@pytest.mark.parametrize("metric", ["loss", "f1", "auc"])
def test_other_metrics(metric, hard, squeezenet_file, tmp_path):
    space = {"stages": ["solved"], "looks": "once"}
    result = catdog_cli.tune(
        hard, output=tmp_path / "run", metric=metric, **small(squeezenet_file, space=space)
    )
    values = [trial[4] for trial in trials_of(result.run_dir, metric)]
    assert result.cross_validated == (min if metric == "loss" else max)(values)
    assert result.flattery is not None


def test_time_is_kept_and_too_little_is_said(hard, squeezenet_file, tmp_path):
    options = small(squeezenet_file, budget="25s", trials=None)
    result = catdog_cli.tune(hard, output=tmp_path / "run", **options)
    assert result.seconds < 40  # 25 where nobody else has the cores
    assert result.num_trials > 8
    with pytest.raises(CatdogError, match=r"before one trial was scored|give a --budget of at least"):
        catdog_cli.tune(hard, output=tmp_path / "none", age_s=600.0, **small(squeezenet_file))


def test_a_budget_that_cannot_do_is_refused_before_it_is_spent(hard, squeezenet_file, tmp_path, monkeypatch):
    monkeypatch.setattr(api.FeatureBank, "cost_s", lambda self, sight: 1500.0)
    with pytest.raises(CatdogError, match=r"takes about 1500 s .* give a --budget of at least 26m"):
        catdog_cli.tune(hard, output=tmp_path / "run", **small(squeezenet_file))


@pytest.mark.parametrize("place", ["append", "answers"])
def test_a_full_disk_is_said_and_loses_nothing(hard, found, squeezenet_file, tmp_path, monkeypatch, place):
    from optuna.storages.journal import JournalFileBackend

    result, _ = found
    options = {"output": tmp_path / "run", **small(squeezenet_file)}
    calls = []

    def fail_later(real):
        def write(*arguments, **named):
            calls.append(1)
            if len(calls) > 2:
                raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return write

    with monkeypatch.context() as patch:
        if place == "append":
            patch.setattr(JournalFileBackend, "append_logs", fail_later(JournalFileBackend.append_logs))
        else:
            patch.setattr(np, "save", fail_later(np.save))
        with pytest.raises(CatdogError, match=r"No space left on device.*catdog tune --resume"):
            catdog_cli.tune(hard, **options)
    assert trials_of(catdog_cli.tune(hard, **options).run_dir) == trials_of(result.run_dir)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 3}, "--epochs is what a search finds"),
        ({"recipe": "best"}, "--recipe is what a search finds"),
        ({"budget": "soon"}, "must be a time"),
        ({"metric": "map"}, "of several labels a picture"),
        ({"metric": "kappa"}, "must be one of"),
        ({"trials": 0}, "trials is 0"),
        ({"folds": 1}, "folds is 1"),
        ({"arch": "resnet18,resnet18"}, "names a network twice"),
        ({"arch": "resnet99", "weights": "x.pth"}, "No weights file 'x.pth'|Unknown arch"),
        ({"weights": "none"}, "networks that have learnt to see"),
        ({"weights": "a.pth,b.pth"}, "No weights file"),
        (
            {"arch": "resnet18,mobilenet_v2", "weights": ["a.pth", "b.pth", "c.pth"]},
            "are 3, but --arch names 2",
        ),
        ({"arch": None}, "--weights belongs to networks"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, match, hard, squeezenet_file, tmp_path):
    with pytest.raises(CatdogError, match=match):
        catdog_cli.tune(hard, output=tmp_path / "run", **{**small(squeezenet_file), **changes})
    assert not (tmp_path / "run" / "best.pt").exists()


def test_networks_at_hand_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(timm_source, "packaged_path", lambda arch: None)
    assert request.archs_at_hand() == []
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "mobilenet_v2-7ebf99e0.pth").write_bytes(b"")
    assert request.archs_at_hand() == ["mobilenet_v2"]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="No weights of a network are on this machine"):
        request.pick_networks(None, None)


def test_a_second_process_joins_and_gets_the_same_result(found, hard, squeezenet_file):
    """Whoever comes to the end second reads what the first one has written."""
    result, _ = found
    assert api.read_result(result.run_dir) == result


def test_scores_are_those_of_the_network_that_is_trained(found, hard):
    """The best trial, by the ordinary way to cross-validate its recipe: nearly the same figure."""
    result, _ = found
    checked = catdog_cli.cross_validate(
        hard, recipe=str(result.recipe), folds=3, device="cpu", precision="fp32"
    )
    assert checked.mean["accuracy"] == pytest.approx(result.cross_validated, abs=0.12)
    assert np.isfinite(checked.mean["loss"])


@pytest.mark.real
@pytest.mark.slow
def test_real_photographs_within_a_minute(shared, tmp_path):
    """140 to train, 60 to measure: a network of the two is found that knows nearly all of them."""
    for split, count in (("train", 70), ("val", 30)):
        for name in ("cats", "dogs"):
            target = tmp_path / "data" / split / name
            target.mkdir(parents=True)
            for path in sorted((shared / "data/cats_dogs" / split / name).iterdir())[:count]:
                shutil.copy(path, target)
    weights = [shared / "weights" / f"{arch}-imagenet.pth" for arch in ("mobilenet_v2", "squeezenet1_1")]
    result = catdog_cli.tune(
        tmp_path / "data",
        budget="60s",
        arch="squeezenet1_1,mobilenet_v2",
        weights=[str(path) for path in reversed(weights)],
        output=tmp_path / "run",
    )
    assert result.validation >= 0.9
    assert result.seconds < 90  # 60 where nobody else has the cores
    assert result.flattery["interval"][0] < result.flattery["corrected"]
