"""Joints as a dense condition: read from a subject alone, kept in a file that can be edited, and the cutout with them.

The file has one line for each of the 17 joints: x and y from 0 to 1 across the picture of the subject alone, origin top
left, or ``null`` for one that is not seen.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from magicgen.control.story import Subject
from magicgen.control.story_sketch import Cutout, cut_out
from magicgen.errors import StoryError, WeightsError
from magicgen.jobs.story_book import digest_file
from magicgen.media import write_bytes
from magicgen.synthetic.poses import Action
from magicgen.synthetic.reposed import reposed
from magicgen.synthetic.skeleton import KEYPOINT_NAMES
from magicgen.synthetic.story_examples import canonical_points
from magicgen.weights.sources import preset_folder

if TYPE_CHECKING:
    from magicgen.models.keypoint_head import KeypointHead

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
PRESET = "keypoint_head"
WEIGHTS = "diffusion_pytorch_model.safetensors"
VERSION = 1
ADVICE = " Mend it, or delete the file to have the joints read again."
MOVED = 0.004
"""Share of the picture from which a joint counts as moved by a person; the file rounds to a fortieth of it."""


class JointReader:
    """Finds the joints of a drawn figure with the shipped head, which is loaded when it is first needed.

    Args:
        folder: of the head; by default the package's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or preset_folder("tiny").parent / PRESET

    @cached_property
    def identity(self) -> str:
        """Digest of the head's weights.

        Raises:
            WeightsError: they are not there.
        """
        self.check()
        return digest_file(self.folder / WEIGHTS)

    def check(self) -> None:
        """Make sure that the weights are there.

        Raises:
            WeightsError: they are not.
        """
        if not (self.folder / WEIGHTS).is_file():
            raise WeightsError(
                f"This installation has no weights for joints in {self.folder}. Install the package again, or draw the "
                "book with --condition sketch, which needs none."
            )

    @cached_property
    def _head(self) -> "KeypointHead":
        from magicgen.models.keypoint_head import KeypointHead  # here, because plans and boxes do not wait for torch

        try:
            return KeypointHead.from_pretrained(self.folder, local_files_only=True).float().eval()
        except (OSError, ValueError, RuntimeError) as error:
            raise WeightsError(f"The weights for joints in {self.folder} cannot be loaded ({error}).") from error

    def read(self, picture: UInt8, mask: Bools, yaw: float) -> Floats:
        """The joints of a subject alone, (17, 3) float32: x, y from 0 to 1 across the picture, visibility 0 or 1.

        Args:
            picture: (H, W, 3) uint8. mask: (H, W) bool, where the subject is; it covers something.
            yaw: the view in degrees, which says whether eyes and nose are seen.
        """
        from magicgen.models.keypoint_reader import read_keypoints

        height, width = mask.shape
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
        found = np.clip(read_keypoints(self._head, picture, box), 0, 1)
        seen = canonical_points(height, width, 0.5, yaw, Action.STANDS)[:, 2:]
        return np.concatenate([found, seen], axis=1).astype(np.float32)

    def cutout(self, picture: UInt8, mask: Bools, subject: Subject, wanted: Floats) -> Cutout:
        """A subject's cutout with its joints; limbs whose joints a person moved are laid along them.

        Args:
            picture: (H, W, 3) uint8, the subject alone. mask: (H, W) bool.
            wanted: (17, 3) joints as their file has them.

        Raises:
            StoryError: the mask is (nearly) empty.
        """
        cutout = cut_out(picture, mask, keypoints=wanted)
        read = self.read(picture, mask, subject.yaw)
        target = np.where(wanted[:, 2:] > 0, wanted, read)
        if np.abs(target[:, :2] - read[:, :2]).max() < MOVED:
            return cutout
        size = float(cutout.mask.shape[0])
        colours, cover = reposed(picture, mask, read, target, 0.0, size)
        return cut_out(colours, cover >= 0.5, keypoints=wanted)


def write_joints(path: Path, joints: Floats) -> Path:
    """Write (17, 3) joints as JSON, one a line.

    Raises:
        MediaError: the file cannot be written.
    """
    rows = [
        f"    {json.dumps(name)}: " + (f"[{x:.4f}, {y:.4f}]" if seen > 0 else "null")
        for name, (x, y, seen) in zip(KEYPOINT_NAMES, joints.tolist(), strict=True)
    ]
    text = f'{{\n  "version": {VERSION},\n  "joints": {{\n' + ",\n".join(rows) + "\n  }\n}\n"
    return write_bytes(path, text.encode("utf-8"))


def read_joints(path: Path) -> Floats:
    """The joints of a file, (17, 3) float32; joints that are not seen are 0, 0, 0.

    Raises:
        StoryError: no JSON, another version, a joint too few or too many, or a point outside of the picture.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(str(path), f"expected JSON ({error})") from None
    return joints_from_values(data, str(path))


def joints_from_values(data: Any, source: str) -> Floats:
    """The joints of a document as :func:`read_joints` has them; messages call it ``source``.

    Raises:
        StoryError: another version, a joint too few or too many, or a point outside of the picture.
    """
    if not isinstance(data, dict) or set(data) != {"version", "joints"} or not isinstance(data["joints"], dict):
        raise _refused(source, 'expected {"version": 1, "joints": {...}}')
    if data["version"] != VERSION:
        raise _refused(source, f"expected version {VERSION}; got {repr(data['version'])[:40]}")
    given = data["joints"]
    missing, unknown = [name for name in KEYPOINT_NAMES if name not in given], set(given) - set(KEYPOINT_NAMES)
    if missing:
        raise _refused(source, f"joints are missing: {', '.join(missing)} (null for one that is not seen)")
    if unknown:
        raise _refused(source, f"there is no joint {min(unknown)[:40]!r}; expected {', '.join(KEYPOINT_NAMES)}")
    return np.array([_point(source, name, given[name]) for name in KEYPOINT_NAMES], np.float32)


def _point(source: str, name: str, value: Any) -> tuple[float, float, float]:
    if value is None:
        return 0.0, 0.0, 0.0
    fine = isinstance(value, list) and len(value) == 2
    fine = fine and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    if not fine or not all(0 <= each <= 1 for each in value):
        got = repr(value)[:80]
        raise _refused(source, f"{name}: expected null or [x, y] from 0 to 1 across the picture alone; got {got}")
    return float(value[0]), float(value[1]), 1.0


def _refused(source: str, reason: str) -> StoryError:
    return StoryError(f"{source}: {reason}.{ADVICE}")
