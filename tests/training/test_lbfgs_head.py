"""The solved head against scikit-learn, its strength, and what it refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from catdog_cli.errors import InterruptedRunError, SettingsError
from catdog_cli.features.store import list_stores
from catdog_cli.models.tasks import SINGLE_LABEL
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training import lbfgs_head as solve
from catdog_cli.training import run
from catdog_cli.training.dry_run import estimate_run
from catdog_cli.training.lbfgs_head import STRENGTHS, STRONGER, WEAKER

from ..conftest import write_images
from .runs import Events, differences, resume, settings_for, train


def problem(num_classes=3, count=120, dim=20, noise=1.0, seed=0):
    """Return features (count, dim) with columns of deviation 1, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % num_classes
    centres = torch.randn(num_classes, dim, generator=generator)
    features = centres[labels] + noise * 3 * torch.randn(count, dim, generator=generator)
    return (features - features.mean(0)) / features.std(0), labels


def by_sklearn(features, labels, strength, weights=None):
    """Minimise the same objective: scikit-learn sums the losses, and its C is 1 / strength of the sum."""
    from sklearn.linear_model import LogisticRegression

    sample = np.ones(len(labels)) if weights is None else weights.numpy()[labels.numpy()]
    model = LogisticRegression(C=1 / (strength * sample.sum()), tol=1e-10, max_iter=10_000)
    model.fit(features.double().numpy(), labels.numpy(), sample_weight=sample)
    return model


@pytest.mark.parametrize("strength", [0.01, 0.3])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0])], ids=["plain", "weighted"])
def test_optimum_is_that_of_sklearn(strength, weights):
    features, labels = problem()
    weight, bias = solve.solve_regression(SINGLE_LABEL, features, labels, 3, strength, weights)
    model = by_sklearn(features, labels, strength, weights)
    expected = torch.from_numpy(model.coef_).float()
    assert (weight - expected).norm() < 1e-3 * expected.norm()
    found = bias - bias.mean()  # biases are free up to one number for all classes
    np.testing.assert_allclose(found.numpy(), model.intercept_ - model.intercept_.mean(), atol=1e-3)


def test_two_classes_give_the_probabilities_of_sklearn():
    features, labels = problem(2)
    weight, bias = solve.solve_regression(SINGLE_LABEL, features, labels, 2, 0.1)
    from sklearn.linear_model import LogisticRegression

    # Softmax over two rows pays half of what one row pays for the same difference.
    model = LogisticRegression(C=2 / (0.1 * len(labels)), tol=1e-10, max_iter=10_000)
    model.fit(features.double().numpy(), labels.numpy())
    found = (features @ weight.T + bias).softmax(1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(features.double().numpy()), atol=2e-4)


def test_label_smoothing_and_strength_make_the_head_less_sure():
    features, labels = problem()
    sure = [
        (features @ weight.T + bias).softmax(1).max(1).values.mean()
        for weight, bias in (
            solve.solve_regression(SINGLE_LABEL, features, labels, 3, 0.01),
            solve.solve_regression(SINGLE_LABEL, features, labels, 3, 0.01, label_smoothing=0.3),
            solve.solve_regression(SINGLE_LABEL, features, labels, 3, 1.0),
        )
    ]
    assert sure[0] > sure[1] + 0.05
    assert sure[0] > sure[2] + 0.05


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return a data folder of 24 + 24 pictures to train on: enough for folds."""
    counts = {"train/cats": 24, "train/dogs": 24, "val/cats": 6, "val/dogs": 6}
    return write_images(tmp_path_factory.mktemp("many"), counts)


def solved(data, folder, resnet_file, **fields):
    """Return the last.pt and what was said of a solved head over a frozen resnet18."""
    events = Events()
    settings = settings_for(
        data,
        Phase("head", 1, optimizer="lbfgs", **fields),
        arch="resnet18",
        weights=resnet_file,
        head=HeadSpec((), 0.2),
    )
    last = train(settings, folder, events)
    (facts,) = events.of("solved")
    return last, facts


def test_training_by_lbfgs_gives_sklearns_coefficients(many, tmp_path, resnet_file):
    """End to end: the features on disk, standardised by the head's own numbers, solved by both."""
    from catdog_cli.data.loaders import Images
    from catdog_cli.features.cache_fill import build_feature_table
    from catdog_cli.features.extractor import FrozenPrefix, View, image_set
    from catdog_cli.models.classifier import build_classifier
    from catdog_cli.models.weights import load_backbone
    from catdog_cli.settings import InputSpec
    from catdog_cli.training import run

    last, facts = solved(many, tmp_path / "run", resnet_file, weight_decay=0.1)
    assert facts == {"l2": 0.1, "how": "as given", "num_features": 512, "fold_accuracy": None}
    assert "fold_accuracy" not in last["history"][0]
    spec = InputSpec.from_dict(last["input_spec"])
    classifier = build_classifier("resnet18", 2, HeadSpec())
    load_backbone(classifier, resnet_file)
    prefix = FrozenPrefix(classifier.prefix(len(classifier.blocks)), spec, torch.float32, torch.device("cpu"))
    dataset = run.read_data(settings_for(many), Events())
    chosen = image_set(Images(dataset, "train", spec))
    table = build_feature_table(prefix, chosen, View(), lambda done, total: None)
    state = last["state_dict"]
    features = (table.take(torch.arange(48)) - state["head.norm.mean"]) / state["head.norm.std"]
    model = by_sklearn_binary(features, chosen.labels, 0.1)
    weight = state["head.output.weight"]
    expected = torch.from_numpy(model.coef_[0]).float()
    assert (weight[1] - weight[0] - expected).norm() < 1e-3 * expected.norm()


