"""How long work still takes, by its own rate, and the live display of it."""

import io

import pytest
from rich.console import Console
from rich.theme import Theme

from ndogo.core import progress
from ndogo.core.screen import live


def test_time_left_follows_the_rate_of_each_kind_of_work(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    left = progress.Left()
    assert left.seconds("training", 20, 100) is None, "resumed at 20: no rate yet"
    now[0] += 10
    assert left.seconds("training", 40, 100) == pytest.approx(30.0)
    now[0] += 40
    assert left.seconds("training", 60, 100) == pytest.approx(50.0), "corrected, since it became slower"
    assert left.seconds("counting", 5, None) is None


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "about 1 s"), (42.4, "about 42 s"), (170, "about 3 min"), (9000, "about 2.5 h")]
)
def test_times_are_told_as_people_say_them(seconds: float, told: str):
    assert progress.about(seconds) == told


def test_a_terminal_shows_rate_time_left_and_loss_and_a_file_nothing():
    for terminal, shown in ((True, ("distil: training", "50/200", "loss 1.235", "/s")), (False, ())):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=160, theme=Theme(inherit=False))  # as Prefect's is
        with live(console, "distil: ") as report:
            report("training", 0, 200)
            report("training", 25, 200, {"loss": 2.0})
            report("training", 50, 200, {"loss": 1.23456})
        assert all(part in out.getvalue() for part in shown) and bool(out.getvalue()) == terminal
