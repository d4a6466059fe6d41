"""A review that is going on: its groups of pictures, what was decided, and the file that keeps it."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..data.apply_decisions import describe_unfit, match_decisions
from ..data.class_names import class_name, find_alike
from ..data.dataset import Dataset
from ..data.decision_log import DecisionLog, utc_now
from ..data.decisions import EXCLUDE, RIGHT, UNDO, WRONG, Decision
from ..data.label_lists import DELIMITER
from ..errors import CatdogError, quote
from .groups import Answers, Case, Confusion, Group, Picture

MAX_NAME = 100  # letters of a new class
TOP = 9  # classes that are shown with their probability, and have a key


@dataclass(frozen=True)
class Summary:
    """What a review has come to; counted are the pictures of the file, whoever decided."""

    output: str
    num_right: int
    num_changed: int
    num_excluded: int

    @property
    def num_decisions(self) -> int:
        """How many pictures were decided about."""
        return self.num_right + self.num_changed + self.num_excluded


class Review:
    """Pictures, groups and decisions of one review; calls may come from several threads."""

    def __init__(
        self,
        dataset: Dataset,
        pictures: list[Picture],
        groups: list[Group],
        confusion: Confusion,
        answers: Answers,
        contents: list[str],
        log: DecisionLog,
        checkpoint: str,
    ) -> None:
        """Take up the decisions that the file holds already.

        Args:
            contents: a digest of each picture's content.
            checkpoint: the digest of the checkpoint.
        """
        self.dataset, self.pictures, self.groups = dataset, pictures, groups
        self.confusion, self.answers, self.log, self.checkpoint = confusion, answers, log, checkpoint
        self.several = dataset.has_several_labels
        self._contents, self._lock = contents, threading.Lock()
        self._copies = Counter(contents)
        settled = list(log.settled().values())
        found, unfit = match_decisions(dataset, settled)
        self.warnings = list(describe_unfit(unfit, len(settled), str(log.path)))
        numbers = {(picture.side, picture.index): number for number, picture in enumerate(pictures)}
        self._decided = {numbers[place]: decision for place, decision in found.items()}

    @property
    def class_names(self) -> list[str]:
        """The classes that a picture can be given: of the data, of the checkpoint, and those typed in."""
        typed = [
            name
            for decision in self.log.settled().values()
            if decision.decision == WRONG
            for name in self._names(decision.new_label)
        ]
        return list(dict.fromkeys((*self.dataset.class_names, *self.answers.class_names, *typed)))

    def describe(self) -> dict[str, Any]:
        """Return all that the page shows at first, as plain containers."""
        shown = {number for group in self.groups for case in group.cases for number in case.pictures}
        return {
            "data": str(self.dataset.root),
            "output": str(self.log.path),
            "several": self.several,
            "classes": self.class_names,
            "groups": [
                {
                    "name": group.name,
                    "title": group.title,
                    "total": group.total,
                    "cases": list(map(_describe_case, group.cases)),
                }
                for group in self.groups
            ],
            "confusion": {
                "rows": self.confusion.rows,
                "columns": self.confusion.columns,
                "counts": self.confusion.counts(),
            },
            "pictures": self.describe_pictures(shown),
        }

    def describe_cell(self, row: int, column: int) -> dict[str, Any]:
        """Return the cases of a cell of the confusion matrix with their pictures."""
        cases = self.confusion.cases(row, column, self.answers)
        numbers = {number for case in cases for number in case.pictures}
        return {"cases": list(map(_describe_case, cases)), "pictures": self.describe_pictures(numbers)}

    def describe_pictures(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Return what the page shows of pictures, by number."""
        return {number: self._describe(number) for number in sorted(numbers)}

    def _describe(self, number: int) -> dict[str, Any]:
        picture, decided = self.pictures[number], self._decided.get(number)
        return {
            "path": picture.path.encode("utf-8", "backslashreplace").decode(),
            "split": picture.side,
            "labels": list(picture.labels),
            "said": self.answers.top(number, TOP),
            "decision": None if decided is None else decided.decision,
            "new": [] if decided is None else self._names(decided.new_label),
        }

    def decide(self, number: Any, decision: Any, labels: Any) -> int:
        """Take a decision as a page sends it, write it down and return the picture's number.

        Args:
            decision: "right", "wrong" or "exclude".
            labels: of a wrong one: what it is.

        Raises:
            CatdogError: there is no such picture or class name, or it cannot be written.
        """
        picture = self._picture(number)
        if not isinstance(decision, str) or decision not in (RIGHT, WRONG, EXCLUDE):
            raise CatdogError(f"{quote(decision)} is not a decision: use right, wrong or exclude.")
        with self._lock:
            new = self._check_labels(labels) if decision == WRONG else []
            if decision == WRONG and set(new) == set(picture.labels):
                decision, new = RIGHT, []
            key = self._contents[number]
            known = len(key) == 32 and self._copies[key] == 1
            row = Decision(
                picture.path,
                picture.text,
                decision,
                DELIMITER.join(new),
                utc_now(),
                self.checkpoint,
                key if known else "",
            )
            self.log.append(row)
            self._decided[number] = row
        return int(number)

    def undo(self) -> int | None:
        """Take back the last decision that holds; return its picture, None where there is none.

        Raises:
            CatdogError: it cannot be written.
        """
        with self._lock:
            settled = list(self.log.settled().values())
            by_path = {picture.path: number for number, picture in enumerate(self.pictures)}
            last = next((row for row in reversed(settled) if row.path in by_path), None)
            if last is None:
                return None
            self.log.undo(last.path, self.checkpoint)
            number, before = by_path[last.path], self.log.settled().get(last.path)
            self._decided.pop(number, None)
            if before is not None:
                self._decided[number] = before
            return number

    def source(self, number: int) -> Any:
        """Return what the pixel path reads of a picture.

        Raises:
            CatdogError: there is no such picture.
        """
        picture = self._picture(number)
        return self.dataset.source(picture.side, picture.index)

    def summarize(self) -> Summary:
        """Return how many decisions of each kind the file holds."""
        found = [row.decision for row in self.log.settled().values() if row.decision != UNDO]
        counts = [found.count(word) for word in (RIGHT, WRONG, EXCLUDE)]
        return Summary(str(self.log.path), *counts)

    def _picture(self, number: Any) -> Picture:
        if type(number) is not int or not 0 <= number < len(self.pictures):
            raise CatdogError(f"There is no picture {quote(number)}: load the page again.")
        return self.pictures[number]

    def _names(self, text: str) -> list[str]:
        return [name for name in text.split(DELIMITER) if name] if self.several else [text] if text else []

    def _check_labels(self, labels: Any) -> list[str]:
        """Return the names of classes as the data spells them.

        Raises:
            CatdogError: one is empty or cannot be a class's name; of one class a picture there are several.
        """
        if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
            raise CatdogError("What the picture is instead is missing: choose a class.")
        if not self.several and len(labels) != 1:
            raise CatdogError("A picture has one class here: choose one.")
        return list(dict.fromkeys(map(self._check_label, labels)))

    def _check_label(self, name: str) -> str:
        name, known = class_name(name.strip()), self.class_names
        if name in known:
            return name
        alike = [other for other in known if find_alike([other, name])]
        if alike:
            return alike[0]
        bad = not name or len(name) > MAX_NAME or not name.isprintable() or name.startswith(".")
        if bad or set(name) & {"/", "\\", DELIMITER}:
            raise CatdogError(
                f"{quote(name)} cannot be the name of a class: give up to {MAX_NAME} letters without "
                f"/, \\ or {DELIMITER}, and no full stop in front."
            )
        return name


def _describe_case(case: Case) -> dict[str, Any]:
    return {"pictures": list(case.pictures), "why": case.why}
