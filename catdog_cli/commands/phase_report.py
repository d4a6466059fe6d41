"""The report that training writes for the best checkpoint of each phase; called by `progress`."""

from typing import Any

from .evaluation import image_path, photo_reader, write_files

DPI = 100  # a report at the end of a training of one second should not take another one


def write_phase_report(setup: Any, run_dir: Any, facts: dict[str, Any]) -> str | None:
    """Write the report of a phase's best epoch into run_dir/reports/N-NAME and return a sentence on it.

    Its numbers are those that training printed: of the validation pictures, as trained. How a temperature
    would change them is measured on parts of these pictures that did not choose it.

    Args:
        setup: what `training.setup.prepare_run` returned.
        run_dir: the run directory.
        facts: what training reports at "phase_end": index, phase, best, logits (N, C), labels and indices
            (N,) of the readable validation pictures.

    Returns:
        None where no epoch was trained or nothing could be measured.

    Raises:
        CatdogError: the logits are not finite, or the report cannot be written.
    """
    from ..evaluation.report import summarize
    from ..runs.directory import RunDirectory

    phase, best = facts["phase"], facts["best"]
    if best is None or not len(facts["labels"]):
        return None
    document, scores = _measure(setup, facts)
    directory = RunDirectory(run_dir).report(facts["index"], phase.name)
    what = f"{phase.name!r}, best epoch {best['epoch']}"
    title = f"{setup.settings.arch}, phase {what}, on validation pictures"
    write_files(directory, title, document, scores, photo_reader(setup.dataset, "val"), DPI)
    return f"Phase {what}: {summarize(document)} Report: {directory / 'report.html'}"


def _measure(setup: Any, facts: dict[str, Any]) -> tuple[dict[str, Any], tuple[Any, Any]]:
    """Return the report's document, and the probabilities (N, C) and labels (N,) that it is about."""
    from ..evaluation.calibration import calibrate, measure_calibration
    from ..evaluation.metrics import full_metrics
    from ..evaluation.report import find_mistakes

    logits, labels = facts["logits"].double().cpu().numpy(), facts["labels"].cpu().numpy()
    names, paths = setup.dataset.class_names, setup.dataset.splits["val"].paths
    probabilities = calibrate(logits)
    shown = [image_path(setup.dataset, paths[place]) for place in facts["indices"].tolist()]
    document = {
        **full_metrics(probabilities, labels, names),
        "calibration": measure_calibration(logits, labels),
        "mistakes": find_mistakes(probabilities, labels, names, shown),
    }
    return document, (probabilities, labels)
