"""The checkpoint file: whole or not there, loaded without running code, refused in one sentence."""

import io
import os
import stat
import time
import zipfile
from pathlib import Path

import pytest
import torch

from catdog_cli.errors import CheckpointError
from catdog_cli.models.classifier import build_classifier
from catdog_cli.runs.checkpoint import (
    FORMAT_VERSION,
    PREDICT_KEYS,
    RESUME_KEYS,
    build_from_checkpoint,
    describe_model,
    load_checkpoint,
    save_checkpoint,
)
from catdog_cli.runs.directory import RunDirectory, find_checkpoint, newest_run, write_run_file
from catdog_cli.settings import HeadSpec, InputSpec, TrainSettings
from catdog_cli.settings_schema import settings_of
from tests.conftest import one_thread

HEAD = HeadSpec((6,), 0.1)
SPEC = InputSpec(32, 36)
OLD = Path(__file__).parents[1] / "data_files" / "checkpoint-v1.pt"
NOT_LOADABLE = (
    "is not a checkpoint that can be loaded safely: it is damaged, truncated, of another format, or"
)


def make_content(resume: bool = False) -> dict:
    """Return the content of a checkpoint of simple_cnn with classes b and a (outputs 0 and 1)."""
    classifier = build_classifier("simple_cnn", 2, HEAD, seed=5)
    content = describe_model(classifier, HEAD, ["b", "a"], SPEC)
    if resume:
        numbers = dict.fromkeys(("epoch", "phase", "step", "patience"), 0)
        content.update(dict.fromkeys(RESUME_KEYS), **numbers, history=[])
        content["settings"] = TrainSettings(data="pets").to_dict()
    return content


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small networks lose much by threads where other work fills the cores."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "best.pt"
    save_checkpoint(make_content(), path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def load_changed(folder: Path, **changes):
    """Save a checkpoint with other values (None: without the key), load it and build its network."""
    content = {**make_content(), **changes}
    content = {key: value for key, value in content.items() if value is not None}
    save_checkpoint(content, folder / "best.pt")
    return build_from_checkpoint(load_checkpoint(folder), folder / "best.pt")


def test_round_trip(saved):
    model = build_from_checkpoint(load_checkpoint(saved), saved)
    assert (model.class_names, model.input_spec, model.head, model.temperature) == (
        ["b", "a"],
        SPEC,
        HEAD,
        1.0,
    )
    wanted = build_classifier("simple_cnn", 2, HEAD, seed=5).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.classifier(images), wanted(images))
    assert not model.classifier.training


def test_a_checkpoint_holds_plain_containers_and_tensors(saved):
    content = torch.load(saved, weights_only=True)
    assert set(content) == {*PREDICT_KEYS, *settings_of(HeadSpec)}
    assert content["format_version"] == FORMAT_VERSION
    assert type(content["state_dict"]) is dict


@pytest.mark.parametrize("arch", ["mnasnet0_5", "regnet_x_400mf", "shufflenet_v2_x0_5"])
def test_other_archs_come_back(tmp_path, arch):
    """MNASNet asks for versions that a plain dict lacks; RegNet counts its layers with tensors."""
    classifier = build_classifier(arch, 2, HEAD).eval()
    save_checkpoint(describe_model(classifier, HEAD, ["b", "a"], SPEC), tmp_path / "best.pt")
    model = build_from_checkpoint(load_checkpoint(tmp_path), tmp_path)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.classifier(images), classifier(images))


def test_the_checkpoint_of_the_first_format_is_read_for_ever():
    """Written once, on the first day of format 1. If this fails, the format needs another number."""
    model = build_from_checkpoint(load_checkpoint(OLD), OLD)
    assert model.class_names == ["cats", "dogs"]
    assert (model.input_spec, model.temperature) == (InputSpec(32, 36, interpolation="bicubic"), 1.5)
    with torch.no_grad():
        logits = model.classifier(torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32))
    torch.testing.assert_close(logits, torch.tensor([[-0.5143312, 0.3746727]]), rtol=1e-3, atol=1e-4)


