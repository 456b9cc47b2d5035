"""The stages between a plan and its panels: sheets, places, subjects alone, sketches, pictures."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box
from magicgen.control.story import Character, Panel, StoryPage, Subject
from magicgen.control.story_ground import from_ground, grainy_figure, main_part
from magicgen.control.story_sketch import Cutout, compose, cut_out, noise_level, paste, read_sketch
from magicgen.errors import StoryError
from magicgen.jobs.story_book import Book, digest, digest_file, seed_for
from magicgen.jobs.story_joints import JointReader, read_joints, write_joints
from magicgen.media import read_image, read_mask, write_image, write_json
from magicgen.progress import CancelToken, ProgressEvent, Report, Stage, silent
from magicgen.segmentation.grabcut import GrabCutSegmenter
from magicgen.synthetic.skeleton import draw_keypoints

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Condition = Literal["sketch", "keypoints"]
"""What a panel is drawn after: lines, or skeletons."""


class Painter(Protocol):
    """What a model for stories can do; each call depends on its arguments alone."""

    def load_character(self, adapter: Path, name: str) -> None:
        """Take in the adapter of a character; it acts where that one is painted."""
        ...

    def sheet(self, character: Character, references: Sequence[UInt8], *, seed: int, steps: int | None) -> UInt8:
        """(h, 3 w, 3): the character from the front, the side and the back."""
        ...

    def slot(self, sheet: UInt8) -> UInt8:
        """The picture by which a character is known: the front view of a sheet."""
        ...

    def place_sketch(self, background: str, *, height: int, width: int, seed: int) -> UInt8 | None:
        """(height, width) white lines on black: what stands where in a place; None where the model needs none."""
        ...

    def plate(
        self, background: str, *, height: int, width: int, seed: int, steps: int | None, sketch: UInt8 | None
    ) -> UInt8:
        """(height, width, 3): an empty place, after its sketch where there is one."""
        ...

    def alone(self, subject: Subject, slot: UInt8 | None, *, seed: int, steps: int | None) -> UInt8:
        """(h, w, 3): one subject on a plain ground."""
        ...

    def panel(
        self,
        panel: Panel,
        slots: Mapping[str, UInt8],
        *,
        plate: UInt8 | None,
        sketch: UInt8 | None,
        crops: UInt8 | None,
        keypoints: Floats | None,
        height: int,
        width: int,
        seed: int,
        steps: int | None,
        progress: Callable[[int, int], None] | None,
        cancel: CancelToken | None,
    ) -> UInt8:
        """(height, width, 3): the picture of a panel, after its sketch or its joints (subjects, 17, 3), and its pasted
        ``crops``.

        ``progress`` is told steps done and steps in all.
        """
        ...


@dataclass(frozen=True)
class Making:
    """What decides pictures beside the plan: ``identity`` names the model and its settings; ``adapters`` are digests of
    the characters' adapters by name; ``sketches`` says whether there is a dense ``condition`` at all."""

    identity: str
    height: int
    width: int
    seed: int
    steps: int | None = None
    sketches: bool = True
    plates: bool = True
    adapters: Mapping[str, str] = field(default_factory=dict)
    condition: Condition = "sketch"

    @property
    def joints(self) -> bool:
        """Whether panels are drawn after skeletons."""
        return self.sketches and self.condition == "keypoints"


