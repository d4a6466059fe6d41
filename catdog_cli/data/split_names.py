"""What people call the folders and the rows of a split: train, Training, val, dev, holdout ..."""

import re

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tests", "tst", "holdout", "heldout"),
}
SPLITS = {word: split for split, words in WORDS.items() for word in words}
FULL_NAMES = {"train": "training", "val": "validation", "test": "test"}
FILLERS = re.compile(
    r"(set|data|dataset|images?|imgs|pictures|photos|folder|split|\d+)$"
)  # test_set, train2017


def split_of(name: str) -> str | None:
    """Return the split that a name stands for, in any case: "train", "val" or "test"; None for none."""
    word = re.sub(r"[\s._-]+", "", name).lower()
    while word and word not in SPLITS:
        shorter = FILLERS.sub("", word)
        if shorter == word:
            return None
        word = shorter
    return SPLITS.get(word)


def is_own_name(name: str) -> bool:
    """Say whether a split is called exactly as catdog calls it, but for upper and lower case."""
    return name.lower() in WORDS