# --- writing


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"Cannot write '.*last\.pt' \(No space left on device\): free"):
        write_run_file(path, fail)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["last.pt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_any_other_end_while_writing_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of the new")
        raise error

    with pytest.raises(error):
        write_run_file(path, fail)
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["last.pt"])


def test_what_torch_cannot_write_is_one_sentence(tmp_path):
    class FullDisk(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"Cannot write '.*best\.pt'"):
        write_run_file(tmp_path / "best.pt", lambda file: torch.save(make_content(), FullDisk()))
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match=r"Cannot write '.*best\.pt' \(Not a directory\)"):
        save_checkpoint(make_content(), tmp_path / "run" / "best.pt")


def test_a_folder_that_is_gone_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"\(No such file or directory\): free space or choose another"):
        save_checkpoint(make_content(), tmp_path / "gone" / "best.pt")


def test_a_file_system_that_cannot_sync_folders_is_fine(tmp_path, monkeypatch):
    real = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_run_file(tmp_path / "a", lambda file: file.write(b"new"))
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path):
    write_run_file(tmp_path / ("ä" * 127), b"new")
    assert (tmp_path / ("ä" * 127)).read_bytes() == b"new"


# --- files that are no checkpoints


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.99, 0.999])
def test_a_truncated_checkpoint_is_refused(saved, tmp_path, share):
    whole = saved.read_bytes()
    (tmp_path / "best.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=NOT_LOADABLE):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty: the copy or the download went wrong"),
        (b"some text", "is a text, not a model: give a checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a picture, not a model: give a checkpoint"),
    ],
    ids=["empty", "text", "png"],
)
def test_another_file_is_refused(tmp_path, content, match):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(tmp_path)


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "best.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="is an archive, not a model: unpack it"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [[1], torch.zeros(2), {}], ids=str)
def test_a_foreign_torch_file_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "best.pt")
    with pytest.raises(
        CheckpointError, match=r"is not a catdog checkpoint: give a \.pt file that `catdog tr"
    ):
        load_checkpoint(tmp_path)


class RunsCode:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("key", ["extra", "state_dict", "settings"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, key):
    torch.save({**make_content(), key: RunsCode(tmp_path / "ran")}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="holds code, which catdog never runs: give another file"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99, 0, -1, True, "1", 1.0])
def test_a_newer_or_strange_format_is_refused(tmp_path, version):
    with pytest.raises(CheckpointError, match=rf"has checkpoint format {version!r}, this catdog reads up to"):
        load_changed(tmp_path, format_version=version)


@pytest.mark.parametrize("key", [key for key in PREDICT_KEYS if key != "format_version"])
def test_a_missing_part_is_named(tmp_path, key):
    with pytest.raises(CheckpointError, match=rf"best\.pt' lacks {key}: it is damaged"):
        load_changed(tmp_path, **{key: None})


def changed_state(**changes) -> dict:
    return {"state_dict": {**make_content()["state_dict"], **changes}}


