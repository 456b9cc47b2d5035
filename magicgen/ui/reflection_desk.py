"""What the tab that removes reflections does: from photo and marks to a checked run, its files, and back from them."""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgen.config import check_config
from magicgen.control.guide import BoxMark, Layer, Prompt, RemovalGuide, SegmentRegion
from magicgen.control.guide_file import guide_from_json, guide_to_json
from magicgen.errors import ConfigError, GuideError, MagicGenError, MediaError
from magicgen.jobs.dereflect import (
    DereflectSettings,
    RemovalResult,
    load_removal,
    prepare_removal,
    removal_key,
    remove_reflection,
)
from magicgen.media import read_image, write_bytes, write_image, write_json
from magicgen.progress import CancelToken, ProgressEvent, Report, counted, duration
from magicgen.segmentation.protocol import Bools
from magicgen.ui.outlines import Outline
from magicgen.ui.photos import MAX_PHOTO_BYTES, Photo, UInt8, shrunk, take_photo
from magicgen.ui.shelf import Shelf
from magicgen.ui.visitors import Cleaned, Visitor, Waiting
from magicgen.ui.work import Done, watch

# What a visitor may decide; the rest is for whoever starts the app.
OPEN_SETTINGS = ("strength", "octaves", "mirrored", "adapter")
KEPT_FORMATS = (".jpg", ".jpeg", ".tif", ".tiff")
POSTER_SIDE = 320
MAX_FILE_BYTES = 2 * MAX_PHOTO_BYTES


@dataclass(frozen=True)
class RestoredRemoval:
    """What the ``.json`` of an earlier removal brings back; ``missing`` names its adapter where that is not offered."""

    photo: Photo
    marks: dict[str, Any]
    settings: DereflectSettings
    missing: str | None = None


