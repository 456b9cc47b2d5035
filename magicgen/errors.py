"""Errors for people: what was given, what is expected, how to mend it.

Every class derives from ``ValueError`` so that library users can catch them in the usual way, and carries the exit code
that the command line reports for it.
"""


class MagicGenError(ValueError):
    """Base of every error that magicgen raises on purpose.

    The message is complete English for the person at the keyboard: what was given, what is expected and how to mend it.
    """

    exit_code = 2


class TrajectoryError(MagicGenError):
    """A trajectory, a map video or a condition that cannot be used."""


class GuideError(MagicGenError):
    """A click, box, stroke, mask or word that cannot be used."""


class StoryError(MagicGenError):
    """A tale, a story file or a planner's answer that cannot be used."""


class MediaError(MagicGenError):
    """An image, a video or an output path that cannot be read or written."""


class ConfigError(MagicGenError):
    """A configuration file or override with an unknown key or a wrong value."""


class WeightsError(MagicGenError):
    """Model weights that are missing, incomplete or of another architecture."""


class PlanError(MagicGenError):
    """A sparse attention plan that cannot be read or does not fit the model."""


class DatasetError(MagicGenError):
    """A dataset folder that cannot be read or does not match its description."""


class GenerationFailed(MagicGenError):
    """A run that started with good input and still failed (out of memory, NaN loss, full disk)."""

    exit_code = 1