ROWS = {
    "unknown arch": ({"arch": "resnet19"}, "Unknown arch 'resnet19'"),
    "arch is a number": ({"arch": 5}, "arch is 5, but must be a text"),
    "arch is a list": ({"arch": []}, r"arch is \[\]"),
    "another arch": ({"arch": "resnet18"}, r"head\.norm\.mean is \(256,\) instead of \(512,\)"),
    "one class more": (
        {"class_to_idx": {"a": 1, "b": 0, "c": 2}},
        r"head\.output\.weight is \(2, 6\) instead of",
    ),
    "no classes": ({"class_to_idx": {}}, "does not number the classes from 0 on"),
    "a gap": ({"class_to_idx": {"a": 0, "b": 2}}, "does not number the classes from 0 on"),
    "from one": ({"class_to_idx": {"a": 1, "b": 2}}, "does not number the classes from 0 on"),
    "twice": ({"class_to_idx": {"a": 0, "b": 0}}, "does not number the classes from 0 on"),
    "text index": ({"class_to_idx": {"a": "x", "b": 0}}, "not supported between"),
    "number name": ({"class_to_idx": {1: 0, 2: 1}}, "a class whose name is not text"),
    "classes in a list": ({"class_to_idx": ["a", "b"]}, r"class_to_idx is \['a', 'b'\], but must be names"),
    "other hidden": ({"hidden_layers": [7]}, r"instead of"),
    "huge hidden": ({"hidden_layers": [10**9]}, "hidden layers is 1000000000"),
    "deep hidden": ({"hidden_layers": [1] * 10**6}, "number of hidden layers is 1000000"),
    "wide hidden": ({"hidden_layers": [65536] * 100}, "instead of"),
    "hidden is text": ({"hidden_layers": "512"}, "hidden_layers is '512', but must be a list"),
    "dropout": ({"dropout": 2.0}, "dropout is 2.0"),
    "dropouts": ({"dropout": [0.1, 0.2]}, "dropout has 2 numbers, but the head has 1 hidden layer"),
    "endless dropouts": ({"dropout": [0.1] * 10**6}, "dropout is"),
    "activation": ({"activation": "sin"}, "activation is 'sin', but must be one of"),
    "head norm": ({"head_norm": torch.zeros(5)}, "head norm is tensor"),
    "head": ({"head": ["linear"]}, r"head is \('linear',\), but must be one of"),
    "other head": ({"head": "cosine"}, "Missing key|Unexpected key"),
    "input size": ({"input_spec": {"size": 10**9}}, "image size is 1000000000"),
    "input field": ({"input_spec": {"sise": 8}}, "Unknown setting 'sise'"),
    "input std": ({"input_spec": {"std": [0.0, 1.0, 1.0]}}, "std is 0.0"),
    "input list": ({"input_spec": [224]}, "must be names with values"),
    "temperature": ({"temperature": 0.0}, "temperature is 0.0"),
    "temperature nan": ({"temperature": float("nan")}, "temperature is nan"),
    "state is a list": ({"state_dict": [1]}, r"state_dict is \[1\]"),
    "state is empty": ({"state_dict": {}}, "Missing key"),
    "extra tensor": (changed_state(extra=torch.zeros(1)), "Unexpected key"),
    "not a tensor": (changed_state(**{"head.output.bias": [1.0, 2.0]}), "list"),
    "wrong shape": (
        changed_state(**{"head.output.bias": torch.zeros(3)}),
        r"bias is \(3,\) instead of \(2,\)",
    ),
    "wrong dtype": (
        changed_state(**{"head.output.bias": torch.zeros(2).half()}),
        "float16.* instead of torch.float32",
    ),
    "whole numbers": (changed_state(**{"head.output.bias": torch.zeros(2).long()}), "int64.* instead of"),
    "nan": (
        changed_state(**{"head.output.bias": torch.tensor([0.0, float("nan")])}),
        "bias holds numbers that",
    ),
    "inf": (
        changed_state(**{"head.output.bias": torch.tensor([0.0, float("inf")])}),
        "bias holds numbers that",
    ),
    "sparse": (changed_state(**{"head.output.bias": torch.zeros(2).to_sparse()}), "instead of"),
    "no numbers": (
        changed_state(**{"head.output.bias": torch.zeros(2, device="meta")}),
        "on meta instead of",
    ),
    "10^15 zeros": (
        changed_state(**{"head.output.bias": torch.zeros(1).expand(10**15)}),
        r"\(1000000000000000,\) inst",
    ),
}


