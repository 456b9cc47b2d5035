"""Pages of a book: panels in rows with captions below and balloons over them, as pictures, PDF and CBZ.

Panels themselves stay free of text, so that a page can be set again at any time.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from magicgen.control.balloons import Bubble, place_bubbles
from magicgen.control.page_text import SANS, SERIF, choose_font, line_height, load_font, missing_signs, wrap
from magicgen.control.story import Balloon, Panel, StoryPage
from magicgen.errors import GenerationFailed, StoryError
from magicgen.media import atomic, write_bytes, write_image

UInt8 = npt.NDArray[np.uint8]

_OVERSAMPLING = 2
_INK = (34, 32, 40)
_PAPER = (253, 251, 246)
_BORDER = 3
_CAPTION_SIZES = (21, 19, 17, 15)
_BALLOON_SIZES = (19, 17, 15, 13)
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class PageFormat:
    """A page in pixels. The usual one is A4 at 150 dots per inch; ``columns`` None picks what suits the panels."""

    width: int = 1240
    height: int = 1754
    margin: int = 70
    gutter: int = 28
    dpi: int = 150
    columns: int | None = None


@dataclass(frozen=True)
class Cell:
    """A panel on a page: pixels of its picture (x, y, w, h), and its caption's lines with their size."""

    panel: int
    place: tuple[int, int, int, int]
    lines: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Typeface:
    """Font files (None: the one inside Pillow) for captions and balloons, and the signs that they lack."""

    caption: str | None
    balloon: str | None
    missing: tuple[str, ...] = ()


def typeface(page: StoryPage, given: Path | None = None) -> Typeface:
    """Fonts that can write a story.

    Raises:
        MediaError: ``given`` is no font.
    """
    captions = [page.title, *(panel.caption for panel in page.panels)]
    spoken = [balloon.text for panel in page.panels for balloon in panel.balloons]
    caption, balloon = choose_font(captions, SERIF, given), choose_font(spoken, SANS, given)
    signs = sorted(
        {sign for text in (*captions, *spoken) for sign in text if sign.isprintable() and not sign.isspace()}
    )
    lacking = [sign for sign in missing_signs(signs, caption) if sign in missing_signs(signs, balloon)]
    return Typeface(caption, balloon, tuple(lacking))


def page_columns(count: int, form: PageFormat) -> int:
    """How many panels stand side by side."""
    return form.columns or (1 if count <= 2 else 2)


def set_pages(page: StoryPage, aspects: Sequence[float], faces: Typeface, form: PageFormat) -> list[list[Cell]]:
    """Where every panel goes, page by page.

    Args:
        page: the story.
        aspects: width / height of each panel's picture.
        faces: fonts.
        form: the page.
    """
    columns = page_columns(len(page.panels), form)
    width = (form.width - 2 * form.margin - (columns - 1) * form.gutter) // columns
    pages: list[list[Cell]] = [[]]
    y = form.margin + (_title_height(form) if page.title else 0)
    limit = form.height - form.margin - 30
    for start in range(0, len(page.panels), columns):
        numbers = range(start, min(start + columns, len(page.panels)))
        heights = [min(round(width / aspects[number]), limit - form.margin - 120) for number in numbers]
        captions = [_caption(page.panels[number].caption, faces, width, _caption_room(form)) for number in numbers]
        tall = max(heights)
        below = max(len(lines) * line_height(load_font(faces.caption, size)) for lines, size in captions) + 10
        if y + tall + below > limit and pages[-1]:
            pages.append([])
            y = form.margin
        for column, number in enumerate(numbers):
            lines, size = captions[column]
            shown = min(width, round(heights[column] * aspects[number]))
            aside = (columns - len(numbers)) * (width + form.gutter) // 2  # a short row stands in the middle
            x = form.margin + aside + column * (width + form.gutter) + (width - shown) // 2
            pages[-1].append(Cell(number, (x, y, shown, heights[column]), tuple(lines), size))
        y += tall + below + form.gutter
    return pages


def draw_pages(
    page: StoryPage, pictures: Mapping[int, UInt8], faces: Typeface, form: PageFormat
) -> tuple[list[UInt8], tuple[str, ...]]:
    """All pages as (height, width, 3) uint8 pictures, and a warning for each balloon that found no place.

    Args:
        page: the story.
        pictures: (h, w, 3) uint8 of each panel, by its index.
        faces: fonts, of :func:`typeface`.
        form: the page.
    """
    aspects = [pictures[number].shape[1] / pictures[number].shape[0] for number in range(len(page.panels))]
    cells = set_pages(page, aspects, faces, form)
    warnings: list[str] = []
    drawn = []
    for number, here in enumerate(cells):
        easel = _Easel(form, faces)
        if number == 0 and page.title:
            easel.title(page.title)
        for cell in here:
            panel = page.panels[cell.panel]
            easel.picture(pictures[cell.panel], cell)
            warnings += easel.balloons(panel, cell)
            easel.caption(cell)
        easel.number(number + 1)
        drawn.append(easel.finished())
    return drawn, tuple(warnings)


