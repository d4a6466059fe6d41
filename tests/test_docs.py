"""README and the command line say the same: commands, options, examples, links and pictures."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from catdog_cli import cli

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
OTHERS_OPTIONS = ("catdog train pets --lr 0.001: there is no option --lr",)  # what the page says of a mistake
SEPARATORS = {"|", ">", ">>", "2>", "&&", ";", "&"}

Words = tuple[str, ...]


def find_root() -> click.Group:
    """Return the click group that catdog_cli.cli defines."""
    return next(value for value in vars(cli).values() if isinstance(value, click.Group))


def walk_commands(group: click.Group, words: Words = ("catdog",)) -> Iterator[tuple[Words, click.Command]]:
    """Yield every command below `group` with the words that call it, hidden ones left out."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk_commands(command, (*words, name))
        elif not command.hidden:
            yield (*words, name), command


COMMANDS = dict(walk_commands(find_root()))


def list_calls(markdown: str) -> list[list[str]]:
    """Return the words of every `catdog ...` line in the code blocks of `markdown`."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [line.strip().removeprefix("$ ") for line in lines]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("catdog ")]


def find_command(words: list[str]) -> tuple[Words, click.Command] | None:
    """Return the command that `words` call, or None where they call the root itself."""
    for length in range(len(words), 1, -1):
        if tuple(words[:length]) in COMMANDS:
            return tuple(words[:length]), COMMANDS[tuple(words[:length])]
    return None


def find_mistakes(words: list[str]) -> Iterator[str]:
    """Yield a sentence for each option in a call that its command does not have."""
    found = find_command(words)
    command = found[1] if found else find_root()
    if not found and len(words) > 1 and not words[1].startswith("-"):
        yield f"{shlex.join(words)}: there is no such command"
        return
    known = {"--help"}.union(*([*option.opts, *option.secondary_opts] for option in command.params))
    for word in words[1:]:
        if word in SEPARATORS:
            return
        option = word.strip("[]").partition("=")[0]
        if re.fullmatch(r"--?[a-zA-Z][\w-]*", option) and option not in known:
            yield f"{shlex.join(words)}: there is no option {option}"


def list_targets(markdown: str) -> list[str]:
    """Return the files of the repository that `markdown` links to or shows."""
    targets = re.findall(r"\]\(<?([^)\s>]+)", markdown) + re.findall(
        r"""(?:src|href)=["']([^"']+)""", markdown
    )
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


@pytest.fixture(scope="module")
def readme() -> str:
    if not README.is_file():
        pytest.skip("README.md is not written yet")
    return README.read_text(encoding="utf-8")


def test_walk_finds_the_commands():
    assert {("catdog", "train"), ("catdog", "predict"), ("catdog", "data", "sample")} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_readme_names_the_command(words, readme):
    assert re.search(rf"\b{re.escape(' '.join(words))}\b", readme)


def test_readme_calls_only_what_exists(readme):
    calls = list_calls(readme)
    assert calls
    assert [mistake for words in calls for mistake in find_mistakes(words)] == []


def list_inline_calls(markdown: str) -> list[list[str]]:
    """Return the words of every `catdog ...` between backticks in a text."""
    return [shlex.split(call) for call in re.findall(r"`(catdog [^`\n]+)`", markdown)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_call_only_what_exists(page):
    text = page.read_text(encoding="utf-8")
    calls = [*list_calls(text), *list_inline_calls(text)]
    wrong = [mistake for words in calls for mistake in find_mistakes(words)]
    assert [mistake for mistake in wrong if mistake not in OTHERS_OPTIONS] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_ends_with_an_example(words):
    last = re.split(r"\n\s*\n", COMMANDS[words].help.strip())[-1]  # the list of options comes after it
    calls = list_calls(f"```\n{last}\n```")
    assert list(words) in [call[: len(words)] for call in calls], f"the help ends with:\n{last}"
    assert [mistake for call in calls for mistake in find_mistakes(call)] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "checkpoints/README.md"])
def test_links_lead_to_files(name):
    page = ROOT / name
    if not page.is_file():
        pytest.skip(f"{name} is not written yet")
    targets = list_targets(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_calls_are_read_from_code_blocks_alone():
    markdown = "`catdog no`\n```sh\n$ catdog train D \\\n  --epochs 3  # three\nls\n```\ncatdog no\n"
    assert list_calls(markdown) == [["catdog", "train", "D", "--epochs", "3"]]


@pytest.mark.parametrize(
    ("call", "mistakes"),
    [
        ("catdog train D --epochs 3", []),
        ("catdog train D --epochs=3 | grep --count x", []),
        ("catdog --help", []),
        ("catdog train D --epoch 3", ["there is no option --epoch"]),
        ("catdog data sample D --epochs 3", ["there is no option --epochs"]),
        ("catdog trian D", ["there is no such command"]),
        ("catdog data sampel D", ["there is no such command"]),
        ("catdog --epochs", ["there is no option --epochs"]),
    ],
)
def test_mistakes_are_found(call, mistakes):
    assert [mistake.partition(": ")[2] for mistake in find_mistakes(call.split())] == mistakes


def test_targets_are_files_alone():
    markdown = '[a](docs/a.md#top) ![b](b.png) [c](https://x.org/c) [d](#d) <img src="e.png">'
    assert list_targets(markdown) == ["docs/a.md", "b.png", "e.png"]


def test_the_table_of_settings_is_what_the_settings_say():
    spec = importlib.util.spec_from_file_location("settings_table", ROOT / "scripts" / "settings_table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == table.build_page(), "run scripts/settings-table"
