"""What C prints while a picture is decoded is kept off the screen, and nothing else is."""

import ctypes
import os
import sys
import threading

import pytest

from catdog_cli.runtime import native_stderr
from catdog_cli.runtime.native_stderr import Quiet, listen_alone

pytestmark = pytest.mark.skipif(native_stderr._divert() is None, reason="not Linux with the GNU C library")
libc = ctypes.CDLL(None)


def print_in_c(text: str) -> None:
    stream = ctypes.c_void_p.in_dll(libc, "stderr")
    libc.fputs(text.encode(), stream)
    libc.fflush(stream)


def test_c_is_silent_within_and_python_is_not(capfd):
    print_in_c("before\n")
    with Quiet():
        print_in_c("within\n")
        print("python", file=sys.stderr, flush=True)
        with Quiet():
            print_in_c("deeper\n")
        print_in_c("still within\n")
    print_in_c("after\n")
    assert capfd.readouterr().err == "before\npython\nafter\n"


def test_whether_anything_was_heard(capfd):
    with Quiet(listening=True) as quiet:
        pass
    assert not quiet.heard
    with Quiet(listening=True) as quiet:
        print_in_c("hello\n")
    assert quiet.heard
    with listen_alone() as lines:
        print_in_c("one\ntwo\n")
    assert lines == ["one", "two"]
    with pytest.raises(ValueError, match="broken"), Quiet():
        raise ValueError("broken")
    print_in_c("after\n")
    assert capfd.readouterr().err == "after\n"


def test_many_threads_hear_their_own_lines(capfd):
    found: dict[int, list[str]] = {}

    def decode(number: int) -> None:
        for _ in range(20):
            with Quiet(listening=True):
                print_in_c(f"{number}\n")
            with listen_alone() as lines:
                print_in_c(f"{number}\n")
            found.setdefault(number, []).extend(lines)

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: [str(number)] * 20 for number in range(6)}
    print_in_c("after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_process_forked_meanwhile_prints_again(capfd):
    with Quiet():
        child = os.fork()
        if not child:
            print_in_c("child\n")
            with Quiet():
                print_in_c("hidden\n")
            os._exit(0)
        os.waitpid(child, 0)
    assert capfd.readouterr().err == "child\n"