def _caption_room(form: PageFormat) -> int:
    return max(6, (form.height - 2 * form.margin) // 110)


def _title_height(form: PageFormat) -> int:
    return round(form.width / 11)


def _caption(text: str, faces: Typeface, width: int, most: int) -> tuple[list[str], int]:
    """Lines of a caption in the largest size that stays within ``most`` lines."""
    lines: list[str] = []
    size = _CAPTION_SIZES[0]
    for size in _CAPTION_SIZES:
        lines = wrap(text, load_font(faces.caption, size), width)
        if len(lines) <= most // 3:
            break
    return lines, size


class _Easel:
    """Draws one page at twice its size and gives it back smaller, so that all edges are smooth."""

    def __init__(self, form: PageFormat, faces: Typeface) -> None:
        from PIL import Image, ImageDraw

        self.form, self.faces = form, faces
        self.image: Any = Image.new("RGB", (form.width * _OVERSAMPLING, form.height * _OVERSAMPLING), _PAPER)
        self.draw: Any = ImageDraw.Draw(self.image)

    def finished(self) -> UInt8:
        """(height, width, 3) uint8."""
        from PIL import Image

        small = self.image.resize((self.form.width, self.form.height), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.uint8)

    def title(self, text: str) -> None:
        """The title across the top, as large as it fits."""
        room = (self.form.width - 2 * self.form.margin) * _OVERSAMPLING
        for size in (52, 44, 36, 30, 24):
            font = load_font(self.faces.caption, size * _OVERSAMPLING)
            lines = wrap(text, font, room)
            if len(lines) == 1:
                break
        middle = self.form.width * _OVERSAMPLING // 2
        y = self.form.margin * _OVERSAMPLING
        for line in lines[:2]:
            self.draw.text((middle, y), line, font=font, fill=_INK, anchor="ma")
            y += line_height(font)

    def number(self, number: int) -> None:
        """The page number at the foot."""
        font = load_font(self.faces.caption, 17 * _OVERSAMPLING)
        place = self.form.width * _OVERSAMPLING // 2, (self.form.height - self.form.margin + 8) * _OVERSAMPLING
        self.draw.text(place, str(number), font=font, fill=(120, 116, 124), anchor="ma")

    def picture(self, pixels: UInt8, cell: Cell) -> None:
        """A panel with its frame."""
        from PIL import Image

        x, y, width, height = (value * _OVERSAMPLING for value in cell.place)
        sized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        self.image.paste(sized, (x, y))
        edge = _BORDER * _OVERSAMPLING // 2
        self.draw.rectangle(
            (x - edge, y - edge, x + width + edge - 1, y + height + edge - 1), outline=_INK, width=edge * 2
        )

    def caption(self, cell: Cell) -> None:
        """The lines below a panel."""
        font = load_font(self.faces.caption, cell.size * _OVERSAMPLING)
        x, y = cell.place[0] * _OVERSAMPLING, (cell.place[1] + cell.place[3] + 10) * _OVERSAMPLING
        for line in cell.lines:
            self.draw.text((x, y), line, font=font, fill=_INK)
            y += line_height(load_font(self.faces.caption, cell.size)) * _OVERSAMPLING

    def balloons(self, panel: Panel, cell: Cell) -> list[str]:
        """All balloons of a panel; a warning for each without a place."""
        _, _, width, height = (value * _OVERSAMPLING for value in cell.place)
        for size in _BALLOON_SIZES:
            font = load_font(self.faces.balloon, size * _OVERSAMPLING)
            options = [_bubble_sizes(balloon, font, width, height) for balloon in panel.balloons]
            bubbles = place_bubbles(panel, [[(w, h) for w, h, _ in option] for option in options])
            if all(bubble is not None for bubble in bubbles):
                break
        for bubble in bubbles:
            if bubble is not None:
                lines = options[bubble.index][bubble.option][2]
                self._bubble(panel.balloons[bubble.index], bubble, lines, font, cell)
        return [
            f"panel {cell.panel + 1}: no room for '{panel.balloons[index].text[:40]}' off the faces; shorten the text, "
            "or make the boxes smaller"
            for index, bubble in enumerate(bubbles)
            if bubble is None
        ]

    def _bubble(self, balloon: Balloon, bubble: Bubble, lines: Sequence[str], font: Any, cell: Cell) -> None:
        left, top, width, height = (value * _OVERSAMPLING for value in cell.place)

        def at(x: float, y: float) -> tuple[float, float]:
            return left + x * width, top + y * height

        x0, y0 = at(bubble.box.x0, bubble.box.y0)
        x1, y1 = at(bubble.box.x1, bubble.box.y1)
        radius = min((y1 - y0) / 2, (x1 - x0) / 2, 26 * _OVERSAMPLING)
        line = 2 * _OVERSAMPLING
        shape = {"radius": radius, "fill": "white"}
        self.draw.rounded_rectangle((x0, y0, x1, y1), outline=_INK, width=line, **shape)
        if bubble.tail is not None:
            tip = at(*bubble.tail)
            if balloon.kind == "thought":
                self._puffs((x0, y0, x1, y1), tip, line)
            else:
                self._tail((x0, y0, x1, y1), tip, line)
                inner = (x0 + line, y0 + line, x1 - line, y1 - line)
                self.draw.rounded_rectangle(inner, radius=max(1.0, radius - line), fill="white")
        step = line_height(font)
        y = (y0 + y1) / 2 - step * (len(lines) - 1) / 2
        for text in lines:
            self.draw.text(((x0 + x1) / 2, y), text, font=font, fill=_INK, anchor="mm")
            y += step

    def _tail(self, box: tuple[float, float, float, float], tip: tuple[float, float], line: int) -> None:
        """A triangle from the bubble to its tip, open towards the bubble."""
        x0, y0, x1, y1 = box
        half = min(13.0 * _OVERSAMPLING, 0.22 * (x1 - x0), 0.3 * (y1 - y0))
        inset = min(24.0 * _OVERSAMPLING, 0.3 * (x1 - x0))
        if tip[1] > y1 or tip[1] < y0:
            x = min(max(tip[0], x0 + inset), x1 - inset)
            y = y1 - line if tip[1] > y1 else y0 + line
            roots = (x - half, y), (x + half, y)
        else:
            x = x1 - line if tip[0] > x1 else x0 + line
            y = min(max(tip[1], y0 + half + 4), y1 - half - 4)
            roots = (x, y - half), (x, y + half)
        self.draw.polygon((*roots, tip), fill="white")
        self.draw.line((roots[0], tip, roots[1]), fill=_INK, width=line, joint="curve")

    def _puffs(self, box: tuple[float, float, float, float], tip: tuple[float, float], line: int) -> None:
        """Three small clouds on the way to who thinks."""
        x0, y0, x1, y1 = box
        start = min(max(tip[0], x0), x1), min(max(tip[1], y0), y1)
        for share, size in ((0.25, 9), (0.6, 6.5), (0.95, 4)):
            x, y = (start[k] + share * (tip[k] - start[k]) for k in (0, 1))
            reach = size * _OVERSAMPLING
            self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill="white", outline=_INK, width=line)


