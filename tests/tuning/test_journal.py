"""The journal: the same trials after a kill, several processes, torn lines."""

import contextlib
import json

import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.tuning.journal import Journal, Study
from catdog_cli.tuning.space import Range

DIMENSIONS = {
    "rate": Range(1e-4, 1e-1, log=True),
    "layers": ((8,), (16, 8)),
    "epochs": Range(1, 9, whole=True),
}
FIRST = [{"rate": 0.01, "layers": (8,), "epochs": 3}]


def open_study(folder, seed=3):
    journal = Journal(folder, seed)
    study = Study(journal, "heads", DIMENSIONS)
    return journal, study


def value_of(params):
    return -abs(params["rate"] - 0.02) - 1.0 * len(params["layers"]) - 0.01 * params["epochs"]


def run(study, count):
    """Make trials until there are `count`; return their params."""
    while len(study.trials()) < count or not study.trials()[-1].ended:
        trial = study.ask(FIRST)
        value = value_of(trial.params)
        study.tell(trial, value, {"seconds": 1.0, "rung_1": value})
    return [trial.params for trial in study.trials()]


def test_the_first_trial_is_what_was_said_and_values_keep_their_kind(tmp_path):
    journal, study = open_study(tmp_path)
    first, second = run(study, 2)
    assert first == {"rate": 0.01, "layers": [8], "epochs": 3}
    assert type(second["epochs"]) is int
    assert second["layers"] in ([8], [16, 8])
    trial = study.trials()[1]
    assert (trial.score, trial.facts, trial.key) == (
        value_of(second),
        {"seconds": 1.0, "rung_1": value_of(second)},
        "heads-1",
    )
    journal.close()


def test_killed_between_any_two_steps_it_tries_the_same(tmp_path):
    journal, study = open_study(tmp_path / "one")
    expected = run(study, 16)
    journal.close()
    for number in range(16):
        journal, study = open_study(tmp_path / "two")
        trial = study.ask(FIRST)
        assert trial.number == number
        journal.close()  # killed: the trial has no result
        journal, study = open_study(tmp_path / "two")
        again = study.ask(FIRST)
        assert (again.number, again.params) == (number, trial.params)
        study.tell(again, value_of(again.params), {"rung_1": value_of(again.params)})
        journal.close()
    journal, study = open_study(tmp_path / "two")
    assert [trial.params for trial in study.trials()] == expected
    journal.close()


def test_killed_while_a_trial_is_drawn_it_tries_the_same(tmp_path, monkeypatch):
    """The journal has some of its parameters: the others are what they would have been."""
    journal, study = open_study(tmp_path / "one")
    expected = run(study, 20)
    journal.close()
    suggest = Study._suggest
    for number in range(20):
        for most in (0, 1, 2, 3):
            journal, study = open_study(tmp_path / "two")
            left = most

            def suggest_some(self, trial, name):
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return suggest(self, trial, name)

            with monkeypatch.context() as patch:
                patch.setattr(Study, "_suggest", suggest_some)
                trial = None
                with contextlib.suppress(KeyboardInterrupt):
                    trial = study.ask(FIRST)
            if trial is not None:
                value = value_of(trial.params)
                study.tell(trial, value, {"seconds": 1.0, "rung_1": value})
            journal.close()
        assert len(study.trials()) == number + 1
    journal, study = open_study(tmp_path / "two")
    assert [trial.params for trial in study.trials()] == expected
    journal.close()


def test_another_seed_tries_other_things(tmp_path):
    found = []
    for seed in (1, 2):
        journal, study = open_study(tmp_path / str(seed), seed)
        found.append(run(study, 3)[1:])
        journal.close()
    assert found[0] != found[1]


def test_a_trial_of_a_living_process_is_left_to_it(tmp_path):
    journal, study = open_study(tmp_path)
    other, its_study = open_study(tmp_path)
    mine, its = study.ask([]), its_study.ask([])
    assert (mine.number, its.number) == (0, 1)
    assert mine.params != its.params
    other.close()
    taken = study.ask([])
    assert (taken.number, taken.params) == (1, its.params)
    study.tell(mine, 1.0, {})
    study.tell(taken, None, {"why": "behind"})
    scores = [(trial.score, trial.ended) for trial in study.trials()]
    assert scores == [(1.0, True), (None, True)]
    journal.close()


def test_work_that_another_process_has_is_not_begun_twice(tmp_path):
    journal, other = Journal(tmp_path, 0), Journal(tmp_path, 0)
    with journal.alone("grid", wait=False) as mine, other.alone("grid", wait=False) as its:
        assert (mine, its) == (True, False)
    with other.alone("grid", wait=False) as its:
        assert its
    journal.close()
    other.close()


def test_a_torn_line_is_cut_off(tmp_path):
    journal, study = open_study(tmp_path)
    expected = run(study, 3)
    journal.close()
    path = tmp_path / "journal.log"
    with path.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id"')
    journal, study = open_study(tmp_path)
    assert [trial.params for trial in study.trials()] == expected
    assert len(run(study, 4)) == 4
    assert all(json.loads(line) for line in path.read_text().splitlines())
    journal.close()


def test_a_ruined_journal_is_said(tmp_path):
    journal, study = open_study(tmp_path)
    run(study, 1)
    journal.close()
    path = tmp_path / "journal.log"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(CatdogError, match="Cannot use the journal"):
        open_study(tmp_path)


def test_notes_stay_as_the_first_process_made_them(tmp_path):
    journal, study = open_study(tmp_path)
    assert study.note("sights", ["a"]) == ["a"]
    assert study.note("sights", ["b"]) == ["a"]
    study.renote("used_s", 3.0)
    study.renote("used_s", 4.0)
    assert (study.noted("used_s"), study.noted("nothing")) == (4.0, None)
    journal.close()
