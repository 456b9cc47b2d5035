"""How the example trajectories were drawn: outlines by hand on the photo, moved by a few numbers.

``python examples/draw.py [FRAMES]`` writes every photo, mask and trajectory of this folder again.
"""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage

from magicgen.control.rle import encode_rle
from magicgen.media import read_image, write_bytes, write_image

HERE = Path(__file__).resolve().parent
FRAMES = 49
Points = Sequence[tuple[int, int]]
Move = Callable[[float], tuple[float, float, float, float]]

# Outlines in pixels of the photos.
ROCKET: Points = (
    (321, 126), (326, 131), (330, 141), (332, 152), (333, 172), (331, 178), (331, 406), (313, 406), (313, 178),
    (310, 172), (310, 152), (312, 141), (316, 131),
)  # fmt: skip
SPOON: Points = (
    (398, 74), (405, 67), (414, 67), (421, 72), (424, 80), (419, 100), (412, 122), (403, 150), (395, 180), (388, 208),
    (384, 222), (384, 237), (390, 250), (400, 262), (405, 275), (404, 290), (397, 306), (385, 318), (370, 325),
    (352, 325), (338, 317), (329, 304), (326, 288), (328, 272), (336, 258), (350, 248), (366, 240), (372, 236),
    (374, 220), (381, 205), (390, 178), (398, 150), (405, 128), (408, 110), (405, 90),
)  # fmt: skip
COFFEE: Points = (
    (280, 17), (252, 22), (224, 33), (206, 45), (189, 63), (182, 65), (168, 72), (143, 88), (133, 96), (118, 111),
    (108, 124), (93, 149), (84, 175), (81, 191), (80, 214), (81, 215), (82, 235), (85, 248), (97, 279), (111, 302),
    (124, 318), (148, 340), (176, 358), (190, 365), (222, 377), (226, 377), (239, 381), (267, 385), (306, 385),
    (337, 380), (374, 368), (390, 360), (413, 345), (440, 320), (457, 296), (465, 280), (471, 263), (476, 239),
    (476, 208), (471, 182), (466, 168), (456, 147), (443, 127), (419, 102), (419, 99), (426, 80), (412, 66),
    (397, 67), (391, 59), (377, 45), (364, 36), (346, 27), (331, 22), (312, 18),
)  # fmt: skip
LEFT_EYE: Points = (
    (134, 105), (138, 95), (147, 88), (160, 85), (175, 85), (190, 91), (202, 103), (208, 117), (212, 130), (208, 140),
    (196, 146), (180, 148), (163, 143), (148, 133), (138, 120),
)  # fmt: skip
RIGHT_EYE: Points = (
    (294, 150), (296, 135), (302, 124), (312, 115), (325, 111), (336, 113), (342, 124), (341, 140), (335, 152),
    (325, 160), (311, 163), (299, 159),
)  # fmt: skip
SHUTTLE: Points = (
    (380, 70), (383, 50), (388, 40), (393, 50), (395, 60), (395, 30), (400, 10), (404, 0), (425, 0), (432, 15),
    (437, 35), (437, 55), (440, 45), (444, 39), (449, 45), (454, 62), (455, 100), (455, 232), (458, 262), (447, 273),
    (440, 272), (434, 262), (436, 236), (425, 237), (423, 274), (416, 274), (415, 245), (408, 248), (405, 268),
    (398, 270), (391, 266), (385, 262), (378, 268), (369, 272), (367, 262), (377, 240), (380, 226), (356, 222),
    (354, 217), (358, 205), (368, 192), (378, 182), (380, 160), (378, 120), (380, 100),
)  # fmt: skip


