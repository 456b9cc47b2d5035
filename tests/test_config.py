"""Configuration: strict, with the place of every mistake."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from magicgen.config import StrictModel, check_config, load_config, parse_yaml
from magicgen.errors import ConfigError


class Fox(StrictModel):
    kind: Literal["fox"] = "fox"
    tail: Annotated[float, Field(gt=0)] = 1.0


class Bear(StrictModel):
    kind: Literal["bear"]
    cave: Path


class Story(StrictModel):
    title: str
    pages: Annotated[int, Field(gt=0)] = 3
    precision: Literal["no", "bf16"] = "no"
    size: tuple[int, int] = (8, 8)
    hero: Annotated[Fox | Bear, Field(discriminator="kind")] = Fox()


def write(folder: Path, text: str) -> Path:
    path = folder / "story.yaml"
    path.write_text(text)
    return path


def test_reads_numbers_words_and_paths_as_written(tmp_path: Path) -> None:
    text = "title: Snow\nprecision: no\nsize: [16, 32]\nhero: {kind: bear, cave: deep/one}\n"
    story = load_config(write(tmp_path, text), Story)
    assert story == Story(title="Snow", size=(16, 32), hero=Bear(kind="bear", cave=Path("deep/one")))


def test_overrides_reach_nested_keys_and_list_members(tmp_path: Path) -> None:
    path = write(tmp_path, "title: Snow\nsize: [16, 32]\n")
    story = load_config(path, Story, ["hero.tail=1e-5", "size.1=64", "pages=7", "title='12'"])
    assert (story.hero, story.size, story.pages, story.title) == (Fox(tail=1e-5), (16, 64), 7, "12")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title: Snow\npages: 0\n", "story.yaml, line 2: pages: input should be greater than 0; got 0."),
        ("title: Snow\npages: '3'\n", "line 2: pages: input should be a valid integer; got '3'."),
        ("title: Snow\npages: 2.5\n", "line 2: pages:"),
        ("title: Snow\npages: true\n", "line 2: pages:"),
        ("title: Snow\n\npagse: 3\n", "line 3: pagse: unknown key; did you mean 'pages'?"),
        ("title: Snow\nhero:\n  kind: fox\n  tial: 2\n", "line 4: hero.tial: unknown key; did you mean 'tail'?"),
        ("title: Snow\nhero:\n  kind: fox\n  cave: x\n", "expected one of kind, tail."),
        ("title: Snow\nhero:\n  kind: wolf\n", "line 2: hero:"),
        ("title: Snow\nhero:\n  kind: bear\n", "line 2: hero.cave: missing"),
        ("title: Snow\nsize: [1, x]\n", "line 2: size.1:"),
        ("pages: 3\n", "story.yaml: title: missing"),
        ("title: a\ntitle: b\n", "line 2: not valid YAML ('title' is given twice)"),
        ("title: &a [x]\npages: *a\n", "aliases (*name) are not accepted"),
        ("title: [\n", "not valid YAML"),
        ("title: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("- title\n", "expected a mapping"),
        ("? [a, b]\n: c\n", "keys must be plain words"),
        ("[" * 5000, "nested too deeply"),
        ("title: 'a\x00b'\n", "not valid YAML"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), Story)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pages", "expected KEY=VALUE"),
        ("hero..tail=1", "expected KEY=VALUE"),
        ("size.5=1", "'size' (a list of 2) has no such member"),
        ("title.letter=a", "'title' has no such member"),
        ("pages=0", "--set pages=0: pages: input should be greater than 0"),
        ("pages=[", "not valid YAML"),
    ],
)
def test_wrong_overrides_are_named(tmp_path: Path, override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "title: Snow\nsize: [1, 2]\n"), Story, [override])
    assert expected in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path, expected in [(tmp_path / "none.yaml", "no file"), (tmp_path, "cannot be read")]:
        with pytest.raises(ConfigError, match=expected):
            load_config(path, Story)
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.yaml", Story)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[a-z:\- \n\[\]{}&*!'\"0-9.]{0,60}", fullmatch=True))
def test_any_text_is_a_model_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        values, lines = parse_yaml(text, "text")
        check_config(values, Story, source="text", lines=lines)
