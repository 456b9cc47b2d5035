"""Adapters of characters in books: whose they are, where they act, what is made again, errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from story_drawn import DrawnPainter
from test_story_model import FOX, HEIGHT, OWL, PANEL, WIDTH, draw, folder, pipe  # noqa: F401
from typer.testing import CliRunner

from magicgen.cli import app
from magicgen.control.story import Character, Panel
from magicgen.errors import MagicGenError, StoryError, WeightsError
from magicgen.jobs import story as jobs
from magicgen.jobs.story import StorySettings, prepare_story, run_story, story_key
from magicgen.jobs.story_adapters import WEIGHTS_FILE, read_adapter
from magicgen.training.story_lora import add_adapter
from pipelines.story import StoryPipeline, load_story_pipeline

TALE = "A red fox walked in the forest. A gray owl waved. The owl danced at the sea."


def saved_adapter(model: Path, out: Path, description: str, seed: int) -> Path:
    """An adapter with random weights, as a run of training leaves it."""
    pipeline = load_story_pipeline(model, "cpu")
    add_adapter(pipeline.network, 2)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, values in pipeline.transformer.named_parameters():
            if "lora_" in name:
                values += 0.5 * torch.randn(values.shape, generator=generator)
    pipeline.transformer.save_lora_adapter(out / "lora")
    (out / "settings.json").write_text(json.dumps({"description": description}))
    return out


class LearningPainter(DrawnPainter):
    def load_character(self, adapter: Path, name: str) -> None:
        self.calls.append(f"adapter {name}")


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text(TALE)
    return path


def fake_run(out: Path, description: str, weights: bytes = b"1") -> Path:
    (out / "lora").mkdir(parents=True)
    (out / "lora" / WEIGHTS_FILE).write_bytes(weights)
    (out / "lora" / "character.json").write_text(json.dumps({"description": description, "base_digest": "0"}))
    return out


def make(tale: Path, out: Path, *adapters: str) -> DrawnPainter:
    painter = LearningPainter()
    settings = StorySettings(stop_after="panels", adapters=adapters)
    run_story(prepare_story(tale, out, settings), painter)
    return painter


def test_an_adapter_acts_where_its_character_is_painted(folder: Path, pipe: StoryPipeline, tmp_path: Path) -> None:  # noqa: F811
    learned = load_story_pipeline(folder, "cpu")
    learned.transformer.load_state_dict(pipe.transformer.state_dict())
    learned.load_character(saved_adapter(folder, tmp_path / "fox", "red fox", 1) / "lora", "fox")
    learned.load_character(saved_adapter(folder, tmp_path / "owl", "red owl", 2) / "lora", "owl")
    fox, owl = (Panel(background=PANEL.background, subjects=(each,)) for each in (FOX, OWL))
    nobody = Panel(background=PANEL.background, subjects=())
    assert np.array_equal(draw(pipe, nobody), draw(learned, nobody))
    for panel in (fox, owl, PANEL):
        assert not np.array_equal(draw(pipe, panel), draw(learned, panel))
    plate = {"height": HEIGHT, "width": WIDTH, "seed": 1}
    assert np.array_equal(pipe.plate("in the forest", **plate), learned.plate("in the forest", **plate))
    bear = Character(name="bear", description="red fox")
    assert np.array_equal(pipe.sheet(bear, (), seed=1), learned.sheet(bear, (), seed=1))
    same = bear.model_copy(update={"name": "fox"})
    assert not np.array_equal(pipe.sheet(same, (), seed=1), learned.sheet(same, (), seed=1))
    assert not np.array_equal(pipe.alone(FOX, None, seed=1), learned.alone(FOX, None, seed=1))


def test_only_what_an_adapter_draws_is_made_again(tale: Path, tmp_path: Path) -> None:
    book, run = tmp_path / "book", fake_run(tmp_path / "run", "a gray owl")
    make(tale, book)
    before = {path.name: path.read_bytes() for path in (book / "sheets").iterdir()}
    painter = make(tale, book, str(run))
    assert "sheet Owl" in painter.calls
    assert "sheet Fox" not in painter.calls
    assert painter.calls.count("panel") == 2
    assert not [call for call in painter.calls if call.startswith("plate")]
    assert set(before) == {path.name for path in (book / "sheets").iterdir()}
    assert make(tale, book, str(run)).calls == []
    told = json.loads((book / "story.json").read_text())["adapters"]
    assert told[0]["character"] == "Owl"
    assert told[0]["description"] == "a gray owl"
    assert str(tmp_path) not in json.dumps(told)


def test_named_adapters_and_other_weights(tale: Path, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", "something else")
    prepared = prepare_story(tale, tmp_path / "book", StorySettings(adapters=(f"owl={run}",)))
    assert prepared.adapters[0].character == "Owl"
    assert any("other weights" in text for text in prepared.warnings)
    plain = prepare_story(tale, tmp_path / "book", StorySettings())
    assert story_key(plain) != story_key(prepared)
    assert read_adapter(str(run / "lora")).name is None


@pytest.mark.parametrize(
    ("adapters", "kind", "expected"),
    [
        (("{none}",), WeightsError, "holds no character adapter"),
        (("{run}",), StoryError, "no character of the story has"),
        (("bear={run}",), StoryError, "the story has Fox"),
        (("owl={run}", "Owl={run}"), StoryError, "Two adapters draw Owl"),
    ],
)
def test_adapters_that_fit_nobody(
    tale: Path, tmp_path: Path, adapters: tuple[str, ...], kind: type[MagicGenError], expected: str
) -> None:
    places = {"run": fake_run(tmp_path / "run", "blue bear"), "none": tmp_path / "none"}
    with pytest.raises(kind, match=expected):
        prepare_story(
            tale, tmp_path / "book", StorySettings(adapters=tuple(text.format(**places) for text in adapters))
        )


def test_the_command_keeps_the_adapters_of_a_book(tale: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painter = LearningPainter()
    monkeypatch.setattr(jobs, "load_painter", lambda facts, device: painter)
    run = fake_run(tmp_path / "run", "gray owl")
    given: list[Any] = ["story", tale, "--out", tmp_path / "book", "--stop-after", "panels"]
    first = CliRunner().invoke(app, list(map(str, [*given, "--adapter", run])))
    assert first.exit_code == 0, first.output
    painter.calls.clear()
    again = CliRunner().invoke(app, list(map(str, [*given, "--panel", 2, "--seed", 4])))
    assert again.exit_code == 0, again.output
    assert painter.calls == ["adapter Owl", "panel"]
