"""What training says while it works: a live bar on a terminal, plain lines elsewhere; all on stderr."""

import shlex
from typing import TYPE_CHECKING, Any

from ...runtime.text import show_percent
from ...settings_networks import JOIN, describe_sizes, describe_weights
from .bars import Pace, TaskBar
from .terminal import counted, echo
from .units import show_duration, show_size

if TYPE_CHECKING:
    from ...settings import Phase


LOOKS_SAID = {"once": "", "mirror": ", twice each (mirrored)", "whole": ", 4 looks each (mirrored, whole)"}
SHOWN_SCORES = {"accuracy": "accuracy", "map": "mAP", "subset_accuracy": "subset accuracy"}


class TrainReport:
    """A listener of training that prints: a method `on_KIND` for each kind of event."""

    def __init__(self) -> None:
        self.bar = TaskBar()
        self._pace: Pace | None = None  # of the features, or of the epoch

    def __enter__(self) -> "TrainReport":
        self.bar.__enter__()
        self.bar.show("reading the pictures", 0, None)
        return self

    def __exit__(self, *exception: Any) -> None:
        self.bar.stop()

    def __call__(self, event: Any) -> None:
        handler = getattr(self, f"on_{event.kind}", None)
        if handler is not None:
            handler(**vars(event))

    def log(self, text: str, wrap: bool = True) -> None:
        """Print a line above the bar."""
        self.bar.log(text, wrap)

    def _hide(self) -> None:
        self.bar.hide()
        self._pace = None

    def on_warning(self, text: str) -> None:
        self.log(f"Warning: {text}")

    def on_advice(self, text: str) -> None:
        self.log(text)

    def on_report(self, text: str) -> None:
        self.log(text)

    def on_resume(self, path: Any, old: Any, new: Any, progress: Any) -> None:
        phase = new.phases[progress.phase]
        where = f"epoch {progress.epoch} of {phase.epochs}" + (
            f", batch {progress.step}" if progress.step else ""
        )
        self.log(f"Resuming from {str(path)!r}: phase {phase.name!r}, {where} done.")
        if progress.phase == len(new.phases) - 1 and progress.epoch >= phase.epochs:
            option = "--fine-tune-epochs" if progress.phase else "--epochs"
            self.log(f"  all epochs are done: {option} N with more than {phase.epochs} makes the run longer")
        before, after = old.to_dict(), new.to_dict()
        for name in after:
            if name != "phases" and before[name] != after[name]:
                self.log(f"  {name}: {after[name]} (given now) wins over {before[name]} (in the checkpoint)")
        for was, now in zip(old.phases, new.phases, strict=True):
            if was.epochs != now.epochs:
                self.log(f"  epochs of phase {now.name!r}: {now.epochs} (given now) wins over {was.epochs}")
                if now.scheduler != "constant":
                    self.log(
                        f"  the {now.scheduler} schedule is stretched to {counted(now.epochs, 'epoch')} from "
                        f"here on"
                    )

    def on_begin_again(self, run_dir: Any) -> None:
        self.log(f"Nothing was saved yet in {str(run_dir)!r}: starting again, with its settings and split.")

    def on_data_changed(self, changes: Any) -> None:
        """Say what was accepted, or that there are pictures which the run will not see."""
        if changes.harmful:
            end = "the run continues with what is left; its result will differ from that of a run in one go."
        else:
            end = "this run ignores them and continues with its own; start a new run to train on them."
        self.log(f"Warning: the pictures have changed since the run started: {changes.describe()}; {end}")

    def on_setup(self, setup: Any, run_dir: Any) -> None:
        from ...data.scan import describe_scan

        dataset = setup.dataset
        for split in ("train", "val"):
            counts = count_classes(dataset, split)
            shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:8])
            more = f", and {len(counts) - 8} more classes" if len(counts) > 8 else ""
            self.log(f"{split:5} {len(dataset.splits[split])} pictures: {shown}{more}")
        for text in describe_scan(dataset):
            self.log(text)
        precision = str(setup.dtype).removeprefix("torch.")
        origin = setup.origin
        tag = f" {origin.tag}" if origin.tag else ""
        licence = f" ({origin.source}{tag}, licence {origin.licence})" if origin.licence else ""
        self.log(
            f"{setup.settings.arch}, weights {describe_weights(setup.settings.weights)}{licence}, "
            f"{describe_sizes(setup.spec)} px{LOOKS_SAID[setup.settings.looks]}, "
            f"{setup.device.type}, {precision}; run directory {run_dir}"
        )
        for text in advise(dataset, setup.settings):
            self.log(text)

    def on_phase(
        self, phase: "Phase", index: int, blocks: list[str], trainable: int, total: int, done: int
    ) -> None:
        what = (
            "the head"
            if not phase.unfreeze
            else "everything"
            if phase.unfreeze == "all"
            else (f"the head and the last {phase.unfreeze} layers{f' (from {blocks[0]})' if blocks else ''}")
        )
        self.log(
            f"Phase {index + 1} {phase.name!r}: {describe_length(phase.epochs, phase.patience)}, "
            f"rate {phase.learning_rate:g}, trains {what}: {trainable:,} of {total:,} parameters"
        )
        self.bar.show(f"{phase.name}: reading the pictures", 0, None)  # until the first batch is done

    def on_features(self, name: str, done: int, total: int) -> None:
        self._pace = self._pace or Pace()
        self.bar.show(f"features of {name}", done, total, [self._pace.describe(done)])
        if done >= total:
            self._hide()

    def on_memory(self, what: str, size: int) -> None:
        rest = "; a batch still counts as a whole" if what == "training" else ""
        self.log(f"Out of memory: {what} continues with at most {size} pictures at once{rest}.")

    def on_cache_too_small(self, needed_bytes: int, limit_bytes: float) -> None:
        self.log(
            f"What the frozen blocks make of the pictures would take {needed_bytes / 1e9:.1f} GB, more than "
            f"--cache-limit {limit_bytes / 1e9:g}: it is computed again in each epoch, which is slower."
        )

    def on_bad_pictures(self, images: list) -> None:
        for image in images[:20]:
            self.log(f"Skipped: {image.reason}")
        if len(images) > 20:
            self.log(f"Skipped: {len(images) - 20} more.")

    def on_solved(self, l2: float, how: str, num_features: int, fold_accuracy: float | None) -> None:
        right = "" if fold_accuracy is None else f", {show_percent(fold_accuracy)} of them correct"
        self.log(f"Solved the head over {num_features} features; L2 {l2:g} ({how}{right})")

    def on_batch(
        self,
        done: int,
        total: int,
        phase: "Phase",
        epoch: int,
        train_loss: float,
        train_accuracy: float | None = None,
        train_subset_accuracy: float | None = None,
    ) -> None:
        if not self.bar.is_shown:
            return
        self._pace = self._pace or Pace()
        scores = {"accuracy": train_accuracy, "subset accuracy": train_subset_accuracy}
        facts = [
            f"loss {train_loss:.4f}",
            *(f"{name} {100 * value:.1f} %" for name, value in scores.items() if value is not None),
            self._pace.describe(done, phase.batch_size),
        ]
        self.bar.show(f"{phase.name} epoch {epoch}/{phase.epochs}", done, total, facts)

    def on_epoch(self, row: dict, epochs: int, best: dict) -> None:
        self._hide()
        mark = " *" if best and (best["phase"], best["epoch"]) == (row["phase"], row["epoch"]) else ""
        train, val = _describe_score(row, "train"), _describe_score(row, "val")
        self.log(
            f"{row['phase_name']} {row['epoch']}/{epochs}  train loss {row['train_loss']:.4f}{train}  "
            f"val loss {row['val_loss']:.4f}{val}  {row['pictures_per_s']:.0f} pictures/s  "
            f"{row['seconds']:.1f} s{mark}"
        )

    def on_early_stop(self, phase: str, epoch: int, patience: int) -> None:
        self.log(f"Phase {phase!r} stops after epoch {epoch}: no gain in {counted(patience, 'epoch')}")

    def on_run_end(self, result: Any) -> None:
        """Print the best epoch and what to do next."""
        from ...runs.directory import RunDirectory

        directory = RunDirectory(result.run_dir)
        self.bar.stop()
        best = result.best
        if best is not None:
            score = _describe_score(best, "val")
            self.log(
                f"Best: {best['phase_name']} epoch {best['epoch']}, validation{score}, loss "
                f"{best['val_loss']:.4f} as trained; {result.seconds:.1f} s in all"
            )
            self.log(f"Checkpoint: {directory.best}")
            self.log(f"Predict:    catdog predict PICTURE {shlex.quote(str(result.run_dir))}", wrap=False)

    def show_plan(self, facts: dict[str, Any]) -> None:
        """Print what a dry run found, to stdout."""
        for line in plan_lines(facts):
            echo(line)