class ReflectionDesk:
    """The callables behind the tab; everything that belongs to one person is in the :class:`Visitor`.

    Args:
        shelf: where the model is kept.
        outline: finds what a click means.
        settings: model and adapter, and where the form starts.
        adapters: those that a visitor may choose from; only that of the settings where there are none.
    """

    def __init__(
        self, shelf: Shelf, outline: Outline | None, settings: DereflectSettings, adapters: Sequence[str] = ()
    ) -> None:
        self._shelf, self._outline, self.defaults = shelf, outline, settings
        self.adapters = tuple(adapters) or (settings.adapter,)

    def settings(self, values: dict[str, Any]) -> DereflectSettings:
        """Settings by name.

        Raises:
            ConfigError: out of range, unknown, or not a visitor's to choose.
        """
        foreign = [name for name in values if name not in OPEN_SETTINGS]
        if foreign:
            raise ConfigError(f"{foreign[0][:40]}: not offered here; choose among {', '.join(OPEN_SETTINGS)}.")
        if values.get("adapter", self.adapters[0]) not in self.adapters:
            named = str(values["adapter"])[:80]
            raise ConfigError(f"adapter: {named!r} is not offered here; choose {' or '.join(self.adapters)}.")
        whole = {**self.defaults.model_dump(), **values, "layers": True}
        return check_config(whole, DereflectSettings, source="settings")

    def take(self, visitor: Visitor, path: Path) -> Photo:
        """A photo for this tab; the visitor's photo to animate is another one.

        Raises:
            MediaError: it is none, or too large.
        """
        folder = visitor.folder / "reflection"
        folder.mkdir(exist_ok=True)
        visitor.mirror = take_photo(path, folder)
        return visitor.mirror

    def prepare(self, visitor: Visitor, marks: dict[str, Any] | None, settings: DereflectSettings) -> Waiting:
        """Check a run; nothing is loaded.

        Raises:
            MagicGenError: what is wrong, in words.
        """
        photo = visitor.mirror
        if photo is None:
            raise MediaError("There is no photo yet. Choose one, or drop one onto the drawing area.")
        guide = RemovalGuide() if not marks else read_marks(marks)
        suffix = photo.path.suffix if photo.path.suffix in KEPT_FORMATS else ".png"
        # The next photo of this visitor takes the place of this one; the run keeps its own.
        own = write_bytes(visitor.place(photo.path.suffix), photo.path.read_bytes())
        prepared = prepare_removal(own, guide, visitor.place(f".clean{suffix}"), settings)
        return Waiting(prepared, photo)

    def run(self, waiting: Waiting, token: CancelToken) -> Iterator[ProgressEvent | Done[Cleaned]]:
        """Load, remove, write; yields progress, then what was made.

        Raises:
            Cancelled: the visitor stopped it.
            MagicGenError: it failed.
        """

        def work(report: Report) -> Cleaned:
            prepared = waiting.prepared
            report(ProgressEvent("Loading the model", 0))
            pipeline, load_s = self._shelf.get("dereflect", removal_key(prepared), lambda: load_removal(prepared))
            segment = self._segment(waiting.photo)
            result = remove_reflection(prepared, pipeline, segment=segment, load_s=load_s, report=report, cancel=token)
            return _cleaned(waiting, result)

        return watch(work, token)

    def restore(self, visitor: Visitor, path: Path) -> RestoredRemoval:
        """Photo, marks and settings of an earlier removal.

        Raises:
            MagicGenError: the file is none of this tab's.
        """
        document = read_json_file(path)
        given, photo = document.get("settings"), document.get("photo")
        if document.get("kind") != "dereflect" or not isinstance(given, dict) or not isinstance(photo, dict):
            raise ConfigError(f"{path.name} is no settings file of this tab; load the .json that came with a result.")
        known = {name: given[name] for name in OPEN_SETTINGS if name in given}
        missing = None
        if known.get("adapter") not in self.adapters:
            missing = Path(str(known.pop("adapter", "of an unknown name"))).name[:80]
        settings = self.settings(known)
        guide = read_marks(document.get("guide"))
        suffix = Path(str(photo.get("name"))).suffix.lower()
        try:
            content = base64.b64decode(photo.get("data", ""), validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ConfigError(f"{path.name}: its photo is damaged.") from None
        source = write_bytes(visitor.place(suffix if suffix.isascii() and suffix[1:].isalnum() else ".png"), content)
        return RestoredRemoval(self.take(visitor, source), guide_to_json(guide), settings, missing)

    def _segment(self, photo: Photo) -> SegmentRegion | None:
        outline = self._outline
        if outline is None:
            return None

        def ask(prompt: Prompt) -> Bools:
            return outline(photo.shown, prompt.box, list(prompt.points))

        return ask


def read_marks(document: Any) -> RemovalGuide:
    """Marks from a browser, which hold their masks: a path in them would be one on the server.

    Raises:
        GuideError: a path, or anything that no guide holds.
    """
    marks = document.get("marks") if isinstance(document, dict) else None
    if isinstance(marks, list) and any(isinstance(mark, dict) and isinstance(mark.get("mask"), str) for mark in marks):
        raise GuideError("A mark names a mask file; here a mask must be in the marks themselves (a COCO RLE).")
    return guide_from_json(document, "marks", Path())


def read_json_file(path: Path) -> dict[str, Any]:
    """An uploaded JSON object.

    Raises:
        ConfigError: too large, or none.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path.name} is larger than {MAX_FILE_BYTES // 1024**2} MiB.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, MagicGenError):
            raise
        raise ConfigError(f"{path.name} cannot be read as JSON ({str(error)[:100]}).") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path.name}: expected a JSON object.")
    return document


def shown_before_after(made: Cleaned) -> tuple[UInt8, UInt8]:
    """Both pictures for the slider, at most 1280 pixels a side."""
    return shrunk(read_image(made.source)), shrunk(read_image(made.image))


def followed_in_words(guide: RemovalGuide, followed: float) -> str:
    """How far the marks of a guide were followed (0 to 1), and what a person does to be followed further."""
    if followed >= 1:
        return "Followed fully."
    said = f"Followed to {min(99, max(1, round(100 * followed)))} %"
    if any(isinstance(mark, BoxMark) for mark in guide.marks):
        return f"{said}, because a box holds more than is meant: paint what is meant to be followed fully."
    reflection = any(mark.layer is Layer.REFLECTION for mark in guide.marks)
    layer = "reflection" if reflection else "scene"
    return f"{said}: click again on the same {layer}, or paint it, to be followed further."


def _cleaned(waiting: Waiting, result: RemovalResult) -> Cleaned:
    """The result with a picture for the history; its ``.json`` holds the photo too, so that it alone restores all."""
    prepared = waiting.prepared
    document = json.loads(result.sidecar.read_text(encoding="utf-8"))
    data = base64.b64encode(prepared.image.read_bytes()).decode("ascii")
    # A path on the server says nothing to anybody; 'dereflect --from-sidecar' looks for the photo beside its file.
    document["input"] = {"path": waiting.photo.path.name, "sha256": prepared.digest}
    write_json(result.sidecar, {**document, "photo": {"name": waiting.photo.path.name, "data": data}})
    poster = write_image(result.image.with_suffix(".poster.png"), shrunk(read_image(result.image), POSTER_SIDE))
    settings = prepared.settings
    share = 100 * float(result.measured.get("changed_share", 0))
    marks = len(prepared.guide.marks)
    facts = (
        f"Done in {duration(result.timings['solve_s'])}; {share:.0f} % of the pixels changed, "
        f"strength {settings.strength:g}, {counted(marks, 'mark')}.",
    )
    height, width = prepared.photo.size
    made = (result.image, result.reflection, result.mask, result.guide, result.sidecar)
    return Cleaned(
        source=prepared.image,
        image=result.image,
        reflection=result.reflection,
        guide=result.guide,
        followed=followed_in_words(prepared.guide, result.measured["followed"]) if result.guide else "",
        files=tuple(path for path in made if path),
        poster=poster,
        caption=f"{width} x {height}",
        facts=facts,
    )
