"""A head of the user's own, from Python: trained, kept as weights, and asked for wherever it is needed."""

import shutil

import pytest
import torch
from torch import nn

import catdog_cli
from catdog_cli.cli import run
from catdog_cli.models.classifier import build_classifier
from catdog_cli.settings import HeadSpec

from .runs import differences, load

TINY = {"arch": "simple_cnn", "weights": "none", "image_size": 32, "device": "cpu", "workers": 0}
ASKS = r"has a custom head, a module whose weights alone it holds: load it from Python with head=MODULE"


def make_head(num_classes=2, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(256, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, num_classes))


@pytest.fixture(scope="module")
def trained(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("custom")
    return catdog_cli.train(few, output=folder / "run", head=make_head(), epochs=2, **TINY).run_dir


def test_it_trains_and_the_users_module_stays_as_it_was(trained, few):
    content, first = load(trained), make_head()
    assert content["head"] == "custom"
    own = {name: value for name, value in content["state_dict"].items() if name.startswith("head.custom.")}
    assert {name.removeprefix("head.custom.") for name in own} == set(first.state_dict())
    assert not torch.equal(own["head.custom.0.weight"], first[0].weight)
    assert own["head.custom.1.num_batches_tracked"] == 2


def test_the_same_module_gives_the_same_bits(trained, few, tmp_path):
    again = catdog_cli.train(few, output=tmp_path / "run", head=make_head(), epochs=2, **TINY)
    assert differences(load(trained), load(again.run_dir)) == []


def test_it_predicts_and_is_measured_with_the_module(trained, few):
    predictor = catdog_cli.Predictor(trained, head=make_head(seed=9))
    found = catdog_cli.predict(few / "val", trained, head=make_head(seed=9))
    assert len(found) == 6
    assert list(found[0].predictions) == predictor(few / "val" / "cats" / "0.png")
    measured = catdog_cli.evaluate(trained, few, head=make_head(seed=9), device="cpu")
    best = torch.load(trained / "best.pt", weights_only=True)["best"]
    assert measured.accuracy == pytest.approx(best["val_accuracy"])


def test_it_is_compared_with_a_head_of_catdogs_own(trained, few, tmp_path):
    plain = catdog_cli.train(few, output=tmp_path / "plain", epochs=1, **TINY).run_dir
    for pair, same in ((trained, plain), False), ((plain, trained), False), ((trained, trained), True):
        found = catdog_cli.compare(*pair, few, head=make_head(seed=9), device="cpu")
        assert found.num_samples == 6
        assert (found.loss_difference == 0) == same
    with pytest.raises(catdog_cli.CatdogError, match=ASKS):
        catdog_cli.compare(plain, trained, few, device="cpu")
    with pytest.raises(catdog_cli.CatdogError, match=r"has one of catdog's own: leave out head="):
        catdog_cli.compare(plain, plain, few, head=make_head(), device="cpu")


def test_loading_fills_the_module(trained):
    module = make_head(seed=9)
    content = catdog_cli.load_checkpoint(trained, head=module)
    assert torch.equal(module[3].weight, content["state_dict"]["head.custom.3.weight"])


def test_a_resumed_run_has_the_bits_of_one_in_one_go(trained, few, tmp_path):
    short = catdog_cli.train(few, output=tmp_path / "run", head=make_head(), epochs=1, **TINY)
    catdog_cli.resume(short.run_dir, epochs=2, head=make_head(seed=9))
    found = differences(load(trained), load(short.run_dir))
    assert found == []


def test_it_is_fine_tuned_behind_blocks_that_train(few, tmp_path):
    found = catdog_cli.train(
        few, output=tmp_path / "run", head=make_head(), epochs=1, fine_tune_epochs=1, unfreeze=5, **TINY
    )
    assert [row["phase"] for row in found.history] == [0, 1]


def test_a_rate_is_found_for_it(few):
    assert 0 < catdog_cli.find_learning_rate(few, head=make_head(), **TINY).suggestion < 1


@pytest.mark.parametrize(
    "load_it",
    [
        catdog_cli.load_checkpoint,
        catdog_cli.Predictor,
        catdog_cli.Predictor.load,
        catdog_cli.resume,
        lambda run_dir: catdog_cli.predict("a.png", run_dir),
        lambda run_dir: catdog_cli.evaluate(run_dir, run_dir.parent),
    ],
    ids=["load", "predictor", "loaded predictor", "resume", "predict", "evaluate"],
)
def test_without_the_module_one_sentence_says_what_to_do(trained, load_it):
    with pytest.raises(catdog_cli.CatdogError, match=ASKS) as caught:
        load_it(trained)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            make_head(3),
            r"must make \(2,\) numbers, one a class, of \(256,\) .* of 2 images it makes \(2, 3\)",
        ),
        (
            nn.Linear(256, 2),
            r"another than was trained \(weight was not there and is \(2, 256\)\): give a module of the",
        ),
    ],
)
def test_another_module_is_refused(trained, module, message):
    with pytest.raises(catdog_cli.CatdogError, match=message) as caught:
        catdog_cli.Predictor.load(trained, head=module)
    assert "\n" not in str(caught.value)


def test_a_head_for_a_checkpoint_with_catdogs_own_is_refused(few, tmp_path):
    plain = catdog_cli.train(few, output=tmp_path / "run", epochs=1, **TINY)
    with pytest.raises(catdog_cli.CatdogError, match="which has one of catdog's own: leave out head="):
        catdog_cli.Predictor.load(plain.run_dir, head=make_head())


def test_the_command_line_says_where_it_loads_and_what_it_is(trained, few, capsys):
    assert run(["info", str(trained)]) == 0
    printed = capsys.readouterr().out
    own = build_classifier("simple_cnn", 2, HeadSpec(head="custom"), custom_head=make_head())
    assert "custom head, a module that Python gives" in printed
    assert f"{sum(part.numel() for part in own.parameters()):,} parameters" in printed
    for arguments in (
        ["predict", str(few / "val" / "cats" / "0.png"), str(trained)],
        ["evaluate", str(few), str(trained)],
        ["train", "--resume", str(trained), "--epochs", "3"],
    ):
        assert run(arguments) == 1
        said = capsys.readouterr().err
        assert "has a custom head" in said
        assert said.count("\n") <= 4  # a sentence, wrapped


def test_a_run_that_was_stopped_before_its_first_save_asks_for_it_too(trained, few, tmp_path):
    started = shutil.copytree(trained, tmp_path / "run")
    for name in ("last.pt", "best.pt", "history.jsonl"):
        (started / name).unlink()
    with pytest.raises(catdog_cli.CatdogError, match="head=MODULE"):
        catdog_cli.resume(started)
    catdog_cli.resume(started, head=make_head())
    assert differences(load(trained), load(started)) == []


def test_options_that_would_do_nothing_with_it_are_refused(few, tmp_path):
    for given in ({"hidden_layers": (4,)}, {"dropout": 0.5}, {"activation": "gelu"}):
        with pytest.raises(catdog_cli.CatdogError, match="but another was given: leave them out"):
            catdog_cli.train(few, output=tmp_path / "run", head=make_head(), **given, **TINY)
    with pytest.raises(catdog_cli.CatdogError, match="lbfgs solves a linear head alone"):
        catdog_cli.train(few, output=tmp_path / "run", head=make_head(), optimizer="lbfgs", arch="resnet18")
    with pytest.raises(catdog_cli.CatdogError, match="head is 3, but must be one of: linear, cosine"):
        catdog_cli.train(few, output=tmp_path / "run", head=3, **TINY)