def _describe_score(row: dict[str, Any], part: str) -> str:
    """Return what a row of the history says beside the loss: accuracy, or mAP where pictures have labels."""
    known = [name for name in SHOWN_SCORES if f"{part}_{name}" in row]
    return "".join(f" {SHOWN_SCORES[name]} {100 * row[f'{part}_{name}']:.2f} %" for name in known[:1])


def _sizes(sizes: int | list[int]) -> str:
    """Return the input sizes (px) of one network, or of several side by side: 224+260."""
    return JOIN.join(map(str, sizes)) if isinstance(sizes, list) else str(sizes)


def plan_lines(facts: dict[str, Any]) -> list[str]:
    """Return what a dry run found as lines for people."""
    lines = [f"{len(facts['classes'])} classes in {facts['data']!r}"]
    for split, counts in facts["pictures"].items():
        shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:8])
        more = ", ..." if len(counts) > 8 else ""
        total = facts.get("num_pictures", {}).get(split, sum(counts.values()))
        lines.append(f"{split:5} {total} pictures: {shown}{more}")
    lines.append(
        f"{facts['arch']}, weights {facts['weights']}, {_sizes(facts['image_size_px'])} px, "
        f"on {facts['device']} in {facts['precision']}"
    )
    for number, phase in enumerate(facts["phases"], 1):
        length = describe_length(phase["epochs"], phase["patience"])
        lines.append(
            f"Phase {number} {phase['name']!r}: {length}, trains "
            f"{phase['trainable_parameters']:,} of {phase['total_parameters']:,} parameters, "
            f"{'at most' if phase['patience'] else 'about'} {show_duration(phase['seconds'])}"
        )
        if phase["features_kept_bytes"]:
            lines.append(f"  keeps {show_size(phase['features_kept_bytes'])} of features in the cache")
    lines += _mlflow_lines(facts.get("mlflow"))
    lines.append(f"Memory about {facts['memory_bytes'] / 1e9:.1f} GB")
    bound = "at most" if any(phase["patience"] for phase in facts["phases"]) else "about"
    lines.append(
        f"Time {bound} {show_duration(facts['seconds'])}, measured on a few batches; nothing was written"
    )
    return lines


