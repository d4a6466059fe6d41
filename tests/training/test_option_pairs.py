"""No option is parsed and ignored: a pair is refused in one sentence, or each of the two changes the run."""

import itertools
import os
import re

import pytest
import torch

from catdog_cli.errors import SettingsError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.recipes.build import build_settings
from catdog_cli.settings import HeadSpec, list_options
from catdog_cli.training import run
from catdog_cli.training.events import ignore
from catdog_cli.training.setup import check_settings
from tests.conftest import one_thread, write_images

VALUES = {  # option: a value, small enough for a tiny run, that changes what a run gives
    "hidden_layers": (4,),
    "dropout": 0.6,
    "activation": "tanh",
    "head_norm": "batch",
    "head": "cosine",
    "image_size": 24,
    "looks": "mirror",
    "epochs": 3,
    "learning_rate": 0.05,
    "batch_size": 5,
    "optimizer": "sgd",
    "weight_decay": 0.5,
    "scheduler": "cosine",
    "warmup_epochs": 1.0,
    "clip_norm": 0.01,
    "ema": 0.5,
    "monitor": "f1",
    "unfreeze": 6,
    "layer_decay": 0.5,
    "fine_tune_epochs": 1,
    "fine_tune_learning_rate": 0.03,
    "val_fraction": 0.45,
    "label_smoothing": 0.3,
    "class_weights": "balanced",
    "sampler": "balanced",
    "augment": "strong",
    "views": 1,
    "mixup": 0.4,
    "cutmix": 0.6,
    "seed": 3,
}
NEEDS = {  # what makes an option possible at all
    "views": {"augment": "strong"},
    "activation": {"hidden_layers": (4,)},
    "head_norm": {"hidden_layers": (4,)},
    "unfreeze": {"fine_tune_epochs": 1},
    "layer_decay": {"fine_tune_epochs": 1},
    "fine_tune_learning_rate": {"fine_tune_epochs": 1},
}
OTHERS = [("optimizer", "lbfgs"), ("scheduler", "one-cycle"), ("scheduler", "step")]
# What says where a run is, how it is computed or when it ends: need not, or must not, change what is trained.
NOT_THE_RESULT = {
    *("arch", "weights", "exclude", "decisions", "max_bad_fraction", "device", "precision", "workers"),
    *("category_names", "micro_batch_size", "compile", "deterministic", "cache", "cache_limit", "save_every"),
    *("patience", "min_delta"),  # depend on how the run goes
    *("label_delimiter", "label_columns"),  # how a table is read
}
CHOICES = [*VALUES.items(), *OTHERS]
PAIRS = [pair for pair in itertools.combinations(CHOICES, 2) if pair[0][0] != pair[1][0]]
PART = int(os.environ.get("CATDOG_OPTION_PAIRS", "8"))  # 1 tries every pair; 8 every eighth


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return what every run shares: three uneven classes, weights of a backbone, and a cache."""
    folder = tmp_path_factory.mktemp("pairs")
    write_images(folder / "pets", {"cats": 9, "dogs": 6, "owls": 4}, size=(32, 28))
    network = build_classifier("simple_cnn", 3, HeadSpec(), 1)
    torch.save(network.state_dict(), folder / "weights.pth")
    with one_thread():
        yield folder


@pytest.fixture(scope="module")
def outcome(tiny):
    """Return a function that gives what a run of some options leaves, or the sentence that refuses them."""
    known = {}

    def train(options):
        key = tuple(sorted(options.items()))
        if key not in known:
            known[key] = _train(tiny, options, len(known))
        return known[key]

    return train


def _train(folder, options, number):
    base = {"arch": "simple_cnn", "weights": str(folder / "weights.pth"), "image_size": 32}
    base |= {"device": "cpu", "precision": "fp32", "workers": 0, "epochs": 2, "batch_size": 8}
    if options.get("optimizer") == "lbfgs":
        base.pop("epochs")
        base.pop("batch_size")
    try:
        settings = build_settings(str(folder / "pets"), base | options)
        check_settings(settings)
    except SettingsError as error:
        return str(error)
    result = run.train(settings, folder / f"run{number}", ignore)
    content = torch.load(result.run_dir / "last.pt", weights_only=True)
    rows = [
        {name: value for name, value in row.items() if name not in ("seconds", "pictures_per_s")}
        for row in content["history"]
    ]
    return content["state_dict"], rows


def is_same(one, other):
    weights, rows = one
    return rows == other[1] and all(torch.equal(weights[name], value) for name, value in other[0].items())


def test_every_option_is_tried_or_is_no_matter_of_the_result():
    assert set(VALUES) | NOT_THE_RESULT == set(list_options())


@pytest.mark.parametrize(("one", "other"), PAIRS[::PART], ids=lambda choice: f"{choice[0]}={choice[1]}")
def test_a_pair_is_refused_or_both_count(outcome, monkeypatch, tiny, one, other):
    monkeypatch.setenv("CATDOG_CACHE", str(tiny / "cache"))
    options = NEEDS.get(one[0], {}) | NEEDS.get(other[0], {}) | dict((one, other))
    both = outcome(options)
    if isinstance(both, str):
        assert re.fullmatch(r"--[a-z-]+ [^\n]+: [^\n]+\.", both)
        assert any("--" + name.replace("_", "-") in both for name in options)
        return
    for name, _ in (one, other):
        without = outcome({kept: value for kept, value in options.items() if kept != name})
        if not isinstance(without, str):
            assert not is_same(both, without), f"--{name} changes nothing in {options}"