def by_sklearn_binary(features, labels, strength):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=2 / (strength * len(labels)), tol=1e-10, max_iter=10_000)
    return model.fit(features.double().numpy(), labels.numpy())


def test_strength_is_picked_by_folds(many, tmp_path, resnet_file):
    last, facts = solved(many, tmp_path / "run", resnet_file)
    assert "the best on 5 held-out folds" in facts["how"]
    assert facts["l2"] in (*WEAKER, *STRENGTHS, *STRONGER)
    given, _ = solved(many, tmp_path / "given", resnet_file, weight_decay=facts["l2"])
    assert torch.equal(last["state_dict"]["head.output.weight"], given["state_dict"]["head.output.weight"])
    assert last["history"][0]["val_accuracy"] > 0.9


@pytest.mark.parametrize("wanted", [0.5, 1.0])
def test_a_phase_is_skipped_where_the_solved_head_is_right_often_enough(many, tmp_path, resnet_file, wanted):
    """Held-out folds of the training images say so; a resumed run that was extended decides likewise."""
    labels = many / "labels.csv"  # one label of six is wrong: no head is right on all that is held out
    paths = sorted(path for path in many.rglob("*.png"))
    rows = [
        (
            path.relative_to(many),
            ("cats", "dogs")[("dogs" in path.parts) != (number % 6 == 0)],
            path.parts[-3],
        )
        for number, path in enumerate(paths)
    ]
    labels.write_text("path,class,split\n" + "".join(f"{path},{name},{side}\n" for path, name, side in rows))
    phases = (
        Phase("head", 1, optimizer="lbfgs"),
        Phase("fine-tune", 1, 1e-4, unfreeze=2, batch_size=16, skip_accuracy=wanted),
        Phase("more", 1, 1e-4, batch_size=16),
    )
    settings = settings_for(labels, *phases, arch="resnet18", weights=resnet_file, head=HeadSpec())
    events = Events()
    last = train(settings, tmp_path / "run", events)
    (facts,) = events.of("solved")
    assert 0.5 < facts["fold_accuracy"] < 1
    assert last["history"][0]["fold_accuracy"] == facts["fold_accuracy"]
    skipped = wanted == 0.5
    assert [row["phase_name"] for row in last["history"]] == [
        "head",
        *([] if skipped else ["fine-tune"]),
        "more",
    ]
    said = [facts["text"] for facts in events.of("advice")]
    assert any("Phase 'fine-tune' is left out: on held-out folds" in text for text in said) == skipped
    assert differences(resume(tmp_path / "run"), last) == []


def pick(features, labels, num_classes):
    """Return what is found on held-out folds, as a run asks it."""
    run = SimpleNamespace(seed=0, class_weights=None, task=SINGLE_LABEL)
    return solve._pick_strength(run, 1, features, labels, num_classes)


@pytest.mark.parametrize(("noise", "low", "high"), [(0.1, 1e-5, 0.1), (30.0, 1.0, 100.0)])
def test_noisier_features_get_a_stronger_penalty(noise, low, high):
    """Held-out loss decides: labels that features tell well need little, features of noise need much."""
    assert low <= pick(*problem(2, 60, 30, noise), 2).l2 <= high


