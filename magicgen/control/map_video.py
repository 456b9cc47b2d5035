"""MagicMotion's colour-coded map videos: a black ground, one flat colour per object, stored lossily.

Frame 0 shows every object as a filled mask; later frames show masks, box outlines, or nothing. Video coding blurs
colour more than brightness and leaves ringing at edges, so colours are clustered, never compared exactly, and what an
edge pixel belongs to is decided by its neighbours.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.map_boxes import complete_boxes, find_outline, usual_half_width
from magicgen.control.raster import map_colour, rasterise
from magicgen.control.tracks import Bools, BoxLevel, Level, MaskLevel, SparseBoxLevel, Tracks, boxes_from_masks
from magicgen.errors import TrajectoryError
from magicgen.media import read_video, write_video

UInt8 = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Colours = npt.NDArray[np.float32]

# Brightness (largest channel) below which a pixel is ground; the darkest map colour in use has 64.
_GROUND = 24
_MOST_OBJECTS = 48
_SAME_COLOUR = 13.0
_NEAR_COLOUR = 24.0
_LIKE_COLOUR = 26.0
# An outline that explains less than this of the pixels in its colour is a guess.
_LEAST_MATCH = 0.35
_MAP_FPS = 8.0


@dataclass(frozen=True)
class MapVideo:
    """What a map video says: tracks at the size of the video, the level it was drawn at, its frame rate."""

    tracks: Tracks
    level: Level
    fps: float


def read_map_video(path: str | os.PathLike[str]) -> MapVideo:
    """Read a map video of any size and frame count.

    Objects come in the order of the public palette where their colours are near it, else largest first. Boxes that the
    border cuts are completed with the size that the object had when it was last whole.

    Raises:
        MediaError: not a video that can be decoded.
        TrajectoryError: no coloured region on frame 0, an ordinary video instead of a map, outlines on frame 0, nothing
            drawn after frame 0.
    """
    video = read_video(path)
    try:
        tracks, level = decode_map(video.frames)
    except TrajectoryError as error:
        raise TrajectoryError(f"{path!s}: {error}") from error
    return MapVideo(tracks, level, video.fps)


def write_map_video(path: str | os.PathLike[str], tracks: Tracks, level: Level, fps: float = _MAP_FPS) -> Path:
    """Rasterise tracks at a level and write them as a map video, at the size of the tracks.

    Raises:
        TrajectoryError: the tracks do not hold what the level needs.
        MediaError: missing or read-only folder, full disk.
    """
    return write_video(path, rasterise(tracks, level), fps)


def decode_map(frames: UInt8) -> tuple[Tracks, Level]:
    """(T, H, W, 3) uint8 maps -> tracks and level; see :func:`read_map_video`.

    Raises:
        TrajectoryError: as there.
    """
    colours = _find_colours(frames[0])
    labels = np.stack([_label(frame, colours) for frame in frames])
    count = len(colours)
    firsts = np.stack([labels[0] == index + 1 for index in range(count)])
    half = _half_width(labels)
    _check_filled(firsts, half)
    names = tuple(f"object {index + 1}" for index in range(count))
    if len(frames) == 1:
        return Tracks(names, firsts, boxes_from_masks(firsts[:, None]), firsts[:, None]), MaskLevel()
    if not (labels[1:] > 0).any():
        raise TrajectoryError(
            "only frame 0 of the map shows objects; expected masks or boxes in later frames, which say where to move"
        )
    if _shows_masks(labels, half):
        masks = np.stack([labels == index + 1 for index in range(count)])
        return Tracks(names, firsts, boxes_from_masks(masks), masks), MaskLevel()
    boxes = np.stack([_box_track(labels, index + 1, firsts[index], half) for index in range(count)])
    kept = [frame for frame in range(1, len(frames)) if np.isfinite(boxes[:, frame]).all(axis=-1).any()]
    prefix = len(kept) > 1 and kept[-1] == len(kept)  # objects that have left the picture for good
    level: Level = SparseBoxLevel(tuple(kept)) if len(kept) < 10 and not prefix else BoxLevel()
    return Tracks(names, firsts, boxes), level


def _box_track(labels: Labels, value: int, first: Bools, half: int) -> npt.NDArray[np.float32]:
    height, width = first.shape
    start = boxes_from_masks(first[None])[0].astype(np.float64) * np.array([width, height, width, height])
    fitted = [find_outline(frame, value, half) for frame in labels[1:]]
    outlines = [outline if outline is not None and outline.match >= _LEAST_MATCH else None for outline in fitted]
    return complete_boxes(start, outlines, (height, width), half)


def _half_width(labels: Labels) -> int:
    """Half of the width of the outlines that a map was drawn with: of the usual and other widths the one that fits."""
    usual = usual_half_width((int(labels.shape[1]), int(labels.shape[2])))
    shown = [frame for frame in labels[1:] if frame.any()][:6]
    scores = {}
    for half in sorted(range(usual + 4), key=lambda half: abs(half - usual)):
        found = (find_outline(frame, int(value), half) for frame in shown for value in np.unique(frame[frame > 0]))
        scores[half] = sum(outline.match for outline in found if outline is not None)
    return max(scores, key=lambda half: scores[half])


def _find_colours(frame: UInt8) -> Colours:
    """(N, 3) the RGB colours of the objects on frame 0, in the order of the objects."""
    smooth = cv2.medianBlur(frame, 3)
    drawn = smooth.max(axis=-1) >= _GROUND
    if np.count_nonzero(drawn) < 12:
        raise TrajectoryError(
            "frame 0 of the map shows no coloured region; expected one filled region in a colour of its own for every "
            "object, on black"
        )
    spread = cv2.dilate(frame, np.ones((3, 3), np.uint8)).astype(np.int16) - cv2.erode(frame, np.ones((3, 3), np.uint8))
    flat = drawn & (spread.max(axis=-1) <= 16)
    samples = smooth[flat] if flat.any() else smooth[drawn]
    least = max(8, round(2e-5 * drawn.size))
    found = _without_edge_colours(_modes(samples.astype(np.float32), least), smooth)
    found += _small_regions(smooth, drawn, found)
    if not found:
        found = _modes(smooth[drawn].astype(np.float32), 1)[:1]
    _check_flat(found, smooth, drawn, flat)
    return np.stack([colour for colour, _ in sorted(found, key=_palette_order)])


def _check_flat(found: list[tuple[Colours, int]], smooth: UInt8, drawn: Bools, flat: Bools) -> None:
    """Refuse a picture that is not made of a few flat colours."""
    explained = np.zeros(drawn.shape, dtype=np.bool_)
    for colour, _ in found:
        explained |= _near(smooth, colour, 2 * _NEAR_COLOUR)
    area = np.count_nonzero(drawn)
    rough = len(found) > 4 and np.count_nonzero(flat) < 0.2 * area
    if len(found) > _MOST_OBJECTS or np.count_nonzero(explained & drawn) < 0.5 * area or rough:
        raise TrajectoryError(
            f"frame 0 is not a map: {np.mean(drawn):.0%} of it is coloured, in {len(found)} or more shades. Expected "
            "flat colours, one per object, on black (an ordinary video is no map)"
        )


def _near(pixels: UInt8, colour: Colours, distance: float) -> Bools:
    return np.asarray(np.linalg.norm(pixels.astype(np.float32) - colour, axis=-1) < distance)


def _without_edge_colours(found: list[tuple[Colours, int]], smooth: UInt8) -> list[tuple[Colours, int]]:
    """Drop colours that are only the blurred edge of a larger region: strips along it, thin or of nearly its colour."""
    kept: list[tuple[Colours, int]] = []
    width = 3 if min(smooth.shape[:2]) < 320 else 5
    larger = np.zeros(smooth.shape[:2], np.uint8)
    for colour, size in sorted(found, key=lambda item: -item[1]):
        region = _near(smooth, colour, _SAME_COLOUR)
        beside = region & (cv2.dilate(larger, np.ones((7, 7), np.uint8)) > 0)
        core = cv2.erode(region.astype(np.uint8), np.ones((width, width), np.uint8))
        like = any(np.linalg.norm(colour - other) < _LIKE_COLOUR and size < 0.1 * area for other, area in kept)
        edge = np.count_nonzero(core) < 4 or (like and _palette_distance(colour)[1] > 5)
        if np.count_nonzero(beside) < 0.5 * np.count_nonzero(region) or not edge:
            kept.append((colour, size))
            larger |= region
    return kept


def _modes(samples: Colours, least: int) -> list[tuple[Colours, int]]:
    """Colours with many samples around them, most frequent first, with their counts."""
    found: list[tuple[Colours, int]] = []
    while len(samples) >= least and len(found) <= _MOST_OBJECTS:
        cells, inverse, counts = np.unique(
            (samples // 8).astype(np.int32) @ np.array([1, 64, 4096]), return_inverse=True, return_counts=True
        )
        del cells
        centre = np.median(samples[inverse.ravel() == int(counts.argmax())], axis=0)
        for _ in range(3):
            near = np.linalg.norm(samples - centre, axis=1) < _SAME_COLOUR
            centre = samples[near].mean(axis=0) if near.any() else centre
        near = np.linalg.norm(samples - centre, axis=1) < _SAME_COLOUR
        size = int(np.count_nonzero(near))
        if size < least:
            break
        if all(np.linalg.norm(centre - other) >= _SAME_COLOUR for other, _ in found):
            found.append((centre.astype(np.float32), size))
        samples = samples[np.linalg.norm(samples - centre, axis=1) >= 1.3 * _SAME_COLOUR]
    return found


def _small_regions(smooth: UInt8, drawn: Bools, found: list[tuple[Colours, int]]) -> list[tuple[Colours, int]]:
    """Colours of regions too small to have a flat inside; blurred crumbs in the hue of a larger object are none."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(drawn.astype(np.uint8), connectivity=8)
    result: list[tuple[Colours, int]] = []
    for region in range(1, count):
        area = int(stats[region, cv2.CC_STAT_AREA])
        if area < 12:
            continue
        x, y, w, h = (int(value) for value in stats[region, :4])
        pixels = smooth[y : y + h, x : x + w][regions[y : y + h, x : x + w] == region].astype(np.float32)
        brightest = np.median(pixels[np.argsort(pixels.sum(axis=1))[-max(3, area // 4) :]], axis=0)
        if not any(_may_be_blurred(brightest, pixels, other) for other, _ in [*found, *result]):
            result.append((brightest.astype(np.float32), area))
    return result


def _may_be_blurred(brightest: Colours, pixels: Colours, colour: Colours) -> bool:
    """Whether a small region may be a piece of an object of the given colour that video coding has dulled."""
    if np.linalg.norm(pixels - colour, axis=1).min() < _NEAR_COLOUR:
        return True
    own, other = (_luma_chroma(np.clip(value, 0, 255).astype(np.uint8))[1:] for value in (brightest, colour))
    lengths = float(np.linalg.norm(own) * np.linalg.norm(other))
    return bool(lengths > 64 and own @ other > 0.8 * lengths)


def _palette_order(found: tuple[Colours, int]) -> tuple[int, int]:
    colour, size = found
    nearest, distance = _palette_distance(colour)
    return (nearest, 0) if distance < 12 else (_MOST_OBJECTS, -size)


def _palette_distance(colour: Colours) -> tuple[int, float]:
    """The nearest colour of the public palette and how far it is."""
    distances = [float(np.linalg.norm(colour - np.array(map_colour(index)))) for index in range(21)]
    nearest = int(np.argmin(distances))
    return nearest, distances[nearest]


def _label(frame: UInt8, colours: Colours) -> Labels:
    """(H, W) uint8: 0 ground, k the k-th object. Pixels near a colour are sure; edge pixels follow the nearest sure
    one if they are at least half as bright."""
    drawn = frame.max(axis=-1) >= _GROUND
    labels = np.zeros(drawn.shape, np.uint8)
    if not drawn.any():
        return labels
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part, inside = _luma_chroma(frame[window]), drawn[window]
    centres = _luma_chroma(colours.round().astype(np.uint8)[None])[0]
    pixels = part[inside]
    costs = np.stack([_cost(pixels, centre) for centre in centres], axis=1)
    best = costs.argmin(axis=1)
    sure = np.zeros(inside.shape, np.uint8)
    sure[inside] = np.where(costs[np.arange(len(best)), best] < _NEAR_COLOUR, best + 1, 0)
    sure = _without_specks(sure)
    if not sure.any():
        return labels
    distance, nearest = cv2.distanceTransformWithLabels(
        (sure == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    lookup = np.zeros(int(nearest.max()) + 1, np.uint8)
    lookup[nearest[sure > 0]] = sure[sure > 0]
    follow = lookup[nearest]
    half = 0.5 * (np.concatenate([[0.0], centres[:, 0]]))[follow]
    labels[window] = np.where(inside & (distance < 3.5) & (part[..., 0] >= half), follow, 0)
    return labels


def _luma_chroma(pixels: UInt8) -> npt.NDArray[np.float32]:
    """(..., 3) RGB -> float32 (luma from 0, Cr and Cb around 0)."""
    values = pixels.astype(np.float32)
    luma = values @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([luma, 0.713 * (values[..., 0] - luma), 0.564 * (values[..., 2] - luma)], axis=-1)


def _cost(pixels: npt.NDArray[np.float32], centre: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How far pixels (K, 3) are from a colour, given that thin lines lose some chroma but not luma."""
    chroma = centre[1:]
    length = float(chroma @ chroma)
    kept = np.clip(pixels[:, 1:] @ chroma / max(length, 1e-6), 0.35, 1.0)
    off = np.linalg.norm(pixels[:, 1:] - kept[:, None] * chroma, axis=1)
    lost = (1 - kept) * np.sqrt(length)
    return np.asarray(np.sqrt(off**2 + 2 * (pixels[:, 0] - centre[0]) ** 2) + 0.3 * lost, dtype=np.float32)


def _without_specks(sure: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Remove the sprinkles of a wrong colour that ringing leaves along edges: pieces of less than 6 pixels."""
    result = np.zeros_like(sure)
    for value in np.unique(sure[sure > 0]):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((sure == value).astype(np.uint8), connectivity=8)
        large = stats[:, cv2.CC_STAT_AREA] >= 6
        large[0] = False
        result[large[regions]] = value
    return result


def _is_outline(piece: Bools, half: int, least: float) -> bool:
    """Whether the pixels are a box outline: thin, and explained by one box."""
    padded = np.pad(piece.astype(np.uint8), 1)
    inscribed = float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max())
    # The largest disc in a line has its half width; it is larger in the corners.
    if inscribed > 1.5 * (half + 1) + 1:
        return False
    outline = find_outline(piece.astype(np.uint8), 1, half)
    return outline is not None and outline.match > least


def _check_filled(firsts: Bools, half: int) -> None:
    for index, mask in enumerate(firsts):
        if _is_outline(mask, half, 0.8):
            raise TrajectoryError(
                f"frame 0 of the map shows object {index + 1} as a box outline; expected its filled mask on frame 0"
            )


def _shows_masks(labels: Labels, half: int) -> bool:
    """Whether later frames show masks (True) or box outlines: a vote of all objects in up to 24 frames."""
    votes = 0
    shown = [frame for frame in range(1, len(labels)) if labels[frame].any()]
    for frame in shown[:: max(1, len(shown) // 24)]:
        for value in np.unique(labels[frame][labels[frame] > 0]):
            votes += -1 if _is_outline(labels[frame] == value, half, 0.5) else 1
    return votes > 0
