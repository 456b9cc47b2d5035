"""The clip that several stages look at one after the other in one process, decoded once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from magicgen.media import read_video


class LastClip:
    """Reads clips and remembers the last one; between processes only paths travel."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._frames: npt.NDArray[np.uint8] = np.zeros((0, 0, 0, 3), np.uint8)

    def frames(self, path: Path) -> npt.NDArray[np.uint8]:
        """(T, H, W, 3) uint8 RGB, not to be changed.

        Raises:
            MediaError: the clip cannot be read.
        """
        if self._path != path:
            self._path = None
            self._frames = read_video(path).frames
            self._frames.setflags(write=False)
            self._path = path
        return self._frames