def test_the_grid_goes_on_while_its_end_is_the_best_and_says_when_there_is_no_more():
    noise = torch.randn(60, 30, generator=torch.Generator().manual_seed(1))
    found = pick(noise, torch.arange(60) % 2, 2)
    assert found.l2 > max(STRENGTHS)
    assert found.how.startswith(f"of {len(STRENGTHS) + 1 + STRONGER.index(found.l2) + (found.l2 < 100)} the ")
    labels = torch.arange(60) % 2
    clear = torch.nn.functional.one_hot(labels).repeat(1, 5).float() - 0.5
    found = pick(clear, labels, 2)
    assert found.l2 == WEAKER[-1]
    assert found.how.endswith("it is the weakest that is tried: compare others with --weight-decay")


def test_classes_of_one_picture_do_not_stop_the_folds():
    """They are always trained on and never held out; the strength is that of the classes that can be."""
    features, labels = problem(3, 60)
    alone = torch.cat([labels, torch.tensor([3, 4])])
    more = torch.cat([features, torch.randn(2, 20, generator=torch.Generator().manual_seed(2))])
    held = solve._held_out(alone, 0)
    assert len(held) == 5
    assert not any(fold[60:].any() for fold in held)
    assert sum(fold.sum() for fold in held) == 60
    assert "5 held-out folds" in pick(more, alone, 5).how
    few = torch.tensor([0, 0, 1, 1, 1, 2])
    assert [int(fold.sum()) for fold in solve._held_out(few, 0)] == [2, 2, 1]


def test_where_nothing_can_be_held_out_no_folds_are_claimed():
    found = pick(torch.randn(4, 3), torch.arange(4), 4)
    assert found[:2] == (solve.UNTRIED, "a guess: no class has two pictures, so none could be held out")
    assert found.fold_accuracy is None


def test_views_are_all_solved_over(many, tmp_path, resnet_file):
    one, _ = solved(many, tmp_path / "one", resnet_file, weight_decay=0.1)
    three, _ = solved(many, tmp_path / "three", resnet_file, weight_decay=0.1, augment="light", views=3)
    assert not torch.equal(one["state_dict"]["head.output.weight"], three["state_dict"]["head.output.weight"])


def test_balanced_weights_move_the_solved_bias(rare, tmp_path, resnet_file):
    plain, _ = solved(rare, tmp_path / "plain", resnet_file, weight_decay=100.0)
    fair, _ = solved(rare, tmp_path / "fair", resnet_file, weight_decay=100.0, class_weights="balanced")

    def gap(last):
        return (last["state_dict"]["head.output.bias"][1] - last["state_dict"]["head.output.bias"][0]).item()

    assert gap(plain) == pytest.approx(np.log(3 / 27), abs=0.05)  # weights pressed to nothing
    assert gap(fair) == pytest.approx(0, abs=0.4)


@pytest.mark.parametrize(
    ("phase", "fields", "match"),
    [
        ({"unfreeze": "all"}, {}, "linear head alone"),
        ({}, {"head": HeadSpec((8,))}, "linear head alone"),
        ({"augment": "light"}, {}, "needs fixed views: add --views N"),
        ({}, {"cache": False}, "at hand, but --no-cache keeps none: leave it out, or choose another --opt"),
        (
            {},
            {"cache_limit": 1e-6},
            r"they take .*e-05 GB, more than --cache-limit 1e-06: raise it, or choose",
        ),
        (
            {"augment": "light", "views": 2},
            {"cache_limit": 1e-6},
            "raise it, or give fewer --views, or choose",
        ),
    ],
)
def test_what_cannot_be_solved(few, tmp_path, phase, fields, match):
    settings = settings_for(few, Phase("p", 1, optimizer="lbfgs", **phase), **{"head": HeadSpec(), **fields})
    with pytest.raises(SettingsError, match=match):
        train(settings, tmp_path / "run")
    with pytest.raises(SettingsError, match=match):
        estimate_run(settings, run.read_data(settings, Events()))
    assert list_stores() == []


def test_a_cache_that_cannot_be_used_is_named_not_an_option_that_was_never_given(few, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "file" / "cache"))
    settings = settings_for(few, Phase("p", 1, optimizer="lbfgs"), head=HeadSpec())
    logged = r"but the feature cache '.*file/cache' cannot be used \(Not a directory\): set CATDOG_CACHE to"
    with pytest.raises(SettingsError, match=logged):
        train(settings, tmp_path / "run")


def test_a_resume_without_cache_is_told_so(few, tmp_path):
    settings = settings_for(few, Phase("h", 1), Phase("p", 1, optimizer="lbfgs"), head=HeadSpec())
    asked = iter([False] * 2)
    with pytest.raises(InterruptedRunError):
        train(settings, tmp_path / "run", should_stop=lambda: next(asked, True))
    with pytest.raises(SettingsError, match="but --no-cache keeps none: leave it out, or start a new run"):
        resume(tmp_path / "run", cache=False)
