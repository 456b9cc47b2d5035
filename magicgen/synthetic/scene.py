"""Scenes with exact ground truth: from a plan to pixels, masks, boxes, sketches, keypoints and a caption."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.tracks import Bools, Tracks, boxes_from_masks
from magicgen.errors import ConfigError, GenerationFailed
from magicgen.synthetic.actors import Canvas, Layer
from magicgen.synthetic.captions import caption
from magicgen.synthetic.colours import Images
from magicgen.synthetic.compose import blend, cast, draw_strokes, silhouette
from magicgen.synthetic.geometry import Floats, f32
from magicgen.synthetic.plan import ScenePlan, SceneSettings, plan_scene
from magicgen.synthetic.skeleton import KEYPOINT_NAMES

EVALUATION_STREAM = 0x5EED
"""First word of the seed sequence of held-out scenes; training streams must not start with it."""


@dataclass(frozen=True)
class SceneClip:
    """A clip and everything known about it; N objects from back to front, T frames of H x W pixels.

    Attributes:
        video: (T, H, W, 3) uint8 RGB.
        tracks: names, visible masks, boxes of the visible part (NaN when invisible), in-plane angles.
        caption: words of :data:`~magicgen.synthetic.vocabulary.VOCABULARY`.
        background: (T, H, W, 3) uint8, the same clip without objects and shadows.
        shadows: (T, H, W) uint8, strength of the shadows on the background (0 none).
        sketches: (T, H, W) uint8, outlines of the objects, white on black, hidden lines removed.
        keypoints: (N, T, K, 3) float32, normalised x, y and visibility (1 seen, 0 hidden); NaN for shapes.
            K and its order: :data:`~magicgen.synthetic.skeleton.KEYPOINT_NAMES`.
        classes: kind of character, shape or "photo" per object. colours: name of its main colour.
        yaws: (N, T) float32, view angle of characters in degrees (0 front, 90 facing right, 180 back); NaN for shapes.
    """

    video: Images
    tracks: Tracks
    caption: str
    background: Images
    shadows: npt.NDArray[np.uint8]
    sketches: npt.NDArray[np.uint8]
    keypoints: Floats
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    yaws: Floats


def _backdrop(plan: ScenePlan, frame: int) -> Images:
    """The background as the camera sees it."""
    height, width = plan.settings.height, plan.settings.width
    if plan.camera is None:
        return plan.background.image
    zoom, (pan_x, pan_y) = plan.camera.zoom[frame], plan.camera.pan[frame]
    margin = plan.background.margin
    shift_x = width * (0.5 - zoom * (0.5 + pan_x + margin))
    shift_y = height * (0.5 - zoom * (0.5 + pan_y + margin))
    matrix = np.array([[zoom, 0, shift_x], [0, zoom, shift_y]])
    return cv2.warpAffine(
        plan.background.image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


@dataclass(frozen=True)
class _Frame:
    """What one frame yields."""

    video: Images
    background: Images
    shadows: npt.NDArray[np.uint8]
    sketch: npt.NDArray[np.uint8]
    masks: Bools
    layers: list[Layer | None]


def _visible(layers: list[Layer | None], canvas: Canvas) -> Bools:
    """(N, H, W) bool: masks without what nearer objects cover."""
    masks = np.zeros((len(layers), canvas.height, canvas.width), np.bool_)
    for index, layer in enumerate(layers):
        masks[index] = silhouette(layer, canvas)
    covered = np.zeros(masks.shape[1:], np.bool_)
    for index in range(len(masks) - 1, -1, -1):
        whole = masks[index].copy()
        masks[index] &= ~covered
        covered |= whole
    return masks


def _canvas(settings: SceneSettings) -> Canvas:
    return Canvas(settings.height, settings.width, min(settings.height, settings.width) // 3)


def _render(plan: ScenePlan, frame: int) -> _Frame:
    settings = plan.settings
    canvas = _canvas(settings)
    backdrop = _backdrop(plan, frame).astype(np.float32)
    picture = backdrop.copy()
    shadows = np.zeros(picture.shape[:2], np.uint8)
    sketch = np.zeros(picture.shape[:2], np.uint8)
    layers: list[Layer | None] = []
    for item in plan.objects:
        place = item.places[frame]
        layer = item.actor.draw(place, canvas)
        layers.append(layer)
        if layer is not None:
            cast(picture, shadows, layer, place, item.shadow)
            blend(picture, layer)
            draw_strokes(sketch, layer)
    gain = float(plan.gain[frame])
    video, background = (cv2.convertScaleAbs(image, alpha=gain) for image in (picture, backdrop))
    return _Frame(video, background, shadows, sketch, _visible(layers, canvas), layers)


def _keypoints(plan: ScenePlan, frames: list[_Frame]) -> Floats:
    height, width = plan.settings.height, plan.settings.width
    result = np.full((len(plan.objects), len(frames), len(KEYPOINT_NAMES), 3), np.nan, np.float32)
    for t, frame in enumerate(frames):
        for n, layer in enumerate(frame.layers):
            if plan.objects[n].design is None:
                continue
            if layer is None or layer.keypoints is None:
                result[n, t] = 0
                continue
            points = layer.keypoints
            columns, rows = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
            inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
            seen = frame.masks[n, np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
            result[n, t, :, :2] = points[:, :2] / (width, height)
            result[n, t, :, 2] = (points[:, 2] > 0) & inside & seen
    return result


def _names(plan: ScenePlan) -> tuple[str, ...]:
    """Different names: the phrase, with a number from the second of its kind on."""
    names: list[str] = []
    for item in plan.objects:
        twins = sum(name.split(" #")[0] == item.phrase for name in names)
        names.append(item.phrase if not twins else f"{item.phrase} #{twins + 1}")
    return tuple(names)


def render_scene(plan: ScenePlan) -> SceneClip:
    """Draw every frame of a plan."""
    frames = [_render(plan, index) for index in range(plan.settings.frames)]
    masks = np.stack([frame.masks for frame in frames], axis=1)
    size = (len(plan.objects), plan.settings.frames)
    angles = f32([[place.angle for place in item.places] for item in plan.objects]).reshape(size)
    yaws = f32([[place.yaw if item.design else np.nan for place in item.places] for item in plan.objects]).reshape(size)
    return SceneClip(
        video=np.stack([frame.video for frame in frames]),
        tracks=Tracks(_names(plan), masks[:, 0].copy(), boxes_from_masks(masks), masks, angles),
        caption=caption(plan),
        background=np.stack([frame.background for frame in frames]),
        shadows=np.stack([frame.shadows for frame in frames]),
        sketches=np.stack([frame.sketch for frame in frames]),
        keypoints=_keypoints(plan, frames),
        classes=tuple(item.label for item in plan.objects),
        colours=tuple(item.colour for item in plan.objects),
        yaws=yaws,
    )


def _check(settings: SceneSettings) -> None:
    if min(settings.height, settings.width) < 32 or settings.frames < 1:
        raise ConfigError(
            "A scene needs at least 1 frame of 32x32 pixels; "
            f"got {settings.frames} frames of {settings.height}x{settings.width}."
        )
    if not 1 <= settings.min_objects <= settings.max_objects:
        raise ConfigError(
            f"Give 1 <= min_objects <= max_objects; got {settings.min_objects} and {settings.max_objects}."
        )


def random_scene(rng: np.random.Generator, settings: SceneSettings) -> SceneClip:
    """A random clip. The same generator state and settings give the same bytes.

    Every object is visible on frame 0 with at least ``settings.min_area`` of the picture.

    Raises:
        ConfigError: a size or count that no scene can have.
        GenerationFailed: the objects do not fit into the picture together.
    """
    return render_scene(_seen_plan(rng, settings))


def random_boxes(rng: np.random.Generator, settings: SceneSettings) -> Floats:
    """The boxes (N, T, 4) of the tracks of :func:`random_scene`, without its pictures: twice as fast.

    Raises:
        ConfigError, GenerationFailed: as there.
    """
    plan = _seen_plan(rng, settings)
    masks = np.stack([_masks(plan, frame) for frame in range(settings.frames)], axis=1)
    return boxes_from_masks(masks)


def _masks(plan: ScenePlan, frame: int) -> Bools:
    """(N, H, W) bool visible masks."""
    canvas = _canvas(plan.settings)
    return _visible([item.actor.draw(item.places[frame], canvas) for item in plan.objects], canvas)


def _seen_plan(rng: np.random.Generator, settings: SceneSettings) -> ScenePlan:
    """A plan whose objects are all visible on frame 0."""
    _check(settings)
    for _ in range(100):
        plan = plan_scene(rng, settings)
        if _masks(plan, 0).mean(axis=(1, 2)).min() >= settings.min_area:
            return plan
    raise GenerationFailed(
        f"Could not place {settings.min_objects} to {settings.max_objects} objects of at least "
        f"{settings.min_area:.2%} of the picture each; ask for fewer objects or a smaller min_area."
    )


HELD_OUT_GROUPS: tuple[tuple[int, int], ...] = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 8))
"""Object counts of the evaluation set's groups (MagicBench: 1, 2, 3, 4, 5, more than 5)."""


def held_out_scenes(count: int, seed: int, settings: SceneSettings) -> Iterator[SceneClip]:
    """A fixed evaluation set: equal shares of :data:`HELD_OUT_GROUPS` in turn, other random streams, other photos
    and other combinations of kind and accessory than any training scene. Scene i does not depend on ``count``."""
    for index in range(count):
        low, high = HELD_OUT_GROUPS[index % len(HELD_OUT_GROUPS)]
        rng = np.random.default_rng(np.random.SeedSequence([EVALUATION_STREAM, seed, index]))
        yield random_scene(rng, replace(settings, min_objects=low, max_objects=high, held_out=True))