def main(frames: int = FRAMES) -> None:
    """Write everything; ``frames`` is the length of every trajectory."""
    last = frames - 1
    rocket = Sheet("rocket", "rocket.jpg", frames)
    launch = [(0, (0, 0, 1)), (last // 4, (0, -0.02, 1)), (last // 2, (0, -0.09, 1)), (last, (0, -0.27, 1))]
    rocket.boxes("trajectory", {"rocket": (ROCKET, launch)}, "smooth")
    rocket.boxes("away", {"rocket": (ROCKET, [(0, (0, 0, 1)), (last, (0.22, -0.25, 0.45))])}, "smooth")
    rocket.masks("turn", {"rocket": (ROCKET, lambda t: (0.05 * t**2, -0.22 * t**1.5, 1.0, -14 * t**2))})

    coffee = Sheet("coffee", "coffee.png", frames)
    coffee.boxes("trajectory", {"spoon": (SPOON, [(0, (0, 0, 1)), (last, (0.26, 0.03, 1))])}, "linear")
    coffee.boxes("slide", {"coffee": (COFFEE, [(0, (0, 0, 1)), (last, (0.17, 0.0, 1))])}, "smooth")
    coffee.masks("turn", {"spoon": (SPOON, lambda t: (0.24 * t, 0.04 * t, 1.0, -30 * t))})

    cat = Sheet("chelsea", "chelsea.png", frames)
    grow = [(0, (0, 0, 1)), (last, (0, 0, 1.35))]
    cat.boxes("trajectory", {"left eye": (LEFT_EYE, grow), "right eye": (RIGHT_EYE, grow)}, "smooth")
    everything: Points = ((0, 0), (450, 0), (450, 299), (0, 299))
    cat.boxes("zoom", {"view": (everything, [(0, (0, 0, 1)), (last, (0, 0, 1.3))])}, "linear")

    astronaut = Sheet("astronaut", "astronaut.png", frames)
    leave = [(0, (0, 0, 1)), (last // 3, (0, -0.06, 1)), (last, (0, -0.65, 1))]
    astronaut.boxes("trajectory", {"shuttle": (SHUTTLE, leave)}, "smooth")
    astronaut.masks("hover", {"shuttle": (SHUTTLE, lambda t: (-0.06 * t, -0.08 * t, 1 - 0.2 * t, 8 * np.sin(6 * t)))})


class Sheet:
    """One example folder: its photo, and trajectories drawn on it."""

    def __init__(self, name: str, photo: str, frames: int) -> None:
        self.folder, self.frames = HERE / name, frames
        self.folder.mkdir(exist_ok=True)
        picture = read_image(Path(skimage.__file__).parent / "data" / photo)
        self.height, self.width = picture.shape[:2]
        write_image(self.folder / "photo.jpg", picture)

    def boxes(self, name: str, objects: dict[str, tuple[Points, Any]], interpolation: str) -> None:
        """Boxes at keyframes ``(frame, (right, down, scale))``: shifts in parts of the picture, scale about the middle.
        The mask of every object goes into a PNG of its own."""
        items = []
        for label, (outline, keyframes) in objects.items():
            mask = f"{label.replace(' ', '_')}.png"
            write_image(self.folder / mask, self.filled(np.array(outline, dtype=np.float64)))
            keys = [{"frame": frame, "box": self.box(outline, *move)} for frame, move in keyframes]
            items.append({"name": label, "mask": mask, "keyframes": keys, "interpolation": interpolation})
        self.write(name, items)

    def masks(self, name: str, objects: dict[str, tuple[Points, Move]]) -> None:
        """A mask in every frame: ``move(0..1) -> (right, down, scale, degrees counter-clockwise)``."""
        items = []
        for label, (outline, move) in objects.items():
            times = np.linspace(0, 1, self.frames)
            outlines = [self.moved(np.array(outline, dtype=np.float64), *move(float(t))) for t in times]
            items.append({"name": label, "masks": [encode_rle(self.filled(points)).to_json() for points in outlines]})
        self.write(name, items)

    def box(self, outline: Points, right: float, down: float, scale: float) -> list[float]:
        """The normalised box around an outline, shifted and scaled about its middle."""
        points = np.array(outline) / (self.width, self.height)
        low, high = points.min(axis=0), points.max(axis=0) + np.array([1 / self.width, 1 / self.height])
        middle, half = (low + high) / 2 + (right, down), (high - low) / 2 * scale
        return [round(float(value), 4) for value in (*(middle - half), *(middle + half))]

    def moved(self, points: np.ndarray, right: float, down: float, scale: float, degrees: float) -> np.ndarray:
        """Points turned and scaled about their middle, then shifted."""
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turned = (points - middle) @ np.array([[cosine, -sine], [sine, cosine]]) * scale
        return turned + middle + (right * self.width, down * self.height)

    def filled(self, points: np.ndarray) -> np.ndarray:
        """(H, W) bool mask of a polygon."""
        mask = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
        return mask > 0

    def write(self, name: str, items: list[dict[str, Any]]) -> None:
        """``NAME.json`` in the trajectory format, version 1."""
        text = json.dumps({"version": 1, "frames": self.frames, "objects": items}, indent=2)
        # Boxes and keyframes on one line each: easier to read and to change by hand.
        text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
        text = re.sub(r"\{\s+(\"frame\": \d+,)\s+(\"box\": \[.*?\])\s+\}", r"{\1 \2}", text)
        write_bytes(self.folder / f"{name}.json", (text + "\n").encode())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
