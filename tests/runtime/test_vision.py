"""The command line imports torchvision without torch's compiler; code that compiles gets the real one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catdog_cli.models.classifier import build_classifier
from catdog_cli.runtime import startup
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training.optimizers import build_optimizer
from tests.conftest import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
ENABLE = "from catdog_cli.runtime import startup; startup.enable();"
TINY = ["--arch", "simple_cnn", "--weights", "none", "--image-size", "32", "--cpu"]


@pytest.fixture(autouse=True)
def _not_plain(monkeypatch):
    monkeypatch.delenv(startup.PLAIN, raising=False)


def log(code, cwd=ROOT):
    """Return what a fresh Python prints when it runs `code`."""
    done = run(code, cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def run(code, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


LOADED = "import sys; print(*{'torch._dynamo', 'torch._dynamo.utils', 'sympy'}.intersection(sys.modules))"


def test_importing_torchvision_leaves_the_compiler_out():
    assert log("import torchvision;" + LOADED) != []  # or this file is not needed any more
    code = "from catdog_cli.runtime.vision import torchvision as v; v.models.resnet18();"
    assert log(ENABLE + code + LOADED) == []


UNTOUCHED = """
dynamo = sys.modules.get("torch._dynamo")
assert dynamo is None or dynamo.__file__
wrapped = [getattr(method, "__wrapped__", None) for method in vars(torch.optim.Optimizer).values()]
disabled = [function.__dynamo_disable for function in wrapped if hasattr(function, "__dynamo_disable")]
assert not any(function.__code__.co_filename == startup.__file__ for function in disabled), "touched"
assert threading.excepthook is threading.__excepthook__
assert "GLIBC_TUNABLES" not in os.environ and "GOMP_SPINCOUNT" not in os.environ
print("untouched")
"""
STEP = """
import os, sys, threading
from catdog_cli import Predictor
from catdog_cli.models.classifier import build_classifier
from catdog_cli.runtime import startup
from catdog_cli.settings import HeadSpec, Phase
from catdog_cli.training.optimizers import build_optimizer
import torch
optimizer = build_optimizer(build_classifier("simple_cnn", 3, HeadSpec()), Phase("all", 1, unfreeze="all"))
optimizer.zero_grad()
optimizer.step()
assert type(optimizer).__module__.startswith("torch.optim.") is EXPECTED
"""


@pytest.mark.parametrize("plain", ["", "1"])
def test_a_library_leaves_torch_and_the_process_as_they_are(monkeypatch, plain):
    """So does a command line that is told to be plain."""
    for name in ("GLIBC_TUNABLES", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(startup.PLAIN, plain)
    start = ENABLE if plain else ""
    assert log(start + STEP.replace("EXPECTED", "True") + UNTOUCHED) == ["untouched"]


def test_the_check_of_an_untouched_torch_sees_a_touched_one():
    done = run(ENABLE + STEP.replace("EXPECTED", "False") + UNTOUCHED)
    assert done.stderr.endswith("AssertionError: touched\n")


def test_training_and_predicting_leave_the_compiler_out(pets, tmp_path):
    """Whatever the optimizer; lbfgs solves for the head alone."""
    recipe = tmp_path / "recipe.toml"
    phases = {"lbfgs": 0, "adam": 1, "adamw": 1, "sgd": 1}
    recipe.write_text(
        "".join(
            f'[[phase]]\nname = "{name}"\nepochs = 1\noptimizer = "{name}"\nunfreeze = {layers}\n'
            for name, layers in phases.items()
        )
    )
    train = ["train", str(pets), *TINY, "--recipe", str(recipe), "--output", str(tmp_path / "run")]
    predict = ["predict", str(next(pets.rglob("*.png"))), str(tmp_path / "run"), "--cpu"]
    code = f"{ENABLE} from catdog_cli import cli;"
    for command in (train, predict):
        code += f"assert cli.run({command}) == 0; print('loaded', end=':');{LOADED};"
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded")] == ["loaded:"] * 2


AFTER = """
import torch
from catdog_cli.runtime.startup import keep_compiler_out
from catdog_cli.runtime.vision import torchvision

@keep_compiler_out
def outside(x):
    return x + torch.compiler.is_compiling()

def inside(x):
    return outside(x) + torch.compiler.is_compiling()

print(outside(torch.zeros(1)).item())
print(torch.compile(inside, backend="eager")(torch.zeros(1)).item())
print(hasattr(torch._dynamo, "optimize"), torchvision.ops.roi_align.__module__)
"""


def test_the_real_compiler_is_there_for_whoever_compiles():
    """Inside a compiled function is_compiling() counts 1; what the compiler is kept out of counts 0."""
    assert log(ENABLE + AFTER) == ["0.0", "1.0", "True", "torchvision.ops.roi_align"]


def test_what_the_stand_ins_lack_is_the_real_compilers():
    code = (
        f"{ENABLE} import sys, torch\n"
        "with startup._compiler_stands_by():\n"
        "    assert not hasattr(sys.modules['torch._dynamo'], '__file__')\n"
        "    from torch._dynamo.utils import counters\n"
        "import torch._dynamo.utils as utils\n"
        "print(utils.counters is counters, utils.is_compile_supported('cpu') in (True, False))"
    )
    assert log(code) == ["True", "True"]


def test_a_torchvision_that_wants_more_of_the_compiler_gets_it(tmp_path):
    for name in ("", "io", "transforms", "transforms/v2", "transforms/v2/functional"):
        (tmp_path / "torchvision" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "torchvision" / name / "__init__.py").write_text("")
    (tmp_path / "torchvision" / "__init__.py").write_text("import torch._dynamo.config\nmade = 'here'\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.insert(1, {str(ROOT)!r})\n"
        f"{ENABLE} from catdog_cli.runtime.vision import torchvision; import torch\n"
        "print(torchvision.made, hasattr(torch._dynamo, 'optimize'))"
    )
    assert log(code, tmp_path) == ["here", "True"]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_steps_without_the_compiler_are_torchs_own(monkeypatch, name, kind, fused):
    """Other devices than CPU and CUDA take the steps that are not fused, which need no_grad."""
    monkeypatch.setenv(startup.ENABLED, "1")
    ours, theirs = (_trained(name, kind, own, fused) for own in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("enabled", [True, False])
def test_hooks_of_torch_are_called_once_a_step(monkeypatch, enabled):
    monkeypatch.delenv(startup.ENABLED, raising=False)
    if enabled:
        monkeypatch.setenv(startup.ENABLED, "1")
    classifier = build_classifier("simple_cnn", 3, HeadSpec())
    optimizer, called = build_optimizer(classifier, Phase("all", 1, 0.01, unfreeze="all")), []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("behind"))
    optimizer.step()
    assert called == ["before", "behind"]


def _trained(name, kind, own, fused):
    torch.manual_seed(0)
    classifier = build_classifier("simple_cnn", 3, HeadSpec())
    optimizer = build_optimizer(classifier, Phase("all", 1, 0.01, unfreeze="all", optimizer=name))
    assert type(optimizer).__name__ == kind
    options = {key: value for key, value in optimizer.defaults.items() if key != "decoupled_weight_decay"}
    groups = [{**group, "fused": fused, "foreach": False} for group in optimizer.param_groups]
    optimizer = (type(optimizer) if own else getattr(torch.optim, kind))(
        groups, **{**options, "fused": fused}
    )
    for _ in range(3):
        optimizer.zero_grad()
        classifier(torch.randn(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
        assert all(not parameter.requires_grad or parameter.is_leaf for parameter in classifier.parameters())
    return [parameter.detach() for parameter in classifier.parameters()]
