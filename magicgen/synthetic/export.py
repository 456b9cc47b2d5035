"""Writing a scene as files: the DAVIS layout and its facts as JSON."""

from pathlib import Path

import numpy as np

from magicgen.control.tracks import Bools
from magicgen.errors import MediaError
from magicgen.media import write_image, write_json, write_video
from magicgen.synthetic.colours import Images
from magicgen.synthetic.scene import SceneClip

_STEPS = (0, 85, 170, 255)


def label_picture(masks: Bools) -> Images:
    """(N, H, W) bool, disjoint -> (H, W, 3) uint8: black outside, one fixed colour per object."""
    picture = np.zeros((*masks.shape[1:], 3), np.uint8)
    for index, mask in enumerate(masks):
        picture[mask] = label_colour(index)
    return picture


def label_colour(index: int) -> tuple[int, int, int]:
    """The colour of object ``index`` in :func:`label_picture`; at most 63 objects have different ones."""
    code = (index * 22 + 3) % 63 + 1
    return (_STEPS[code // 16], _STEPS[code // 4 % 4], _STEPS[code % 4])


def write_scene(clip: SceneClip, folder: Path, fps: float = 8.0) -> None:
    """Store a clip in ``folder`` (made if missing): video.mp4, background.mp4, masks/00000.png, scene.json.

    scene.json holds the caption, and per object its name, class, main colour, label colour, boxes (null where
    invisible) and angles.

    Raises:
        MediaError: the folder cannot be written, or there are more objects than label colours.
    """
    tracks = clip.tracks
    if tracks.masks is None or len(tracks.names) > 63:
        raise MediaError(f"A scene with masks of at most 63 objects can be written; this one has {len(tracks.names)}.")
    try:
        (folder / "masks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"Cannot make the folder {folder}: {error.strerror}. Choose one that is writable.") from error
    write_video(folder / "video.mp4", clip.video, fps)
    write_video(folder / "background.mp4", clip.background, fps)
    for frame in range(tracks.frames):
        write_image(folder / "masks" / f"{frame:05d}.png", label_picture(tracks.masks[:, frame]))
    objects = [
        {
            "name": name,
            "class": clip.classes[index],
            "colour": clip.colours[index],
            "label": list(label_colour(index)),
            "boxes": [None if np.isnan(box[0]) else [round(float(v), 5) for v in box] for box in tracks.boxes[index]],
            "angles": None if tracks.angles is None else [round(float(v), 3) for v in tracks.angles[index]],
        }
        for index, name in enumerate(tracks.names)
    ]
    height, width = tracks.size
    facts = {
        "caption": clip.caption,
        "frames": tracks.frames,
        "height": height,
        "width": width,
        "fps": fps,
        "objects": objects,
    }
    write_json(folder / "scene.json", facts)
