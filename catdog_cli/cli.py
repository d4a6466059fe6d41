"""The root command: finds subcommands by name without importing them, turns errors into exit codes."""

import contextlib
import importlib
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from . import __version__
from .commands.option_hints import explain_unknown
from .commands.output.terminal import echo, echo_error, echo_lines, log, printable
from .commands.talk_options import list_causes, with_talk_options
from .errors import CatdogError, InterruptedRunError
from .runtime import startup
from .runtime.talk import talk

COMMANDS = {  # name: (module under commands, one line for the list)
    "train": "Train on a folder of labelled pictures, or resume a run.",
    "predict": "Name what pictures show.",
    "explain": "Show where pictures speak for their class, with proof.",
    "evaluate": "Measure a checkpoint on labelled pictures, with a report.",
    "calibrate": "Make a checkpoint's answers honest on labelled pictures.",
    "export": "Write a checkpoint as one file that answers anywhere.",
    "compare": "Measure two checkpoints on the same pictures.",
    "serve": "Answer over HTTP, with a page for pictures and the camera.",
    "tune": "Search for the best settings within a time, and train with them.",
    "cross-validate": "Measure a recipe by folds that are held out in turn.",
    "lr-find": "Find a learning rate by a range test.",
    "verify-resume": "Prove on your data that a killed run loses nothing.",
    "data": "Get, check, review, split and prepare pictures.",
    "runs": "List runs: what they were trained on, what they reached.",
    "clean": "Free what finished runs no longer need.",
    "info": "List networks and recipes, or say what a checkpoint holds.",
}
IN_SHARES = frozenset(("train", "predict", "evaluate", "tune"))  # work as several processes of one launcher
NEEDS_TORCH = frozenset(
    (
        *("train", "predict", "explain", "evaluate", "calibrate", "compare", "export", "lr-find"),
        *("tune", "cross-validate"),
    )
)


# what catdog needs and catdog-predict does without: see packaging/predict
LEFT_OUT = frozenset(
    ("torch", "torchvision", "matplotlib", "sklearn", "scipy", "jinja2", "platformdirs", "filelock")
)


class ReaderLeftError(Exception):
    """Nobody reads stdout or stderr any more: `catdog ... | head`."""


@contextlib.contextmanager
def _notice_closed_pipe() -> Iterator[None]:
    """Tell a reader that left from other pipes that break; click would end both with 1 and no word."""
    try:
        yield
    except BrokenPipeError as error:
        if _lost_reader(1) or _lost_reader(2):
            raise ReaderLeftError from error
        raise CatdogError(f"A connection was closed by its other side ({error}): run it again.") from error


def _lost_reader(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return True
    poller = select.poll()
    poller.register(descriptor, 0)  # errors are told unasked
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


class LazyGroup(click.Group):
    """A group that imports a command's file when that command is called, and not for listing."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _notice_closed_pipe():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _notice_closed_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        attribute = name.replace("-", "_")
        return with_talk_options(
            getattr(importlib.import_module(f"catdog_cli.commands.{attribute}"), attribute)
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {close[0]!r}?" if close else "`catdog --help` lists all."
            ctx.fail(f"No such command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="catdog")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Train image classifiers by transfer learning, and ask them.

    \b
    Example:
      catdog data sample pictures
      catdog train pictures --arch simple_cnn --weights none
      catdog predict photo.jpg checkpoints/simple_cnn-1
    """
    if ctx.invoked_subcommand is None:
        from .commands.welcome import describe_place

        for line in describe_place(Path.cwd()):
            echo(line)


def main() -> None:
    """Run the command line: exit 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    startup.enable()
    if _needs_torch(sys.argv[1:]):
        startup.replace_process()
    startup.leave(run(sys.argv[1:]), sys.stdout, sys.stderr)


def _needs_torch(arguments: list[str]) -> bool:
    is_help = {"-h", "--help"}.intersection(arguments)
    by_onnx = arguments[:1] == ["predict"] and any(each.lower().endswith(".onnx") for each in arguments)
    return bool(NEEDS_TORCH.intersection(arguments[:1])) and not is_help and not by_onnx


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; the one place where errors become sentences."""
    with talk.own():
        code = _run(arguments)
        if talk.verbose or talk.file:
            _say_end(code)
        return code


def _say_end(code: int) -> None:
    text = f"Exit code {code} after {time.monotonic() - talk.started_s:.1f} s"
    log(text) if talk.verbose else talk.record(text)


def _run(arguments: list[str]) -> int:
    try:
        _refuse_launcher(arguments)
        result = root.main(arguments, prog_name="catdog", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        if os.environ.get("RANK", "0") == "0":  # once, where a launcher started several of us
            _show_usage_error(error, arguments)
        return error.exit_code
    except InterruptedRunError as error:
        echo_lines(str(error), err=True)
        return 130
    except CatdogError as error:
        echo_error(str(error))
        if talk.verbose or talk.file:
            for line in list_causes(error):
                log(line) if talk.verbose else talk.record(line)
        return error.exit_code
    except KeyboardInterrupt:
        echo("Interrupted.", err=True)
        return 130
    except ReaderLeftError:  # it has seen enough
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        return 0
    except ModuleNotFoundError as error:
        if error.name not in LEFT_OUT:
            raise
        echo_error(
            f"This needs the package {error.name!r}, which catdog-predict leaves out: install all of catdog, "
            f"with `pip install catdog`."
        )
        return 1
    except Exception as error:
        if type(error).__name__ not in ("OutOfMemoryError", "MemoryError"):  # torch's: not imported here
            raise
        echo_error(_out_of_memory(error))
        return 1


def _show_usage_error(error: click.ClickException, arguments: list[str]) -> None:
    """Print how a command is used and what is wrong, or its help where nothing was asked."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        echo_lines(context.get_usage(), err=True)
        echo_lines(f"Try '{context.command_path} --help' for help.\n", err=True)
    # a message may hold a name from a folder: catdog predict *
    if isinstance(error, click.NoSuchOption) and context is not None:
        known = [name for option in context.command.params for name in (*option.opts, *option.secondary_opts)]
        echo_error(printable(explain_unknown(error.option_name, [*known, "--help"], arguments)))
    else:
        vars(error)["message"] = printable(error.message)  # click's types call the attribute final
        echo_error(error.format_message())


def _refuse_launcher(arguments: list[str]) -> None:
    """Raise ClickException where several processes were started for a command that is one's work."""
    name = next(iter(arguments), "")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and name in COMMANDS and name not in IN_SHARES:
        raise click.ClickException(
            f"catdog {name} works in one process: start it without torchrun or accelerate launch; "
            f"{', '.join(sorted(IN_SHARES))} work in several."
        )


def _out_of_memory(error: Exception) -> str:
    reason = next(iter(str(error).splitlines()), "") or "no more could be had"
    return (
        f"Out of memory ({reason}): give a smaller --image-size, --batch-size or --unfreeze, or use --cpu; "
        f"what was saved before is intact."
    )