def describe_length(epochs: int, patience: int) -> str:
    """Return how long a phase trains, in words."""
    if not patience:
        return counted(epochs, "epoch")
    return f"at most {counted(epochs, 'epoch')}, until {patience} in a row gain nothing"


def _mlflow_lines(found: dict[str, Any] | None) -> list[str]:
    """Return a line on what `tracking.mlflow_check` found; none where nobody asked for MLflow."""
    if found is None:
        return []
    answer = {
        "absent": "holds nothing yet: a run makes it, with the experiment",
        "no experiment": "answers; a run makes the experiment",
        "experiment": "answers and has the experiment",
    }
    return [f"MLflow at {found['uri']!r} {answer[found['found']]} {found['experiment']!r}"]


def count_classes(dataset: Any, split: str) -> dict[str, int]:
    """Return the number of pictures of each class in a split."""
    from ...data.dataset import class_counts

    return dict(zip(dataset.class_names, class_counts(dataset, split).tolist(), strict=True))


def advise(dataset: Any, settings: Any) -> list[str]:
    """Return what the user should know before training: an imbalance beyond 1:3 names the options."""
    counts = [count for count in count_classes(dataset, "train").values() if count]
    if dataset.has_several_labels:  # that some labels are rare is as it should be
        return []
    if max(counts) <= 3 * min(counts) or any(
        phase.class_weights == "balanced" or phase.sampler == "balanced" for phase in settings.phases
    ):
        return []
    return [
        f"Warning: the largest class has {max(counts) / min(counts):.1f} times the pictures of the smallest: "
        f"consider --class-weights balanced or --sampler balanced."
    ]
