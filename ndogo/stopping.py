"""Stop when asked: Ctrl-C, a kill or a closed terminal end any command within seconds, whatever it is doing.

The signal first unwinds the main thread, so that drafts go and locks are given back. What does not end by that (a training in
another thread, a server that is starting) is ended hard: all that is kept is written so that a kill at any moment loses nothing
but the training since the last checkpoint.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

PATIENCE = 2.5
"""Seconds that the main thread has to unwind."""
TOLD = "ndogo: stopped. The same command goes on from what is finished."


class Stopped(BaseException):
    """A signal asked this process to end. No handler of exceptions may take it for an error."""


@contextlib.contextmanager
def when_asked() -> Iterator[None]:
    """Signals end the block and then the process, with its children; a second one ends them at once.

    The system's own handler writes the number into a pipe, which a thread of its own reads: it hears of it even while the main
    thread is in a library that does not return. A command that brings its own handlers (`serve`) is left to them.
    """
    if threading.current_thread() is not threading.main_thread():  # Python gives signals to that one alone
        yield
        return
    hear, tell = os.pipe()
    os.set_blocking(tell, False)
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means what it says
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, _unwind) for number in numbers}
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(hear, frozenset(map(int, numbers))), name="stopping", daemon=True).start()
    try:
        yield
    except (Stopped, KeyboardInterrupt) as asked:
        _end(asked.args[0] if asked.args else int(signal.SIGINT))
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(tell)


def _unwind(number: int, _: object) -> None:
    raise Stopped(number)


def _watch(hear: int, numbers: frozenset[int]) -> None:
    """In a thread of its own: end the process when it does not end by itself."""
    while asked := os.read(hear, 1):
        if asked[0] in numbers and not _left_alone(asked[0]):
            _read_within(hear, PATIENCE)
            _end(asked[0])
    os.close(hear)


def _left_alone(number: int) -> bool:
    """Whether somebody else handles or ignores the signal by now."""
    handler = signal.getsignal(number)
    return handler is signal.SIG_IGN or getattr(handler, "__module__", "") == "ndogo.servers"


def _read_within(hear: int, seconds: float) -> None:
    """Wait for another signal."""
    import select

    select.select([hear], [], [], seconds)


def _end(number: int) -> None:
    """End the children, and then this process with the status of the signal."""
    _end_children()
    with contextlib.suppress(OSError, ValueError):  # a terminal that is gone takes no line
        sys.stdout.flush()
        os.write(2, f"\n{TOLD}\n".encode())
    os._exit(128 + number)


def _end_children() -> None:
    import psutil

    children = psutil.Process().children(recursive=True)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for child in children:
            with contextlib.suppress(psutil.Error):
                end(child)
        _, children = psutil.wait_procs(children, timeout=0.8)
