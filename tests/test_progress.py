"""Progress events, cancelling, and silence where nobody watches."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from magicgen.progress import Cancelled, CancelToken, ProgressEvent, Stage, TerminalProgress, duration


def test_a_stage_counts_and_estimates_the_time_left() -> None:
    events: list[ProgressEvent] = []
    stage = Stage(events.append, "Sampling", 4)
    preview = np.zeros((2, 2, 3), np.uint8)
    stage.advance()
    stage.advance(3, preview)
    assert [event.step for event in events] == [0, 1, 4]
    assert events[0].eta_s is None
    assert events[1].eta_s is not None
    assert events[2].eta_s == 0
    assert events[2].preview is preview


def test_a_cancelled_token_stops_the_work() -> None:
    token = CancelToken()
    token.raise_if_cancelled()
    token.cancel()
    token.cancel()
    assert token.cancelled
    with pytest.raises(Cancelled):
        token.raise_if_cancelled()


def test_nothing_is_shown_off_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress() as report:
        Stage(report, "Sampling", 2).advance()
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_with_the_time_left() -> None:
    code = (
        "import time\nfrom magicgen.progress import Stage, TerminalProgress\n"
        "with TerminalProgress() as report:\n"
        "    stage = Stage(report, 'Sampling', 40)\n"
        "    for _ in range(20): time.sleep(0.06); stage.advance()\n"
        "print('result')"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    answer = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the terminal's end
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert answer.stdout == b"result\n"
    for expected in (b"Sampling", b"20/40", b"s left"):
        assert expected in shown


@pytest.mark.parametrize(("seconds", "text"), [(7.6, "8 s"), (125, "2 min 05 s"), (11400, "3 h 10 min"), (-1, "0 s")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