@pytest.mark.parametrize(("changes", "reason"), ROWS.values(), ids=ROWS)
def test_parts_that_do_not_fit_are_refused_quickly(tmp_path, changes, reason):
    started = time.process_time()
    with pytest.raises(CheckpointError, match=r"The parts of '.*best\.pt' do not fit together \(.*" + reason):
        load_changed(tmp_path, **changes)
    assert time.process_time() - started < 20  # not minutes, and not the memory of a billion units


def test_a_missing_tensor_is_named(tmp_path):
    state = make_content()["state_dict"]
    del state["head.output.bias"]
    with pytest.raises(CheckpointError, match=r"Missing key\(s\) in state_dict: \"head\.output\.bias\""):
        load_changed(tmp_path, state_dict=state)


# --- resuming


def test_best_cannot_resume(saved):
    with pytest.raises(CheckpointError, match=r"holds only what predicting needs: resume from last\.pt"):
        load_checkpoint(saved, resume=True)


def test_last_can_resume_and_predict(tmp_path):
    save_checkpoint(make_content(resume=True), tmp_path / "last.pt")
    content = load_checkpoint(tmp_path, "last.pt", resume=True)
    assert build_from_checkpoint(content, tmp_path).class_names == ["b", "a"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": 1}, r"The progress in '.*' makes no sense \(phase is 1\)"),
        ({"phase": -1}, r"makes no sense \(phase is -1\)"),
        ({"epoch": "3"}, r"makes no sense \(epoch is '3'\)"),
        ({"step": 1.5}, r"makes no sense \(step is 1\.5\)"),
        ({"patience": True}, r"makes no sense \(patience is True\)"),
        ({"history": {}}, r"makes no sense \(history is {}\)"),
        ({"data_fingerprint": torch.zeros(2)}, r"makes no sense \(data_fingerprint is tensor"),
        ({"data_fingerprint": {"digest": torch.zeros(2)}}, r"makes no sense \(data_fingerprint is"),
        ({"settings": 5}, r"makes no sense \(phase is 0\)"),
        (changed_state(**{"head.output.bias": torch.zeros(3)}), r"do not fit together"),
    ],
)
def test_progress_that_makes_no_sense_is_refused(tmp_path, changes, message):
    save_checkpoint({**make_content(resume=True), **changes}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path, "last.pt", resume=True)


# --- finding


def test_a_run_directory_and_a_file_are_found(tmp_path):
    for name in ("best.pt", "last.pt"):
        (tmp_path / name).touch()
        assert find_checkpoint(tmp_path, name) == tmp_path / name
    assert find_checkpoint(str(tmp_path / "last.pt"), "best.pt") == tmp_path / "last.pt"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", r"No best\.pt in '.*': give a run directory or a checkpoint file"),
        ("missing", r"No checkpoint at '.*missing': give a run directory or a \.pt file"),
        ("x" * 300, r"Cannot look for '.*xxx' \(File name too long\)|No checkpoint at"),
    ],
)
def test_nothing_there_is_said(tmp_path, path, message):
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint(tmp_path / path)


def test_the_folder_of_runs_suggests_the_newest(tmp_path):
    (tmp_path / "simple_cnn-3").mkdir()
    with pytest.raises(CheckpointError, match=r"or a checkpoint file\.$"):  # which has nothing yet
        find_checkpoint(tmp_path)
    (tmp_path / "simple_cnn-3" / "best.pt").touch()
    with pytest.raises(CheckpointError, match=r"did you mean '.*simple_cnn-3'\?"):
        find_checkpoint(tmp_path)


def test_the_newest_run_is_found_by_number(tmp_path):
    assert newest_run(tmp_path) is None
    assert newest_run(tmp_path / "missing") is None
    for name in ("resnet18-2", "resnet18-10", "mobilenet_v2-9", "notes", "old-99x", "backup-20261125"):
        (tmp_path / name).mkdir()
    (tmp_path / "file-100").touch()
    assert newest_run(tmp_path) == tmp_path / "resnet18-10"
    assert RunDirectory.reserve(tmp_path, "vgg11").path == tmp_path / "vgg11-11"