class Studio:
    """Makes the files of a book, one stage after the other; what is there and current is kept."""

    def __init__(
        self,
        book: Book,
        page: StoryPage,
        painter: Painter,
        making: Making,
        report: Report = silent,
        cancel: CancelToken | None = None,
    ) -> None:
        self.book, self.page, self.painter, self.making = book, page, painter, making
        self.report, self.cancel = report, cancel
        self.reader = JointReader()
        self.made: list[Path] = []
        self.warnings: list[str] = []

    def sheets(self, panels: Sequence[int]) -> None:
        """A sheet for every character of some panels."""
        wanted = [self.page.character(name) for name in self._names(panels)]
        stage = Stage(self.report, "Characters", len(wanted))
        for character in wanted:
            path = self.book.sheet(character.name)
            references = list(character.references)
            words = character.description
            source = digest(
                "sheet",
                self.making.identity,
                words,
                [digest_file(file) for file in references],
                self._seed(),
                *self._adapters([character.name]),
            )
            if not self.book.is_current(path, source):
                self._go_on()
                pictures = [read_image(file) for file in references]
                seed = seed_for(self.making.seed, "sheet", character.name)
                sheet = self.painter.sheet(character, pictures, seed=seed, steps=self.making.steps)
                self._write(path, sheet, source)
            stage.advance(preview=read_image(path))

    def plates(self, panels: Sequence[int]) -> None:
        """An empty place for every background of some panels."""
        if not self.making.plates:
            return
        wanted = list(dict.fromkeys(self.page.panels[number].background for number in panels))
        stage = Stage(self.report, "Places", len(wanted))
        for background in wanted:
            path, making = self.book.plate(background), self.making
            sketch = self._place_sketch(background)
            drawn = "" if sketch is None else digest_file(self.book.place_sketch(background))
            size = {"height": making.height, "width": making.width}
            source = digest("plate", making.identity, background, list(size.values()), self._seed(), drawn)
            if not self.book.is_current(path, source):
                self._go_on()
                seed = seed_for(making.seed, "plate", background)
                plate = self.painter.plate(background, **size, seed=seed, steps=making.steps, sketch=sketch)
                self._write(path, plate, source)
            stage.advance(preview=read_image(path))

    def _place_sketch(self, background: str) -> UInt8 | None:
        """The lines of a place: drawn over by hand, kept or new; None for a model that needs none."""
        making, path = self.making, self.book.place_sketch(background)
        size = {"height": making.height, "width": making.width}
        source = digest("place sketch", making.identity, background, list(size.values()), making.seed)
        if making.sketches and not self.book.is_current(path, source):
            lines = self.painter.place_sketch(background, **size, seed=seed_for(making.seed, "place sketch"))
            if lines is not None:
                self._write(path, lines, source)
        return fitted_lines(read_image(path), **size) if making.sketches and path.is_file() else None

    def conditions(self, panels: Sequence[int]) -> None:
        """Every subject alone, cut out, drawn with lines or joints, and composed."""
        if not self.making.sketches:
            return
        total = sum(len(self.page.panels[number].subjects) for number in panels)
        stage = Stage(self.report, "Joints" if self.making.joints else "Sketches", total)
        for number in panels:
            panel = self.page.panels[number]
            cutouts: dict[int, Cutout] = {}
            for index, subject in enumerate(panel.subjects):
                read = self._jointed if self.making.joints else self._cutout
                cutout = read(number, index, subject)
                if cutout is not None:
                    cutouts[index] = cutout
                alone = self.book.alone(number, index)
                stage.advance(preview=read_image(alone) if alone.is_file() else None)
            self._compose(number, panel, cutouts)

    def panels(self, panels: Sequence[int]) -> list[Path]:
        """The pictures of some panels."""
        stage = Stage(self.report, "Panels", len(panels))
        for number in panels:
            path = self.book.panel(number)
            source = self._panel_source(number)
            if not self.book.is_current(path, source):
                self._go_on()
                self._write(path, self._paint(number), source)
                write_json(path.with_suffix(".json"), self._panel_record(number))
            stage.advance(preview=read_image(path))
        return [self.book.panel(number) for number in panels]

    def _cutout(self, number: int, index: int, subject: Subject) -> Cutout | None:
        """The subject's cutout: drawn by hand, edited, kept or new; None where nothing could be cut out."""
        if subject.sketch is not None:
            return read_sketch(subject.sketch)
        book, lines = self.book, self.book.lines(number, index)
        alone, mask = self._alone(number, index, subject)
        cutting = digest("lines", digest_file(alone), digest_file(mask))
        if book.is_current(lines, cutting) and book.was_edited(lines):
            return read_sketch(lines)
        try:
            cutout = cut_out(read_image(alone), read_mask(mask))
        except StoryError:
            self._not_cut_out(number, subject, "a sketch")
            return None
        self._write(lines, cutout.lines, cutting)
        return cutout

    def _jointed(self, number: int, index: int, subject: Subject) -> Cutout | None:
        """The subject's cutout with its joints: edited, kept or read; None where nothing could be cut out."""
        if subject.sketch is not None:
            self.warnings.append(
                f"panel {number + 1}: the sketch of {subject.character} is not used; joints take its place"
            )
        path = self.book.joints(number, index)
        alone, mask = self._alone(number, index, subject)
        picture, shape = read_image(alone), read_mask(mask)
        source = digest("joints", digest_file(alone), digest_file(mask), subject.facing, self.reader.identity)
        if shape.any() and not self.book.is_current(path, source):
            write_joints(path, self.reader.read(picture, shape, subject.yaw))
            self._noted(path, source)
        cutout = self._drawn(number, index, subject) if shape.any() else None
        if cutout is None:
            self._not_cut_out(number, subject, "joints")
        return cutout

    def _not_cut_out(self, number: int, subject: Subject, missing: str) -> None:
        self.warnings.append(
            f"panel {number + 1}: {subject.character} could not be cut out of its picture; made without {missing}"
        )

    def _alone(self, number: int, index: int, subject: Subject) -> tuple[Path, Path]:
        """The files of the subject alone and of its mask, edited, kept or new."""
        book, making = self.book, self.making
        alone, mask = book.alone(number, index), book.mask(number, index)
        words = (subject.character, subject.prompt, subject.pose, subject.facing)
        known = (self._slot_digest(subject.character), self._seed(), *self._adapters([subject.character]))
        source = digest("alone", making.identity, words, *known)
        if not book.is_current(alone, source):
            self._go_on()
            # the same words give the same drawing in every panel, wherever it stands
            seed = seed_for(making.seed, "alone", *words)
            picture = self.painter.alone(subject, self._slot(subject.character), seed=seed, steps=making.steps)
            self._write(alone, picture, source)
        seen = digest("mask", digest_file(alone))
        if not book.is_current(mask, seen):
            self._write(mask, (foreground(read_image(alone)) * 255).astype(np.uint8), seen)
        return alone, mask

    def _compose(self, number: int, panel: Panel, cutouts: dict[int, Cutout]) -> None:
        making = self.making
        if making.joints:
            self._skeletons(number, panel, cutouts)
            return
        boxes = [subject.box for subject in panel.subjects]
        parts = {index: hashlib.sha256(cutout.lines.tobytes()).hexdigest() for index, cutout in cutouts.items()}
        source = digest("sketch", boxes, parts, making.height, making.width)
        path = self.book.sketch(number)
        if not self.book.is_current(path, source):
            composed = compose(panel, cutouts, making.height, making.width)
            self._write(path, composed.sketch, source)

    def _skeletons(self, number: int, panel: Panel, cutouts: Mapping[int, Cutout]) -> None:
        """What the model will be shown, as a picture for people: it is drawn anew from the joints each time."""
        points = compose(panel, cutouts, self.making.height, self.making.width).keypoints
        ordered = np.nan_to_num(points[list(panel.drawing_order())])
        drawn = draw_keypoints(ordered, self.making.height, self.making.width)
        path = self.book.skeletons(number)
        source = digest("skeletons", hashlib.sha256(drawn.tobytes()).hexdigest())
        if not self.book.is_current(path, source) or self.book.was_edited(path):
            self._write(path, drawn, source)

    def _paint(self, number: int) -> UInt8:
        panel, making = self.page.panels[number], self.making
        sketch, points = None, self._points(number) if making.joints else None
        if making.sketches and not making.joints and self.book.sketch(number).is_file():
            sketch = fitted_lines(read_image(self.book.sketch(number)), making.height, making.width)
        plate = read_image(self.book.plate(panel.background)) if making.plates else None
        slots = {subject.character: self._slot(subject.character) for subject in panel.subjects}
        return self.painter.panel(
            panel,
            {name: slot for name, slot in slots.items() if slot is not None},
            plate=plate,
            sketch=sketch,
            crops=None if plate is None or (sketch is None and points is None) else self._pasted(number, plate),
            keypoints=points,
            height=making.height,
            width=making.width,
            seed=self.panel_seed(number),
            steps=making.steps,
            progress=self._step,
            cancel=self.cancel,
        )

    def _pasted(self, number: int, plate: UInt8) -> UInt8 | None:
        """The plate with the subjects' pictures; None where the composed sketch itself was drawn over by hand."""
        if not self.making.joints and self.book.was_edited(self.book.sketch(number)):
            return None
        panel, making = self.page.panels[number], self.making
        known = self._known(number)
        if plate.shape[:2] != (making.height, making.width):
            plate = np.asarray(cv2.resize(plate, (making.width, making.height), interpolation=cv2.INTER_AREA), np.uint8)
        return paste(panel, known, plate)

    def _points(self, number: int) -> Floats:
        """(subjects, 17, 3) joints in a panel, NaN where a subject has none."""
        panel, making = self.page.panels[number], self.making
        return compose(panel, self._known(number), making.height, making.width).keypoints

    def _known(self, number: int) -> dict[int, Cutout]:
        """The cutouts of a panel that could be made."""
        found = {
            index: self._drawn(number, index, subject)
            for index, subject in enumerate(self.page.panels[number].subjects)
        }
        return {index: cutout for index, cutout in found.items() if cutout is not None}

    def _drawn(self, number: int, index: int, subject: Subject) -> Cutout | None:
        """A subject's cutout from the files of the stage before."""
        book, joints = self.book, self.making.joints
        if subject.sketch is not None and not joints:
            return read_sketch(subject.sketch)
        lines = book.lines(number, index)
        if lines.is_file() and book.was_edited(lines) and not joints:
            return read_sketch(lines)
        alone, mask, points = book.alone(number, index), book.mask(number, index), book.joints(number, index)
        if not alone.is_file() or not mask.is_file() or (joints and not points.is_file()):
            return None
        wanted = read_joints(points) if joints else None
        try:
            picture, shape = read_image(alone), read_mask(mask)
            return cut_out(picture, shape) if wanted is None else self.reader.cutout(picture, shape, subject, wanted)
        except StoryError:
            return None

    def panel_seed(self, number: int) -> int:
        """The seed of a panel: its own, or one made from the book's."""
        own = self.page.panels[number].seed
        return own if own is not None else seed_for(self.making.seed, "panel", number)

    def _panel_source(self, number: int) -> str:
        """What decides a panel: words, boxes, and the files of the stages before. Captions and balloons do not."""
        panel, making = self.page.panels[number], self.making
        values = panel.model_dump(mode="json", include={"background", "shot", "subjects"})
        numbers = range(len(panel.subjects))
        files = [self.book.sketch(number)] if making.sketches and not making.joints else []
        files += [self.book.plate(panel.background)] if making.plates else []
        if making.sketches:
            files += [path(number, index) for index in numbers for path in (self.book.alone, self.book.mask)]
        if making.joints:
            files += [self.book.joints(number, index) for index in numbers]
        seen = [digest_file(path) if path.is_file() else "" for path in files]
        slots = [self._slot_digest(subject.character) for subject in panel.subjects]
        settings = (making.identity, making.height, making.width, making.steps, making.sketches, making.plates)
        learned = self._adapters([subject.character for subject in panel.subjects])
        learned += ["keypoints", self.reader.identity] if making.joints else []
        return digest("panel", settings, values, seen, slots, self.panel_seed(number), *learned)

    def _panel_record(self, number: int) -> dict[str, Any]:
        panel, making = self.page.panels[number], self.making
        return {
            "version": 1,
            "kind": "story panel",
            "panel": number + 1,
            "seed": self.panel_seed(number),
            "model": making.identity,
            "size": [making.height, making.width],
            "steps": making.steps,
            "condition": making.condition if making.sketches else None,
            "prompt": panel.prompt,
            "subjects": [{"prompt": subject.prompt, "box": list(subject.box)} for subject in panel.subjects],
        }

    def _slot(self, name: str) -> UInt8 | None:
        path = self.book.sheet(name)
        return self.painter.slot(read_image(path)) if path.is_file() else None

    def _slot_digest(self, name: str) -> str:
        path = self.book.sheet(name)
        return digest_file(path) if path.is_file() else ""

    def _adapters(self, names: Sequence[str]) -> list[str]:
        """Digests of the adapters that draw some characters."""
        return [self.making.adapters[name] for name in dict.fromkeys(names) if name in self.making.adapters]

    def _names(self, panels: Sequence[int]) -> list[str]:
        return list(dict.fromkeys(s.character for number in panels for s in self.page.panels[number].subjects))

    def _seed(self) -> tuple[int, int | None]:
        return self.making.seed, self.making.steps

    def _step(self, done: int, steps: int) -> None:
        self.report(ProgressEvent("Steps", done, steps))

    def _go_on(self) -> None:
        if self.cancel is not None:
            self.cancel.raise_if_cancelled()

    def _write(self, path: Path, pixels: npt.NDArray[Any], source: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, pixels)
        self._noted(path, source)

    def _noted(self, path: Path, source: str) -> None:
        self.book.note(path, source)
        self.book.save()
        self.made.append(path)


