"""Motion of the camera, of the background and of every object, from dense flow and one homography a frame pair.

All lengths are shares of the picture's diagonal per frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Flow = npt.NDArray[np.float32]

_SIDE = 432  # long side at which flow is measured
_PAIRS = 24  # frame pairs looked at in a clip
_GRID = 8
_SEED = 0


@dataclass(frozen=True)
class Motion:
    """Medians over the looked-at frame pairs; ``residuals`` and ``errors`` (the share of an object's pixels whose
    forward and backward flow disagree) hold one value a track, None where it is never seen."""

    camera: float | None
    background: float | None
    inliers: float | None
    consistency: float | None
    residuals: tuple[float | None, ...]
    errors: tuple[float | None, ...]


@dataclass(frozen=True)
class _Pair:
    camera: float
    background: float
    inliers: float
    consistency: float
    objects: tuple[float | None, ...]
    errors: tuple[float | None, ...]


def measure_motion(video: UInt8, masks_at: Callable[[int], Sequence[Bools]]) -> Motion:
    """Motion in (T, H, W, 3) uint8; ``masks_at(t)`` gives the (H, W) bool masks of all tracks in frame t.

    Dense inverse search flow (Kroeger et al. 2016) both ways, the camera as a homography fitted with MAGSAC (Barath et
    al. 2019) to the flow outside the masks, the rest of the flow as residual.
    """
    count = len(masks_at(0))
    if len(video) < 2:
        return Motion(None, None, None, None, (None,) * count, (None,) * count)
    starts = np.unique(np.linspace(0, len(video) - 2, min(_PAIRS, len(video) - 1)).round().astype(int))
    pairs = [_measure_pair(video[t], video[t + 1], masks_at(int(t))) for t in starts]

    def median(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.median(known)) if known else None

    return Motion(
        median([pair.camera for pair in pairs]),
        median([pair.background for pair in pairs]),
        median([pair.inliers for pair in pairs]),
        median([pair.consistency for pair in pairs]),
        tuple(median([pair.objects[k] for pair in pairs]) for k in range(count)),
        tuple(median([pair.errors[k] for pair in pairs]) for k in range(count)),
    )


def _measure_pair(first: UInt8, second: UInt8, masks: Sequence[Bools]) -> _Pair:
    scale = min(1.0, _SIDE / max(first.shape[:2]))
    a, b = _small(first, scale), _small(second, scale)
    height, width = a.shape
    diagonal = float(np.hypot(height, width))
    small = [cv2.resize(m.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0 for m in masks]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    forward, backward = search.calc(a, b, None), search.calc(b, a, None)
    agree = _consistent(forward, backward)
    outside = ~np.any(small, axis=0) if small else np.ones((height, width), np.bool_)
    camera, inliers = _camera_flow(forward, outside)
    residual = np.linalg.norm(forward - camera, axis=-1) / diagonal
    # Flow that does not agree with itself is a guess; an object is judged by what is left, when enough is.
    trusted = agree if agree.mean() > 0.2 else np.ones_like(agree)
    ground = outside & trusted
    return _Pair(
        camera=float(np.median(np.linalg.norm(camera, axis=-1))) / diagonal,
        background=float(np.median(residual[ground])) if ground.any() else 0.0,
        inliers=inliers,
        consistency=float(agree.mean()),
        objects=tuple(float(np.median(residual[mask])) if mask.any() else None for mask in small),
        errors=tuple(float(1 - agree[mask].mean()) if mask.any() else None for mask in small),
    )


def _small(frame: UInt8, scale: float) -> UInt8:
    size = (max(16, round(frame.shape[1] * scale)), max(16, round(frame.shape[0] * scale)))
    return np.asarray(cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY))


def _consistent(forward: Flow, backward: Flow) -> Bools:
    """Forward then backward flow returns to its start (Sundaram et al. 2010, eq. 5)."""
    height, width = forward.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    returned = cv2.remap(backward, x + forward[..., 0], y + forward[..., 1], cv2.INTER_LINEAR)
    error = ((forward + returned) ** 2).sum(axis=-1)
    return np.asarray(error < 0.01 * ((forward**2).sum(axis=-1) + (returned**2).sum(axis=-1)) + 0.5)


def _camera_flow(flow: Flow, outside: Bools) -> tuple[Flow, float]:
    """The flow of one homography, fitted to a grid of vectors outside the objects, and the share that it explains."""
    height, width = flow.shape[:2]
    y, x = (axis.ravel() for axis in np.mgrid[_GRID // 2 : height : _GRID, _GRID // 2 : width : _GRID])
    free = outside[y, x] if outside[y, x].sum() >= 20 else np.ones(len(y), np.bool_)
    points = np.stack([x, y], axis=-1).astype(np.float32)
    moved = points + flow[y, x]
    cv2.setRNGSeed(_SEED)
    matrix, inliers = cv2.findHomography(points[free], moved[free], cv2.USAC_MAGSAC, 1.0, None, 2000, 0.999)
    if matrix is None:
        return np.zeros_like(flow), 0.0
    everywhere = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    image = cv2.perspectiveTransform(everywhere.reshape(-1, 1, 2), matrix).reshape(height, width, 2)
    return np.asarray(image - everywhere, np.float32), float(inliers.mean())
