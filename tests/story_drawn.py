"""A painter that draws with the storybook world itself: exact, quick, and it counts what it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from magicgen.control.story import Character, Panel, Subject
from magicgen.planning.cast import describe
from magicgen.progress import CancelToken
from magicgen.synthetic.characters import Design, design
from magicgen.synthetic.landscapes import PLACES, TIMES, draw_place, paint_place
from magicgen.synthetic.layout import Figure, panel_scene
from magicgen.synthetic.layout import Panel as DrawnPanel
from magicgen.synthetic.plan import SceneSettings
from magicgen.synthetic.poses import Action
from magicgen.synthetic.scenery import place_lines
from magicgen.synthetic.story_examples import canonical_place, draw_alone

UInt8 = npt.NDArray[np.uint8]
YAWS = {"front": 0.0, "left": -35.0, "right": 35.0, "away": 180.0}


def design_of(words: str) -> Design:
    """The design that a description or a local prompt names."""
    mention = describe(words)
    assert mention is not None
    assert mention.kind is not None
    looks = mention.looks
    colour = looks.colour or "red"
    return design(np.random.default_rng(0), mention.kind.word, colour, looks.accessory, looks.accessory_colour or "red")


@dataclass
class DrawnPainter:
    """See the module. ``calls`` lists every picture that was asked for; ``keypoints`` are those of the last panel."""

    calls: list[str] = field(default_factory=list)
    keypoints: npt.NDArray[np.float32] | None = None

    def sheet(self, character: Character, references: Sequence[UInt8], *, seed: int, steps: int | None) -> UInt8:
        self.calls.append(f"sheet {character.name}")
        picture = np.full((128, 192, 3), 250, np.uint8)
        who = design_of(character.description)
        for index, yaw in enumerate((0.0, 90.0, 180.0)):
            place = canonical_place(128, (index + 0.5) * 64, 0.68, yaw, Action.STANDS, who.frame)
            picture = draw_alone(who, place, picture)
        return picture

    def slot(self, sheet: UInt8) -> UInt8:
        return sheet[:, : sheet.shape[1] // 3]

    def place_sketch(self, background: str, *, height: int, width: int, seed: int) -> UInt8 | None:
        place, time = self._scene(background)
        return place_lines(paint_place(np.random.default_rng(seed), height, width, place, time))

    def plate(
        self, background: str, *, height: int, width: int, seed: int, steps: int | None, sketch: UInt8 | None
    ) -> UInt8:
        self.calls.append(f"plate {background}")
        place, time = self._scene(background)
        drawn = draw_place(np.random.default_rng(seed), height, width, place, time)
        return drawn if sketch is None else np.maximum(drawn, sketch[..., None])

    @staticmethod
    def _scene(background: str) -> tuple[str, str]:
        words = background.split()
        return next(w for w in words if w in PLACES), next(w for w in words if w in TIMES)

    def alone(self, subject: Subject, slot: UInt8 | None, *, seed: int, steps: int | None) -> UInt8:
        self.calls.append(f"alone {subject.character}")
        who = design_of(subject.prompt)
        place = canonical_place(128, 96, 0.74, YAWS[subject.facing], Action(subject.pose or "stands"), who.frame)
        return draw_alone(who, place, np.full((128, 192, 3), 246, np.uint8))

    def panel(
        self,
        panel: Panel,
        slots: Mapping[str, UInt8],
        *,
        plate: UInt8 | None,
        sketch: UInt8 | None,
        crops: UInt8 | None,
        keypoints: npt.NDArray[np.float32] | None,
        height: int,
        width: int,
        seed: int,
        steps: int | None,
        progress: Callable[[int, int], None] | None,
        cancel: CancelToken | None,
    ) -> UInt8:
        self.calls.append("panel")
        self.keypoints = keypoints
        words = panel.background.split()
        place, time = next(w for w in words if w in PLACES), next(w for w in words if w in TIMES)
        figures = tuple(
            Figure(design_of(s.prompt), s.box, Action(s.pose or "stands"), YAWS[s.facing])
            for s in (panel.subjects[index] for index in panel.drawing_order())
        )
        settings = SceneSettings(frames=1, height=height, width=width)
        if progress is not None:
            progress(1, 1)
        return panel_scene(DrawnPanel(place, time, figures, seed % 2**31), settings).video[0]
