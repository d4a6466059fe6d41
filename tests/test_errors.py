"""Every error is a CatdogError; an optional package that is missing is named with its extra."""

import pytest

from catdog_cli import errors


def test_all_errors_are_catdog_errors():
    kinds = [value for value in vars(errors).values() if getattr(value, "__module__", "") == errors.__name__]
    kinds = [kind for kind in kinds if isinstance(kind, type)]
    assert len(kinds) >= 5
    assert all(issubclass(kind, errors.CatdogError) for kind in kinds)


def test_require_returns_the_module():
    assert errors.require("json", "any").loads("1") == 1


def test_require_names_the_extra():
    with pytest.raises(
        errors.CatdogError, match=r"needs the package 'no_such_package': run `pip install 'ca"
    ):
        errors.require("no_such_package", "track")
