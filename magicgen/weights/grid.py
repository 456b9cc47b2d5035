"""Which clip sizes a set of weights can make, from its configuration alone."""

from collections.abc import Mapping
from typing import Any

from magicgen.errors import TrajectoryError, WeightsError

# Compression of the CogVideoX kind of autoencoder: pixels per latent pixel, frames per latent frame.
SPATIAL, TEMPORAL = 8, 4
# More than any machine makes in one piece, and little enough that a mistyped size is told instead of tried.
MOST_SIDE = 8192
MOST_PIXELS = 4_000_000_000


def check_grid(
    config: Mapping[str, Any], frames: int, height: int, width: int, *, interpolate_positions: bool = False
) -> None:
    """Make sure that a transformer can make a clip of this size.

    Args:
        config: the transformer's ``config.json``.
        frames, height, width: the clip, in frames and pixels.
        interpolate_positions: the learned position table will be interpolated to the clip.

    Raises:
        TrajectoryError: frames are not 4n + 1, a side is not a multiple of what the model needs, or the clip is larger
            than anything can make.
        WeightsError: the weights are bound to one size by a learned position table, and it is another one.
    """
    step = SPATIAL * int(config.get("patch_size", 2))
    if frames < 1 or (frames - 1) % TEMPORAL:
        near = max(0, round((frames - 1) / TEMPORAL)) * TEMPORAL + 1
        raise TrajectoryError(f"The model makes 1, 5, 9, 13, ... frames (4n + 1); got {frames}. Use --frames {near}.")
    if height < step or width < step or height % step or width % step:
        near_height, near_width = (max(step, round(side / step) * step) for side in (height, width))
        raise TrajectoryError(
            f"Height and width must be multiples of {step}; got {height}x{width}. "
            f"Use --height {near_height} --width {near_width}."
        )
    if max(height, width) > MOST_SIDE or frames * height * width > MOST_PIXELS:
        raise TrajectoryError(
            f"A clip of {frames} frames of {height}x{width} is too large; at most {MOST_SIDE} pixels a side and "
            f"{MOST_PIXELS:,} in all. Use a smaller --height and --width, or fewer --frames."
        )
    if not config.get("use_learned_positional_embeddings") or interpolate_positions:
        return
    bound = bound_grid(config)
    if (frames, height, width) != bound:
        raise WeightsError(
            f"These weights are bound to {bound[0]} frames of {bound[1]}x{bound[2]} by the position table that they "
            f"learned; asked for {frames} frames of {height}x{width}. Use --frames {bound[0]} --height {bound[1]} "
            f"--width {bound[2]}, or add --interpolate-positions (quality at other sizes is not known)."
        )


def bound_grid(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """(frames, height, width in pixels) of a learned position table; 49x480x720 for CogVideoX-5b-I2V."""
    return (
        int(config.get("sample_frames", 49)),
        int(config.get("sample_height", 60)) * SPATIAL,
        int(config.get("sample_width", 90)) * SPATIAL,
    )
