"""catdog-predict: the same code for machines without room for torch."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catdog_cli.cli import LEFT_OUT

from .conftest import draw_image
from .export.models import build_model, onnx_bytes
from .test_architecture import IMPORT_NAMES, ROOT

SMALL = ROOT / "packaging" / "predict" / "setup.cfg"


def read(path: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(path, encoding="utf-8")
    return config


def requirements(block: str) -> set[str]:
    return set(re.findall(r"^\s*([A-Za-z][^\s#]*)", block, re.MULTILINE))


def names(found: set[str]) -> set[str]:
    plain = {re.match(r"[A-Za-z][\w-]*", each)[0] for each in found}
    return {IMPORT_NAMES.get(name, name) for name in plain}


def test_it_asks_for_no_other_versions_than_catdog_itself():
    own, small = read(ROOT / "setup.cfg"), read(SMALL)
    known = requirements(own["options"]["install_requires"])
    known |= {each for block in own["options.extras_require"].values() for each in requirements(block)}
    wanted = requirements(small["options"]["install_requires"])
    wanted |= {each for block in small["options.extras_require"].values() for each in requirements(block)}
    assert wanted <= known
    assert small["options.entry_points"]["console_scripts"] == own["options.entry_points"]["console_scripts"]
    assert small["options"]["python_requires"] == own["options"]["python_requires"]


def test_what_it_leaves_out_is_told_by_name():
    own, small = read(ROOT / "setup.cfg"), read(SMALL)
    needed = (requirements(each["options"]["install_requires"]) for each in (own, small))
    assert names(next(needed)) - names(next(needed)) == LEFT_OUT


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "best.onnx").write_bytes(onnx_bytes(build_model("squeezenet1_1", 64), folder / "best.pt"))
    draw_image(0, 1).save(folder / "photo.jpg")
    return folder


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from catdog_cli.cli import run
sys.exit(run({arguments!r}))
"""


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["predict", "photo.jpg", "best.onnx", "--explain", "--json"], 0, ""),
        (["predict", "photo.jpg", "best.onnx", "--output", "rows.csv", "--summary"], 0, "1 row in"),
        (["explain", "photo.jpg", "best.onnx"], 0, ""),
        (["info", "best.onnx"], 0, ""),
        (["--help"], 0, ""),
        (["predict", "photo.jpg", "best.onnx", "--plot", "plot.png"], 1, "needs the package 'matplotlib'"),
        (
            ["predict", "photo.jpg", "best.pt"],
            1,
            "needs the package 'torch', which catdog-predict",
        ),
        (["export", "best.pt"], 1, "needs the package 'torch'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_it_answers_with_exported_files_and_says_what_it_cannot(place, arguments, code, match):
    script = BLOCKED.format(names=set(LEFT_OUT) | {"onnx", "onnxscript"}, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert match in done.stderr
    assert "Traceback" not in done.stderr
