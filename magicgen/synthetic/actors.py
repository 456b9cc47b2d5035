"""Objects that can be drawn into a frame: textured sprites and posable characters."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.synthetic.characters import Design, build
from magicgen.synthetic.colours import shade
from magicgen.synthetic.geometry import Doubles, Floats
from magicgen.synthetic.shapes import Outline
from magicgen.synthetic.skeleton import KEYPOINT_NAMES, STILL, Pose

_SHIFT = 4  # binary digits after the point in OpenCV's fixed-point coordinates
_ONE = 1 << _SHIFT


@dataclass(frozen=True)
class Place:
    """Where an object stands in one frame, in pixels: centre, size (height of a character, longest side of a shape),
    angle in degrees counter-clockwise as seen. ``yaw`` and ``pose`` matter to characters alone, ``stretch`` (factors
    along the object's own axes, before the turn) to shapes.
    """

    x: float
    y: float
    size: float
    angle: float
    yaw: float = 0.0
    pose: Pose = STILL
    stretch: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Layer:
    """A drawn object, cut to its bounding box with corner (x0, y0), which may lie outside the picture.

    ``rgb``: (h, w, 3) float32 in [0, 255], premultiplied with ``alpha``: (h, w) float32 in [0, 1]. ``strokes``: closed
    outlines in painter's order, int32 fixed point with 4 binary digits in picture coordinates; each group is filled,
    then inked, in a sketch. ``keypoints``: (K, 3) float32 pixel x, y and whether it faces the viewer, or None.
    """

    x0: int
    y0: int
    rgb: Floats
    alpha: Floats
    strokes: list[list[npt.NDArray[np.int32]]]
    keypoints: Floats | None = None


@dataclass(frozen=True)
class Canvas:
    """Size of the picture in pixels and the margin around it in which layers are still drawn (for their shadows)."""

    height: int
    width: int
    margin: int

    def clip(self, low: Doubles, high: Doubles) -> tuple[int, int, int, int] | None:
        """(x0, y0, x1, y1) of the drawn part of a bounding box, or None when nothing of it is near the picture."""
        x0, y0 = max(int(np.floor(low[0])) - 1, -self.margin), max(int(np.floor(low[1])) - 1, -self.margin)
        x1 = min(int(np.ceil(high[0])) + 2, self.width + self.margin)
        y1 = min(int(np.ceil(high[1])) + 2, self.height + self.margin)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _turning(place: Place) -> Doubles:
    """(2, 2) matrix M so that pixels = unit @ M + centre, y down."""
    cosine, sine = np.cos(np.radians(place.angle)), np.sin(np.radians(place.angle))
    return place.size * np.array([[cosine, -sine], [sine, cosine]])


class SpriteActor:
    """A textured shape; drawn once at high resolution with smaller copies, placed per frame by an affine warp."""

    def __init__(self, image: Floats, outline: Outline) -> None:
        self.outline = outline
        self.levels = [image]
        while self.levels[-1].shape[0] > 24:
            side = self.levels[-1].shape[0] // 2
            self.levels.append(cv2.resize(self.levels[-1], (side, side), interpolation=cv2.INTER_AREA))

    def draw(self, place: Place, canvas: Canvas) -> Layer | None:
        """The layer at a place, or None where it lies outside the canvas."""
        matrix, centre = np.diag(place.stretch) @ _turning(place), np.array([place.x, place.y])
        corners = np.array([[-0.54, -0.54], [0.54, -0.54], [0.54, 0.54], [-0.54, 0.54]]) @ matrix + centre
        points = [ring @ matrix + centre for ring in self.outline]
        area = canvas.clip(
            np.maximum(corners.min(0), points[0].min(0) - 1), np.minimum(corners.max(0), points[0].max(0) + 1)
        )
        if area is None:
            return None
        x0, y0, x1, y1 = area
        side = place.size * max(place.stretch) / 0.92
        level = next((image for image in reversed(self.levels) if image.shape[0] >= side), self.levels[0])
        pixels = level.shape[0]
        # OpenCV's pixel centres lie on integers: half a pixel is taken off on both sides
        linear = matrix.T / (0.92 * pixels)
        offset = centre - (x0 + 0.5, y0 + 0.5) - linear @ np.full(2, (pixels - 1) / 2)
        affine = np.column_stack([linear, offset])
        rgba = cv2.warpAffine(level, affine, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        strokes = [np.round((ring - 0.5) * _ONE).astype(np.int32) for ring in points]
        return Layer(x0, y0, cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), cv2.extractChannel(rgba, 3), [strokes])


class CharacterActor:
    """A drawn character; its polygons are projected and filled anew in every frame, at twice the resolution."""

    def __init__(self, design: Design, light: tuple[float, float] = (-0.12, -0.2)) -> None:
        self.design, self.light = design, light

    def draw(self, place: Place, canvas: Canvas) -> Layer | None:
        """The layer at a place, or None where it lies outside the canvas."""
        puppet = build(self.design, place.pose, place.yaw)
        parts = puppet.ordered()
        matrix, centre = _turning(place), np.array([place.x, place.y])
        stacked = np.concatenate([*(part.outline for part in parts), puppet.view[:, :2]])
        points = (stacked * (1.0, -1.0) + (0.0, 0.5)) @ matrix + centre
        body = points[: -len(KEYPOINT_NAMES)]
        area = canvas.clip(body.min(axis=0) - 1, body.max(axis=0) + 1)
        if area is None:
            return None
        x0, y0, x1, y1 = area
        image = np.zeros((2 * (y1 - y0), 2 * (x1 - x0), 4), np.uint8)
        fine = np.round(((body - (x0, y0)) * 2 - 0.5) * _ONE).astype(np.int32)
        coarse = np.round((body - 0.5) * _ONE).astype(np.int32)
        strokes, thickness, start = [], max(1, round(place.size * 0.016)), 0
        for part in parts:
            stop = start + len(part.outline)
            cv2.fillPoly(image, [fine[start:stop]], (*part.colour, 255), cv2.LINE_AA, _SHIFT)
            if part.inked:
                cv2.polylines(
                    image, [fine[start:stop]], True, (*shade(part.colour, 0.42), 255), thickness, cv2.LINE_AA, _SHIFT
                )
            if part.inked or np.ptp(body[start:stop], axis=0).min() > 4:
                strokes.append([coarse[start:stop]])
            start = stop
        small = cv2.resize(image, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        gain = cv2.cvtColor(self._light(place, (x0, y0, x1, y1)), cv2.COLOR_GRAY2RGB)
        rgb = cv2.multiply(cv2.cvtColor(small, cv2.COLOR_RGBA2RGB), gain, dtype=cv2.CV_32F)
        alpha = cv2.extractChannel(small, 3) * np.float32(1 / 255)
        return Layer(x0, y0, rgb, alpha, strokes, self._keypoints(points, puppet.view))

    def _light(self, place: Place, area: tuple[int, int, int, int]) -> Floats:
        """A soft gradient over the body, brightest towards the light; at most 1, which keeps colours premultiplied."""
        x = (np.arange(area[0], area[2]) - place.x) * (self.light[0] / place.size)
        y = (np.arange(area[1], area[3]) - place.y) * (self.light[1] / place.size)
        return np.clip(np.add.outer(y.astype(np.float32), x.astype(np.float32)) + np.float32(0.97), 0.7, 1.0)

    @staticmethod
    def _keypoints(points: Doubles, view: Floats) -> Floats:
        count = len(KEYPOINT_NAMES)
        facing = np.ones((count, 1))
        facing[:3] = view[:3, 2:] > 0
        return np.concatenate([points[-count:], facing], axis=1).astype(np.float32)


Actor = SpriteActor | CharacterActor
