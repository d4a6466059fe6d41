"""Settings check themselves, and go through plain dicts and JSON unchanged."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from catdog_cli.errors import SettingsError
from catdog_cli.recipes import recipe_names
from catdog_cli.recipes.build import build_settings
from catdog_cli.settings import (
    HeadSpec,
    InputSpec,
    Phase,
    TrainSettings,
    list_options,
    option_name,
)
from catdog_cli.settings_rules import check_combinations, refuse_on_resume
from catdog_cli.settings_schema import save_interval

FULL = TrainSettings(
    data="pets",
    arch="resnet18",
    weights="none",
    head=HeadSpec((512, 256), 0.3),
    phases=(Phase("head", 3), Phase("fine-tune", 2, 1e-5, unfreeze="all", scheduler="cosine", mixup=0.2)),
    image_size=96,
    seed=7,
    cache=False,
)


@pytest.mark.parametrize(
    "settings",
    [FULL, TrainSettings(data="pets"), Phase("head", 5), HeadSpec((1,)), InputSpec(64, 72)],
    ids=["full", "defaults", "phase", "head", "input"],
)
def test_settings_go_through_json(settings):
    plain = json.loads(json.dumps(settings.to_dict()))
    assert type(settings).from_dict(plain) == settings


def test_plain_settings_hold_only_plain_containers():
    plain = FULL.to_dict()
    assert plain["head"] == {
        "hidden_layers": [512, 256],
        "dropout": 0.3,
        "activation": "relu",
        "head_norm": "none",
        "head": "linear",
    }
    assert isinstance(plain["phases"], list)
    assert plain["phases"][1]["unfreeze"] == "all"


def test_a_missing_field_takes_its_default():
    assert TrainSettings.from_dict({"data": "pets", "head": {}}).head == HeadSpec()


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            Phase,
            {"name": "x", "epochs": 1, "learing_rate": 1},
            r"'learing_rate'; did you mean 'learning_rate'\?",
        ),
        (Phase, {"name": "x", "epochs": 1, "zzz": 1}, r"Unknown setting 'zzz'; known are name, epochs,"),
        (Phase, {"name": "x", "epochs": 1, 7: 1}, r"Unknown setting 7;"),
        (Phase, {"name": "x"}, r"Incomplete Phase: .*'epochs'"),
        (Phase, [1], r"Phase is \[1\], but must be names with values"),
        (HeadSpec, {"hidden_layers": 5}, r"hidden layers is 5, but must be a list of whole numbers"),
        (TrainSettings, {}, r"Incomplete TrainSettings: .*'data'"),
        (TrainSettings, {"data": "d", "head": {"droput": 0}}, r"'droput'; did you mean 'dropout'\?"),
        (TrainSettings, {"data": "d", "head": 3}, r"head is 3, but must be the settings of a head"),
        (TrainSettings, {"data": "d", "phases": [3]}, r"phase is 3, but must be the settings of a phase"),
        (TrainSettings, {"data": "d", "phases": 3}, r"phases is 3, but must be a list of phases"),
        (TrainSettings, {"data": "d", "phases": []}, r"no phase to train: give at least one"),
    ],
)
def test_a_wrong_dict_is_refused(kind, values, message):
    with pytest.raises(SettingsError, match=message):
        kind.from_dict(values)


PHASE_ROWS = [
    ("name", 3, "phase name is 3"),
    ("epochs", -1, "epochs is -1, but must be a whole number of at least 0"),
    ("epochs", 1.5, "epochs is 1.5, but must be a whole number"),
    ("epochs", True, "epochs is True"),
    ("epochs", "3", "epochs is '3'"),
    ("learning_rate", -1e-3, "learning rate is -0.001, but must be a number of at least 0"),
    ("learning_rate", math.nan, "learning rate is nan"),
    ("learning_rate", math.inf, "learning rate is inf"),
    ("unfreeze", "some", "unfreeze is 'some'"),
    ("unfreeze", -2, "unfreeze is -2"),
    ("batch_size", 0, "batch size is 0, but must be a whole number of at least 1"),
    ("optimizer", "sgdd", "optimizer is 'sgdd', but must be one of: adam, adamw, sgd, lbfgs"),
    ("weight_decay", -1, "weight decay is -1"),
    ("scheduler", None, "scheduler is None, but must be one of: constant"),
    ("warmup_epochs", -0.5, "warmup epochs is -0.5"),
    ("label_smoothing", 1, "label smoothing is 1, but must be a number from 0 to 0.99"),
    ("class_weights", "yes", "class weights is 'yes', but must be one of: none, balanced"),
    ("sampler", "random", "sampler is 'random', but must be one of: shuffle, balanced"),
    ("augment", "medium", "augment is 'medium', but must be one of: none, light"),
    ("views", 1001, "views is 1001, but must be a whole number from 0 to 1000"),
    ("mixup", -0.1, "mixup is -0.1"),
    ("cutmix", -0.1, "cutmix is -0.1"),
    ("layer_decay", 0, "layer decay is 0, but must be a number from 1e-06 to 1"),
    ("layer_decay", 1.01, "layer decay is 1.01"),
    ("clip_norm", -1, "clip norm is -1"),
    ("ema", 1, "ema is 1, but must be a number from 0 to 0.999999"),
    ("patience", -1, "patience is -1"),
    ("min_delta", -1, "minimum change is -1"),
    ("skip_accuracy", 95, "skip accuracy is 95, but must be a number from 0 to 1"),
    ("monitor", "auroc", "monitor is 'auroc', but must be one of: auto, accuracy, map, loss, f1, auc"),
]


@pytest.mark.parametrize(("field", "value", "message"), PHASE_ROWS)
def test_a_phase_refuses(field, value, message):
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
        dataclasses.replace(Phase("head", 5), **{field: value})


def test_every_field_of_a_phase_is_checked():
    assert {field for field, _, _ in PHASE_ROWS} == {field.name for field in dataclasses.fields(Phase)}


RUN_ROWS = [
    ("data", None, "data is None, but must be a text"),
    ("arch", 5, "arch is 5, but must be a text"),
    ("weights", False, "weights is False, but must be a text"),
    ("head", {}, "head is {}, but must be the settings of a head"),
    ("phases", (), "There is no phase to train"),
    ("image_size", 7, "image size is 7, but must be a whole number from 8 to 4096"),
    ("image_size", None, "image size is None"),
    ("image_size", False, "image size is False"),
    ("val_fraction", 0, "val fraction is 0, but must be a number from 0.01 to 0.9"),
    ("val_fraction", 1, "val fraction is 1"),
    ("seed", -1, "seed is -1"),
    ("seed", 2**63, "seed is 9223372036854775808"),
    ("seed", 10**400, "seed is 1000"),
    ("device", "cuda", "device is 'cuda', but must be one of: auto, cpu, gpu"),
    ("precision", "fp16", "precision is 'fp16', but must be one of: auto, fp32, bf16"),
    ("workers", -2, "workers is -2"),
    ("compile", 1, "compile is 1, but must be true or false"),
    ("deterministic", None, "deterministic is None, but must be true or false"),
    ("cache", "no", "cache is 'no', but must be true or false"),
    ("cache_limit", -1, "cache limit is -1"),
    ("exclude", None, "exclude is None, but must be a text"),
    ("decisions", 3, "decisions is 3, but must be a text"),
    ("category_names", 3, "category names is 3, but must be a text"),
    ("max_bad_fraction", 1.5, "max bad fraction is 1.5, but must be a number from 0 to 1"),
    ("micro_batch_size", -1, "micro batch size is -1"),
    ("micro_batch_size", 1.5, "micro batch size is 1.5, but must be a whole number"),
    ("save_every", "often", r"save every is 'often', but must be a time \(30s, 10m, 2h\), a number of"),
    ("save_every", "-5m", "save every is '-5m'"),
    ("save_every", "1.5b", "save every is '1.5b'"),
    ("save_every", "1.5", "save every is '1.5'"),
    ("save_every", "5 m", "save every is '5 m'"),
    ("save_every", 5, "save every is 5"),
    ("label_delimiter", 5, "label delimiter is 5, but must be a text"),
    ("looks", "twice", "looks is 'twice', but must be one of: once, mirror, whole"),
    ("label_columns", ["a"], "label columns is ..a.., but must be a text"),
]


@pytest.mark.parametrize(
    ("text", "seconds", "batches"),
    [
        ("30s", 30, math.inf),
        ("1.5m", 90, math.inf),
        ("2h", 7200, math.inf),
        ("200", math.inf, 200),
        ("200b", math.inf, 200),
        ("0", math.inf, math.inf),
        ("0m", math.inf, math.inf),
        ("off", math.inf, math.inf),
    ],
)
def test_how_often_to_save(text, seconds, batches):
    assert save_interval(text) == (seconds, batches)


@pytest.mark.parametrize(("field", "value", "message"), RUN_ROWS)
def test_a_run_refuses(field, value, message):
    with pytest.raises(SettingsError, match=message):
        dataclasses.replace(FULL, **{field: value})


def test_every_field_of_a_run_is_checked():
    assert {field for field, _, _ in RUN_ROWS} == {field.name for field in dataclasses.fields(TrainSettings)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 7}, "image size is 7, but must be a whole number from 8 to 4096"),
        ({"size": 5000}, "image size is 5000"),
        ({"size": 64.0}, "image size is 64.0, but must be a whole number"),
        ({"resize": 200}, "resize is 200, but must be a whole number from 224 to 8192"),
        ({"interpolation": "nearest"}, "interpolation is 'nearest', but must be one of: bilinear, bicubic"),
        ({"mean": (0.5, 0.5)}, r"mean is \(0.5, 0.5\), but must be three numbers, one a colour"),
        ({"mean": 0.5}, "mean is 0.5, but must be three numbers"),
        ({"mean": (0.5, "a", 0.5)}, "mean is 'a', but must be a number"),
        ({"mean": (0.5, math.nan, 0.5)}, "mean is nan"),
        ({"std": (0.2, 0.0, 0.2)}, "std is 0.0, but must be a number from 1e-06"),
        ({"std": (0.2, -1, 0.2)}, "std is -1"),
    ],
)
def test_an_input_spec_refuses(values, message):
    with pytest.raises(SettingsError, match=message):
        InputSpec(**values)


@pytest.mark.parametrize(
    ("hidden_layers", "dropout", "message"),
    [
        ((0,), 0.2, "hidden layers is 0, but must be a whole number from 1 to 65536"),
        ((10**9,), 0.2, "hidden layers is 1000000000"),
        ((512, "a"), 0.2, "hidden layers is 'a'"),
        ((1,) * 101, 0.2, "number of hidden layers is 101, but must be a whole number from 0 to 100"),
        ("512", 0.2, "hidden layers is '512', but must be a list of whole numbers"),
        ((), 1.0, "dropout is 1.0, but must be a number from 0 to 0.99"),
        ((), -0.1, "dropout is -0.1"),
        (
            (8, 4),
            (0.3,),
            "dropout has 1 numbers, but the head has 2 hidden layers: give one number, or one a",
        ),
        ((), (0.3, 0.2), "dropout has 2 numbers, but the head has no hidden layer"),
        ((8,), (1.5,), "dropout is 1.5, but must be a number from 0 to 0.99"),
        ((8,), ("a",), "dropout is 'a'"),
        ((8,), (), r"dropout is \(\), but must be a number"),
        ((8,), [0.2], r"dropout is \[0.2\], but must be a number"),
    ],
)
def test_a_head_refuses(hidden_layers, dropout, message):
    with pytest.raises(SettingsError, match=message):
        HeadSpec(hidden_layers, dropout)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"activation": "rleu"}, "activation is 'rleu', but must be one of: relu, leaky_relu"),
        ({"head_norm": "group"}, "head norm is 'group', but must be one of: none, batch, layer"),
        ({"head": "arcface"}, "head is 'arcface', but must be one of: linear, cosine"),
    ],
)
def test_a_heads_words_are_known(values, message):
    with pytest.raises(SettingsError, match=message):
        HeadSpec(**values)


def test_dropout_of_each_layer():
    assert HeadSpec().dropout_of_layers() == (0.2,)
    assert HeadSpec((8, 4), 0.3).dropout_of_layers() == (0.3, 0.3)
    assert HeadSpec((8, 4), (0.3, 0.1)).dropout_of_layers() == (0.3, 0.1)
    assert HeadSpec.from_dict({"hidden_layers": [8, 4], "dropout": [0.3, 0.1]}).dropout == (0.3, 0.1)


@pytest.mark.parametrize("given", [(0.3, 0.1), [0.3, 0.1], "0.3,0.1", "0.3, 0.1"])
def test_dropout_is_said_as_hidden_layers_are(given):
    assert build_settings("pets", {"hidden_layers": "8,4", "dropout": given}).head.dropout == (0.3, 0.1)
    assert build_settings("pets", {"dropout": "0.3"}).head.dropout == 0.3
    with pytest.raises(SettingsError, match=r"'a,b' is neither a number nor a list such as 0.3,0.2"):
        build_settings("pets", {"dropout": "a,b"})


@pytest.mark.parametrize(
    ("spec", "size", "resize"),
    [(InputSpec(224, 256), 112, 128), (InputSpec(224, 224), 96, 96), (InputSpec(224, 232), 8, 8)],
)
def test_another_size_keeps_the_ratio(spec, size, resize):
    changed = spec.with_size(size)
    assert (changed.size, changed.resize, changed.mean) == (size, resize, spec.mean)


LBFGS = {"optimizer": "lbfgs"}
USELESS = [
    (LBFGS | {"ema": 0.99}, "--ema does nothing with --optimizer lbfgs"),
    (LBFGS | {"mixup": 0.2}, "--mixup does nothing with --optimizer lbfgs"),
    (LBFGS | {"cutmix": 0.2}, "--cutmix does nothing with --optimizer lbfgs"),
    (LBFGS | {"sampler": "balanced"}, "--sampler does nothing with --optimizer lbfgs"),
    (LBFGS | {"clip_norm": 1.0}, "--clip-norm does nothing with --optimizer lbfgs"),
    (LBFGS | {"scheduler": "cosine"}, "--scheduler does nothing with --optimizer lbfgs"),
    (LBFGS | {"warmup_epochs": 1.0}, "--warmup-epochs does nothing with --optimizer lbfgs"),
    (LBFGS | {"learning_rate": 0.1}, "--learning-rate does nothing with --optimizer lbfgs"),
    (LBFGS | {"batch_size": 7}, "--batch-size does nothing with --optimizer lbfgs"),
    (LBFGS | {"patience": 3}, "--patience does nothing with --optimizer lbfgs"),
    (LBFGS | {"min_delta": 0.1}, "--min-delta does nothing with --optimizer lbfgs"),
    (LBFGS | {"dropout": 0.5}, "--dropout does nothing with --optimizer lbfgs"),
    (LBFGS | {"epochs": 2}, "--optimizer lbfgs reaches the optimum in one epoch: leave out --epochs"),
    (LBFGS | {"hidden_layers": (4,)}, "--optimizer lbfgs solves a linear head alone"),
    (LBFGS | {"head": "cosine"}, "--optimizer lbfgs solves a linear head alone: leave out --head, or choose"),
    (LBFGS | {"head_norm": "batch"}, "--head-norm belongs to hidden layers, of which the head has none"),
    (
        {"activation": "gelu"},
        "--activation belongs to hidden layers, of which the head has none: add --hidden",
    ),
    (LBFGS | {"weights": "none"}, "--optimizer lbfgs solves a linear head alone"),
    (LBFGS | {"augment": "light"}, "--optimizer lbfgs needs fixed views: add --views N"),
    (LBFGS | {"cache": False}, "lbfgs needs the features of all pictures at hand, but --no-cache keeps none"),
    ({"compile": True}, "--compile speeds up what trains of the backbone, but only the head trains"),
    ({"cache": False, "cache_limit": 3.0}, "--cache-limit does nothing with --no-cache"),
    ({"epochs": 0}, "epochs is 0, but must be a whole number of at least 1"),
    ({"unfreeze": 3}, "--unfreeze belongs to a second phase: add --fine-tune-epochs N"),
    ({"fine_tune_learning_rate": 0.1}, "--fine-tune-learning-rate belongs to a second phase"),
    ({"views": 2}, "--views fixes augmented views: add --augment"),
    (
        {"scheduler": "one-cycle", "warmup_epochs": 1.0},
        "--warmup-epochs does nothing with --scheduler one-cycle",
    ),
    ({"layer_decay": 0.8}, "--layer-decay slows earlier layers down, but only the head trains"),
]


@pytest.mark.parametrize(("options", "match"), USELESS)
def test_an_option_that_would_be_ignored_is_refused(options, match):
    with pytest.raises(SettingsError, match=match):
        check_combinations(build_settings("pets", options))


def test_what_the_second_phase_uses_is_not_refused_for_the_first():
    options = LBFGS | {
        "fine_tune_epochs": 2,
        "ema": 0.9,
        "batch_size": 7,
        "learning_rate": 0.01,
        "layer_decay": 0.8,
    }
    settings = build_settings("pets", options)
    check_combinations(settings)
    first, second = settings.phases
    assert (first.ema, second.ema, second.batch_size, second.layer_decay) == (0.0, 0.9, 7, 0.8)
    assert second.learning_rate == pytest.approx(1e-4)


@pytest.mark.parametrize("name", recipe_names())
def test_no_shipped_recipe_holds_an_option_that_is_ignored(name):
    check_combinations(build_settings("pets", {}, name))


def test_what_may_change_on_resume_is_what_the_settings_say():
    free = {name for name, setting in list_options().items() if setting.on_resume}
    assert free == {
        *("epochs", "fine_tune_epochs", "device", "workers", "micro_batch_size", "cache", "cache_limit"),
        *("max_bad_fraction", "save_every"),
    }
    run = build_settings("pets", {})
    refuse_on_resume(dict.fromkeys(free, 1) | {"arch": None}, run)
    match = "--batch-size cannot change on resume: the run keeps its own, 32. Leave it out, or"
    with pytest.raises(SettingsError, match=match):
        refuse_on_resume({"batch_size": 8}, run)


LONG = {"fine_tune_epochs": 2, "unfreeze": 3, "fine_tune_learning_rate": 1e-5}


@pytest.mark.parametrize(
    ("options", "same", "other"),
    [
        ({}, {"arch": "resnet18", "weights": "imagenet", "image_size": 0}, {"arch": "resnet50"}),
        ({"hidden_layers": (8, 4)}, {"hidden_layers": [8, 4]}, {"hidden_layers": (8,)}),
        ({"hidden_layers": (8,), "activation": "gelu"}, {"activation": "gelu"}, {"head_norm": "batch"}),
        ({"hidden_layers": (8, 4), "dropout": (0.3, 0.1)}, {"dropout": [0.3, 0.1]}, {"dropout": 0.3}),
        ({"head": "cosine"}, {"head": "cosine"}, {"head": "linear"}),
        ({"learning_rate": 0.1, **LONG}, {"learning_rate": 0.1}, {"learning_rate": 0.2}),
        (LONG, LONG, {"unfreeze": "all"}),
        (LONG, {"batch_size": 32}, {"fine_tune_learning_rate": 1e-4}),
        ({"optimizer": "lbfgs", **LONG}, {"optimizer": "lbfgs"}, {"optimizer": "adam"}),
        ({"optimizer": "lbfgs", "batch_size": 8, **LONG}, {"batch_size": 8}, {"batch_size": 32}),
        ({"exclude": "bad.txt"}, {"exclude": str(Path("bad.txt").absolute())}, {"exclude": "worse.txt"}),
        ({"decisions": "a.csv"}, {"decisions": str(Path("a.csv").absolute())}, {"decisions": "b.csv"}),
        ({}, {"seed": 0}, {"unfreeze": "all"}),
    ],
)
def test_what_a_run_has_anyway_may_be_said_on_resume(options, same, other):
    run = build_settings("pets", options)
    refuse_on_resume(same, run)
    with pytest.raises(SettingsError, match=rf"{option_name(next(iter(other)))} cannot change on resume"):
        refuse_on_resume(same | other, run)


def test_every_option_of_the_command_and_of_python_is_a_setting():
    from inspect import signature

    from catdog_cli import resume, train

    options = list_options()
    others = {"data", "recipe", "output", "listeners", "log", "progress", "should_stop"}
    assert set(signature(train).parameters) - others == set(options)
    free = {name for name, setting in options.items() if setting.on_resume}
    assert set(signature(resume).parameters) - {"run", "accept_changed_data", "head", "same"} - others == free
