"""The files around the code: workflows, citation, lower bounds, what a wheel holds."""

import importlib.util
import re
from pathlib import Path

import pytest

import catdog_cli

ROOT = Path(__file__).resolve().parents[1]
yaml = pytest.importorskip("yaml", reason="PyYAML, which mlflow brings, is not here")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [
    path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"
]


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_jobs_with_steps_limits_and_few_rights(path):
    found = load(path)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert job["steps"], name
        assert job["timeout-minutes"] <= 60, name
        assert [step for step in job["steps"] if not {"uses", "run"} & set(step)] == []


def test_the_files_that_workflows_name_are_there():
    text = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    named = re.findall(r"\b(?:scripts|tests)/[\w/.-]+", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_python_that_is_promised_is_tested():
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))
    tested = load(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"][
        "python"
    ]
    assert promised == tested


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_something(path):
    found = load(path)
    assert found["name"]
    assert found["description"]
    assert [part["attributes"]["label"] for part in found["body"]]


def test_the_citation_has_the_version_of_the_code():
    found = load(ROOT / "CITATION.cff")
    assert found["version"] == catdog_cli.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(found)


def test_lower_bounds_become_constraints(tmp_path):
    spec = importlib.util.spec_from_file_location("oldest", ROOT / "scripts" / "oldest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    # why\n    torch>=2.11\n    ruff~=0.17\n"
        "[options.extras_require]\na =\n    timm>=1.0.25\n    catdog[b]\n"
    )
    assert module.list_bounds(tmp_path / "setup.cfg") == ["timm==1.0.25", "torch==2.11"]
    own = module.list_bounds(ROOT / "setup.cfg")
    assert any(line.startswith("torch==") for line in own)