def _bubble_sizes(balloon: Balloon, font: Any, width: int, height: int) -> list[tuple[float, float, list[str]]]:
    """(width, height, lines) in which a text may be set, as parts of the picture."""
    found: list[tuple[float, float, list[str]]] = []
    step, pad = line_height(font), 12 * _OVERSAMPLING
    for share in (0.42, 0.56, 0.3, 0.75, 0.94):
        lines = wrap(balloon.text, font, share * width - 2 * pad)
        wide = max(font.getlength(line) for line in lines) + 2.4 * pad
        high = len(lines) * step + 1.3 * pad
        size = (wide / width, high / height)
        if size[0] <= 0.97 and size[1] <= 0.9 and size not in [(w, h) for w, h, _ in found]:
            found.append((*size, lines))
    return found


def write_pages(folder: Path, pages: Sequence[UInt8]) -> list[Path]:
    """``page-01.png`` and so on."""
    return [write_image(folder / f"page-{number:02d}.png", pixels) for number, pixels in enumerate(pages, start=1)]


def write_pdf(path: Path, pages: Sequence[Path], title: str, form: PageFormat) -> Path:
    """A PDF of page pictures, without loss and without a date, so that the same pages give the same file.

    Raises:
        StoryError: the package ``img2pdf`` is not installed.
    """
    try:
        import img2pdf
    except ImportError:
        raise StoryError("A PDF needs the package img2pdf: pip install img2pdf (pages and CBZ are there).") from None
    size = tuple(img2pdf.in_to_pt(pixels / form.dpi) for pixels in (form.width, form.height))
    data = img2pdf.convert(
        [page.read_bytes() for page in pages],
        layout_fun=img2pdf.get_layout_fun(size),
        title=title or None,
        producer="magicgen",
        nodate=True,
        engine=img2pdf.Engine.internal,
    )
    if not data:
        raise GenerationFailed(f"{path}: the PDF came out empty.")
    return write_bytes(path, data)


def write_cbz(path: Path, pages: Sequence[Path], title: str) -> Path:
    """A comic archive: the pages in order, with the title; the same pages give the same file."""
    info = (
        '<?xml version="1.0" encoding="utf-8"?>\n<ComicInfo>\n'
        f"  <Title>{escape(title)}</Title>\n  <PageCount>{len(pages)}</PageCount>\n</ComicInfo>\n"
    )
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("ComicInfo.xml", _EPOCH), info.encode("utf-8"))
        for page in pages:
            archive.writestr(zipfile.ZipInfo(page.name, _EPOCH), page.read_bytes())
    return path
