"""Progress events, cancelling, and silence where nobody watches."""

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


@pytest.mark.parametrize(("seconds", "text"), [(7.6, "8 s"), (125, "2 min 05 s"), (11400, "3 h 10 min"), (-1, "0 s")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
