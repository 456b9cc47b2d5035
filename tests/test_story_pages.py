"""Pages: every panel once, balloons off faces and in order, text that fits, files that repeat."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.control.balloons import face_boxes, place_bubbles
from magicgen.control.page_text import SERIF, choose_font, load_font, missing_signs, wrap
from magicgen.control.pages import (
    PageFormat,
    Typeface,
    draw_pages,
    set_pages,
    typeface,
    write_cbz,
    write_pages,
    write_pdf,
)
from magicgen.control.story import Balloon, Character, Panel, StoryPage, Subject
from magicgen.errors import MediaError

FORM = PageFormat(620, 877, 35, 14, 75)
INSIDE = Typeface(None, None)


def subject(name: str, x0: float, y0: float, x1: float, y1: float) -> Subject:
    return Subject(character=name, prompt=name, box=(x0, y0, x1, y1))


def story(count: int, caption: str = "A fox walked.", said: tuple[str, ...] = ()) -> StoryPage:
    panel = Panel(
        caption=caption,
        background="x",
        subjects=(subject("a", 0.1, 0.4, 0.35, 0.95), subject("b", 0.6, 0.4, 0.85, 0.95)),
        balloons=tuple(Balloon(speaker="ab"[i % 2], text=text) for i, text in enumerate(said)),
    )
    people = tuple(Character(name=name, description=name) for name in "ab")
    return StoryPage(title="A title", characters=people, panels=(panel,) * count)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 15])
@pytest.mark.parametrize("columns", [None, 1, 3])
def test_every_panel_stands_once_inside_the_margins(count: int, columns: int | None) -> None:
    form = PageFormat(620, 877, 35, 14, 75, columns)
    pages = set_pages(story(count), [1.5] * count, INSIDE, form)
    cells = [cell for page in pages for cell in page]
    assert [cell.panel for cell in cells] == list(range(count))
    for page in pages:
        for cell in page:
            x, y, width, height = cell.place
            assert x >= form.margin - 1
            assert x + width <= form.width - form.margin + 1
            assert y >= form.margin
            assert y + height <= form.height - form.margin
            assert width / height == pytest.approx(1.5, rel=0.05)


def test_long_captions_are_kept_whole() -> None:
    caption = " ".join(f"word{i}" for i in range(250))
    pages = set_pages(story(2, caption), [1.5] * 2, INSIDE, FORM)
    for cell in (cell for page in pages for cell in page):
        assert " ".join(cell.lines) == caption


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=80), st.integers(20, 200))
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    font = load_font(None, 16)
    lines = wrap(text, font, width)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(font.getlength(line) <= width or len(line) == 1 for line in lines)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.7), st.floats(0.15, 0.5)), min_size=1, max_size=3),
    st.lists(st.tuples(st.floats(0.1, 0.5), st.floats(0.06, 0.2)), min_size=1, max_size=4),
)
def test_balloons_keep_off_faces_and_each_other_in_reading_order(
    places: list[tuple[float, float]], sizes: list[tuple[float, float]]
) -> None:
    people = tuple(subject(f"p{i}", x, y, x + 0.25, y + 0.45) for i, (x, y) in enumerate(places))
    said = tuple(Balloon(speaker=f"p{i % len(people)}", text="x") for i in range(len(sizes)))
    panel = Panel(background="x", subjects=people, balloons=said)
    bubbles = [bubble for bubble in place_bubbles(panel, [[size] for size in sizes]) if bubble is not None]
    for index, bubble in enumerate(bubbles):
        assert bubble.box.clipped() == bubble.box
        assert all(bubble.box.intersection(face) is None for face in face_boxes(panel))
        for earlier in bubbles[:index]:
            assert bubble.box.intersection(earlier.box) is None
            assert bubble.box.y0 >= earlier.box.y1 or bubble.box.x0 >= earlier.box.x1


def test_a_voice_from_outside_has_no_tail() -> None:
    panel = Panel(background="x", subjects=(), balloons=(Balloon(text="Hello"),))
    (bubble,) = place_bubbles(panel, [[(0.3, 0.1)]])
    assert bubble is not None
    assert bubble.tail is None


def test_a_balloon_without_room_is_told() -> None:
    page = story(1, said=("word " * 300,))
    _, warnings = draw_pages(page, {0: np.zeros((64, 96, 3), np.uint8)}, INSIDE, FORM)
    assert len(warnings) == 1
    assert "no room for" in warnings[0]


def test_books_repeat_byte_for_byte(tmp_path: Path) -> None:
    page = story(3, said=("Hello!", "Good morning, my friend."))
    pictures = {number: np.full((64, 96, 3), 60 * number, np.uint8) for number in range(3)}
    books = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        pages, warnings = draw_pages(page, pictures, INSIDE, FORM)
        assert not warnings
        paths = write_pages(folder, pages)
        pdf = write_pdf(folder / "book.pdf", paths, page.title, FORM)
        cbz = write_cbz(folder / "book.cbz", paths, page.title)
        books.append((pdf.read_bytes(), cbz.read_bytes()))
    assert books[0] == books[1]
    with zipfile.ZipFile(tmp_path / "one" / "book.cbz") as archive:
        assert archive.namelist() == ["ComicInfo.xml", "page-01.png"]
        assert b"A title" in archive.read("ComicInfo.xml")
    assert b"A title" in books[0][0] or b"A\x00" in books[0][0] or b"/Title" in books[0][0]


def test_signs_without_a_letter_are_found(tmp_path: Path) -> None:
    assert missing_signs("abc", None) == []
    page = story(1, caption="fox \U0001f98a")
    assert "\U0001f98a" in typeface(page).missing or not typeface(page).missing
    (tmp_path / "x.ttf").write_bytes(b"none")
    with pytest.raises(MediaError, match="is no font"):
        choose_font(["a"], SERIF, tmp_path / "x.ttf")
