"""Finds what moves in a video, without any weights: motion that the camera does not explain, cut out and followed.

Between neighbouring frames the camera's motion is fitted as a homography to the dense flow; what is left over, gathered
over several frames along the flow, marks moving things. At every few frames (anchors) the marked regions are cut out
with GrabCut. The anchor whose regions agree best with the motion starts the tracks, which are followed in both
directions; objects that only later anchors show start tracks of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.errors import MediaError
from magicgen.segmentation.flow import FrameSequence, warp
from magicgen.segmentation.propagate import PropagateSettings, follow

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DiscoverSettings:
    """How objects are found.

    Attributes:
        working_side: shorter side in pixels of the flow and the cut-outs.
        anchor_step: frames between two re-discoveries.
        max_objects: most tracks.
        min_area: least share of the picture of an object.
        same_object: overlap (intersection over union) from which a region belongs to a track.
    """

    working_side: int = 240
    anchor_step: int = 5
    max_objects: int = 5
    min_area: float = 0.003
    same_object: float = 0.2


@dataclass(frozen=True)
class FoundObject:
    """One moving object.

    Attributes:
        masks: (T, H, W) bool, empty where the object is not seen.
        scores: (T,) float32 in [0, 1]: how well the mask of the frame agrees with the motion found there.
    """

    masks: Bools
    scores: Floats


def discover_tracks(video: UInt8, settings: DiscoverSettings | None = None) -> list[FoundObject]:
    """Moving objects of a clip without cuts, the most salient first.

    Args:
        video: (T, H, W, 3) uint8 RGB; fewer than three frames hold no motion to judge, so nothing is found.
        settings: by default those that were measured best.

    Returns:
        Up to ``settings.max_objects`` tracks whose masks do not overlap. The same video gives the same tracks.

    Raises:
        MediaError: not a video of that form.
    """
    settings = settings or DiscoverSettings()
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8:
        raise MediaError(f"A video is (T, H, W, 3) uint8; got {video.dtype} {video.shape}.")
    if len(video) < 3:
        return []
    sequence = FrameSequence(video, settings.working_side)
    motion = _gathered(_own_motion(sequence, len(video)), sequence)
    anchors = range(settings.anchor_step // 2, len(video), settings.anchor_step)
    regions = {anchor: _regions(sequence.picture(anchor), motion[anchor], settings) for anchor in anchors}
    tracks = _follow(sequence, len(video), regions, motion, settings)
    return [_found(track, motion, video.shape[1:3]) for track in tracks]


def _own_motion(sequence: FrameSequence, frames: int) -> Floats:
    """(T, h, w) length of the motion that the camera does not explain, in units of its usual size in the frame."""
    planes = []
    for frame in range(1, frames):
        flow = sequence.flow(frame - 1, frame)
        planes.append(_residual(flow.backward))
    return np.stack([planes[0], *planes])


def _residual(field: Floats) -> Floats:
    height, width = field.shape[:2]
    rows, columns = np.mgrid[4:height:8, 4:width:8]
    here = np.stack([columns.ravel(), rows.ravel()], axis=-1).astype(np.float32)
    there = here + field[rows.ravel(), columns.ravel()]
    matrix, _ = cv2.findHomography(here, there, cv2.RANSAC, 1.0, maxIters=500, confidence=0.99)
    if matrix is None:
        matrix = np.eye(3)
    columns_all, rows_all = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    points = np.stack([columns_all, rows_all], axis=-1).reshape(-1, 1, 2)
    camera = cv2.perspectiveTransform(points, matrix).reshape(height, width, 2) - points.reshape(height, width, 2)
    length = np.linalg.norm(field - camera, axis=-1)
    usual = np.median(length)
    spread = np.median(np.abs(length - usual))
    return np.clip((length - usual) / (4 * spread + 0.5), 0, 3).astype(np.float32)


def _gathered(motion: Floats, sequence: FrameSequence) -> Floats:
    """Motion collected along the flow from both directions, so that a short rest does not hide an object."""
    forward, backward = motion.copy(), motion.copy()
    for frame in range(1, len(motion)):
        forward[frame] = 0.25 * motion[frame] + 0.75 * warp(
            forward[frame - 1], sequence.flow(frame - 1, frame).backward
        )
    for frame in range(len(motion) - 2, -1, -1):
        backward[frame] = 0.25 * motion[frame] + 0.75 * warp(
            backward[frame + 1], sequence.flow(frame, frame + 1).forward
        )
    return ((forward + backward) / 2).astype(np.float32)


def _regions(picture: UInt8, motion: Floats, settings: DiscoverSettings) -> list[Bools]:
    """Cut-out of every connected region that moves."""
    scaled = np.clip(motion * 85, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    moving = (scaled > max(level, 30)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    moving = cv2.morphologyEx(cv2.morphologyEx(moving, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(moving)
    areas = facts[1:, cv2.CC_STAT_AREA]
    if count < 2:
        return []
    least = max(settings.min_area * moving.size, 0.15 * areas.max())
    order = [index for index in np.argsort(-areas, kind="stable") if areas[index] >= least]
    return [cut_out(picture, labels == index + 1) for index in order[: settings.max_objects]]


def cut_out(picture: UInt8, region: Bools) -> Bools:
    """The object that a rough region covers: GrabCut from its core, or the region where GrabCut finds nothing alike.

    Args:
        picture: (h, w, 3) uint8 RGB. region: (h, w) bool, not empty.
    """
    height, width = region.shape
    reach = max(3, int(0.15 * np.sqrt(region.sum())))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    rough = region.astype(np.uint8)
    near, core = cv2.dilate(rough, kernel), cv2.erode(rough, kernel)
    rows, columns = np.nonzero(near)
    pad = 3 * reach
    top, bottom = max(0, rows.min() - pad), min(height, rows.max() + pad + 1)
    left, right = max(0, columns.min() - pad), min(width, columns.max() + pad + 1)
    window = (slice(top, bottom), slice(left, right))
    labels = np.where(near[window] > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    labels[rough[window] > 0] = cv2.GC_PR_FGD
    labels[core[window] > 0] = cv2.GC_FGD
    if (labels == cv2.GC_BGD).all() or not np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
        return region
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(np.ascontiguousarray(picture[window]), labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 2,
                    cv2.GC_INIT_WITH_MASK)  # fmt: skip
    except cv2.error:
        return region
    result = np.zeros_like(region)
    result[window] = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return result if 0.4 < result.sum() / region.sum() < 2.0 else region


def _follow(
    sequence: FrameSequence,
    frames: int,
    regions: dict[int, list[Bools]],
    motion: Floats,
    settings: DiscoverSettings,
) -> list[Bools]:
    """(T, h, w) tracks: from the best anchor in both directions, then from later finds that no track explains."""
    tracks: list[Bools] = []
    for _ in range(2):
        best = max(regions, key=lambda anchor: _salience(regions[anchor], motion[anchor]), default=None)
        if best is None or not regions[best]:
            break
        seeds = np.stack(_apart(regions[best]))[: settings.max_objects - len(tracks)]
        found = np.zeros((len(seeds), frames, *seeds.shape[1:]), np.bool_)
        found[:, best] = seeds
        for way in (range(best, frames), range(best, -1, -1)):
            for frame, labels in follow(sequence, way, seeds.astype(np.float32), PropagateSettings()):
                found[:, frame] = labels.argmax(axis=0) == np.arange(1, len(labels))[:, None, None]
        taken = np.any(tracks, axis=0) if tracks else np.zeros_like(found[0])
        tracks.extend(track & ~taken for track in found)
        regions = {anchor: _unexplained(found, anchor, tracks, settings) for anchor, found in regions.items()}
        if len(tracks) >= settings.max_objects:
            break
    return [track for track in tracks if track.any()]


def _salience(found: Sequence[Bools], motion: Floats) -> float:
    return float(sum(motion[region].sum() for region in found))


def _apart(found: Sequence[Bools]) -> list[Bools]:
    """Regions without overlap: the earlier keeps what both claim."""
    taken = np.zeros_like(found[0])
    result = []
    for region in found:
        result.append(region & ~taken)
        taken |= region
    return result


def _unexplained(
    found: Sequence[Bools], anchor: int, tracks: Sequence[Bools], settings: DiscoverSettings
) -> list[Bools]:
    def explained(region: Bools) -> bool:
        return any((region & track[anchor]).sum() > settings.same_object * region.sum() for track in tracks)

    return [region for region in found if region.any() and not explained(region)]


def _found(track: Bools, motion: Floats, size: tuple[int, int]) -> FoundObject:
    scores = [
        float(np.clip(plane[mask].mean(), 0, 1)) if mask.any() else 0.0
        for mask, plane in zip(track, motion, strict=True)
    ]
    masks = [cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5 for mask in track]
    return FoundObject(np.stack(masks), np.array(scores, np.float32))
