"""Fonts and lines of text for pages."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from magicgen.errors import MediaError

# Names under which Pillow looks in the system's font folders; the first that has all signs is taken.
SERIF = ("DejaVuSerif.ttf", "Georgia.ttf", "LiberationSerif-Regular.ttf", "NotoSerif-Regular.ttf", "times.ttf")
SANS = ("DejaVuSans.ttf", "Arial.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Helvetica.ttc")
WIDE = (
    "NotoSansCJK-Regular.ttc",
    "NotoSerifCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "PingFang.ttc",
    "FreeSans.ttf",
)


def choose_font(texts: Iterable[str], names: Sequence[str], given: Path | None = None) -> str | None:
    """The font file or name for some texts; None stands for the one inside Pillow.

    Args:
        texts: everything that will be written.
        names: in the order in which they are tried.
        given: a font file that the person chose; it is taken whatever it lacks.

    Raises:
        MediaError: ``given`` is no font.
    """
    if given is not None:
        try:
            load_font(str(given), 20)
        except OSError:
            raise MediaError(f"{given} is no font; expected a .ttf, .otf or .ttc file.") from None
        return str(given)
    wanted = sorted({sign for text in texts for sign in text if sign.isprintable() and not sign.isspace()})
    best: tuple[int, str | None] | None = None
    for name in (*names, *WIDE, None):
        try:
            lacking = len(missing_signs(wanted, name))
        except OSError:
            continue
        if best is None or lacking < best[0]:
            best = (lacking, name)
        if lacking == 0:
            break
    return best[1] if best is not None else None


@functools.lru_cache(maxsize=64)
def load_font(name: str | None, size: int) -> Any:
    """A Pillow font.

    Raises:
        OSError: there is none of that name.
    """
    from PIL import ImageFont

    return ImageFont.load_default(size) if name is None else ImageFont.truetype(name, size)


def missing_signs(signs: Iterable[str], name: str | None) -> list[str]:
    """The signs that a font cannot show."""
    font = load_font(name, 24)
    unknown = _shape(font, "\U000fffff")
    return [sign for sign in dict.fromkeys(signs) if _shape(font, sign) == unknown or _shape(font, sign)[1] == b""]


def _shape(font: Any, sign: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(sign)
    return mask.size, bytes(mask)


def wrap(text: str, font: Any, width: float) -> list[str]:
    """Lines no wider than ``width``; a word that is wider is broken. Line feeds begin new lines."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            while font.getlength(word) > width and len(word) > 1:
                cut = _fitting(word, font, width)
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        if line:
            lines.append(line)
    return lines


def _fitting(word: str, font: Any, width: float) -> int:
    """How many signs of a word fit, at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(word[:middle]) <= width else (low, middle - 1)
    return low


def line_height(font: Any) -> int:
    """Pixels from one line to the next."""
    ascent, descent = font.getmetrics()
    return round(1.12 * (ascent + descent))