GRAINY = 0.64
"""Noise in grey levels that drawings and photographs on plain grounds do not have, and pictures of small models do."""


def foreground(picture: UInt8) -> Bools:
    """The subject of a picture with a plain ground: what differs from the border, made exact by GrabCut.

    A small model leaves grain and a haze around its subjects. There the threshold is set by the subject's own contrast,
    so that the haze stays outside, and there is no edge that GrabCut could find.
    """
    if noise_level(picture) > GRAINY:
        return grainy_figure(picture)
    distance = from_ground(picture)
    rough = cv2.morphologyEx((distance > 8).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    whole = _silhouette(main_part(rough))
    if not whole.any() or whole.mean() > 0.9:
        return whole
    segmenter = GrabCutSegmenter()
    segmenter.set_image(picture)
    refined = segmenter.predict(box=_around(whole), mask=whole).mask
    # a white subject on white paper is held together by its outline only, which GrabCut does not know
    agree = (refined & whole).sum() / max(1, (refined | whole).sum())
    return refined if agree > 0.9 else whole


def fitted_lines(picture: UInt8, height: int, width: int) -> UInt8:
    """An edited sketch of any size, light on dark or dark on light, as (height, width) white lines on black."""
    grey = picture.max(axis=2)
    if np.median(grey) > 127:
        grey = 255 - picture.min(axis=2)
    if grey.shape != (height, width):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return np.where(grey > 96, 255, 0).astype(np.uint8)


def _silhouette(mask: npt.NDArray[np.uint8]) -> Bools:
    """Everything that an outline with small gaps encloses."""
    closed = cv2.morphologyEx(np.pad(mask, 4), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))[4:-4, 4:-4]
    contours, _ = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    full = np.zeros_like(mask)
    cv2.drawContours(full, contours, -1, 1, cv2.FILLED)
    return full.astype(bool)


def _around(mask: Bools) -> Box:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(
        float(columns[0]) / width, float(rows[0]) / height, float(columns[-1] + 1) / width, float(rows[-1] + 1) / height
    )
