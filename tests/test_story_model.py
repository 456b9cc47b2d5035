"""The story model at toy size: examples, exact resumption, every stage's pictures, a character's adapter."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from magicgen.cli import app
from magicgen.control.story import Character, Panel, Subject
from magicgen.errors import ConfigError, StoryError, WeightsError
from magicgen.media import read_image, write_image
from magicgen.progress import Cancelled, CancelToken
from magicgen.synthetic.poses import Action
from magicgen.synthetic.story_examples import SLOTS, StoryShares, canonical_points, random_picture
from magicgen.training.checkpoints import latest_checkpoint, load_checkpoint
from magicgen.training.options import OptimizerOptions
from magicgen.training.story import export_story, train_story
from magicgen.training.story_lora import train_character
from magicgen.training.story_options import CharacterTraining, StoryData, StoryModel, StoryTraining
from pipelines.story import Picture, StoryPipeline, load_story_pipeline, pose_of

HEIGHT, WIDTH = 64, 96
MODEL = StoryModel(heads=1, layers=1, control_layers=(0,), time_dim=16)


def options(out: Path, steps: int = 2) -> StoryTraining:
    return StoryTraining(
        task="story",
        out=out,
        seed=1,
        steps=steps,
        model=MODEL,
        data=StoryData(height=HEIGHT, width=WIDTH, batch_size=3, workers=0),
        optimizer=OptimizerOptions(kind="muon", learning_rate=1e-3, warmup_steps=1, decay_share=0.0),
        checkpoint_every=1,
    )


def quiet(text: str) -> None:
    assert text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = train_story(options(tmp_path_factory.mktemp("story") / "run"), resume=False, log=quiet)
    return export_story(run, run.parent / "model", steps=2, draws=1, grain=0.0)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> StoryPipeline:
    pipeline = load_story_pipeline(folder, "cpu")
    # a barely trained model returns its plate; shaken weights draw something
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in pipeline.transformer.proj_out.parameters():
            values += 0.05 * torch.randn(values.shape, generator=generator)
    return pipeline


def subject(name: str, box: tuple[float, float, float, float]) -> Subject:
    return Subject(character=name, prompt=f"a red {name} waves", box=box, pose="waves")


FOX, OWL = subject("fox", (0.05, 0.2, 0.4, 0.95)), subject("owl", (0.55, 0.3, 0.95, 0.95))
PANEL = Panel(background="in the forest at night", subjects=(FOX, OWL))


def slots(pipe: StoryPipeline) -> Mapping[str, np.ndarray]:
    return {
        name: pipe.slot(pipe.sheet(Character(name=name, description=f"red {name}"), (), seed=index))
        for index, name in enumerate(("fox", "owl"))
    }


def draw(pipe: StoryPipeline, panel: Panel = PANEL, **given: object) -> np.ndarray:
    told = {"plate": np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "height": HEIGHT, "width": WIDTH, "seed": 3, **given}
    return pipe.panel(panel, {}, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize("use", range(4))
def test_examples_of_every_use_are_whole_and_repeat(use: int) -> None:
    shares = replace(StoryShares(), uses=tuple(float(index == use) for index in range(4)))  # type: ignore[arg-type]
    item, again = (random_picture(np.random.default_rng(use), HEIGHT, WIDTH, shares) for _ in range(2))
    for array in (item.picture, item.cast, item.condition):
        assert array.shape == (HEIGHT, WIDTH, 3)
        assert array.dtype == np.uint8
    assert item.subjects.shape == (HEIGHT, WIDTH)
    assert len(item.prompts) == len(item.cast_known) == len(item.boxes) == SLOTS
    assert item.draft is None or item.draft.shape == item.picture.shape
    assert np.array_equal(item.picture, again.picture)
    assert item.prompts == again.prompts


def test_more_draws_let_less_noise_through(pipe: StoryPipeline) -> None:
    picture = Picture("in the forest at night", (), (), (), None, np.zeros((HEIGHT, WIDTH, 3), np.uint8))

    def difference(draws: int) -> float:
        one, two = (
            pipe(picture, HEIGHT, WIDTH, draws=draws, generator=torch.Generator().manual_seed(seed)).astype(np.float32)
            for seed in (1, 2)
        )
        return float(np.abs(one - two).mean())

    assert difference(8) < 0.7 * difference(1)


@pytest.mark.slow
def test_a_stopped_run_goes_on_exactly(tmp_path: Path) -> None:
    whole = train_story(options(tmp_path / "whole", 2), resume=False, log=quiet)
    first = train_story(options(tmp_path / "parts", 1), resume=False, log=quiet)
    with pytest.raises(ConfigError, match="already holds a run"):
        train_story(options(first, 2), resume=False, log=quiet)
    parts = train_story(options(first, 2), resume=True, log=quiet)
    one, two = (load_checkpoint(latest_checkpoint(run), torch.device("cpu")) for run in (whole, parts))  # type: ignore[arg-type]
    assert one.step == two.step == 2
    for name, value in one.networks.items():
        assert torch.equal(value, two.networks[name]), name


def test_every_stage_draws_and_repeats(pipe: StoryPipeline) -> None:
    character = Character(name="fox", description="red fox with a blue hat")
    sheet = pipe.sheet(character, (), seed=1)
    assert sheet.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(sheet, pipe.sheet(character, (), seed=1))
    assert not np.array_equal(sheet, pipe.sheet(character, (), seed=2))
    slot = pipe.slot(sheet)
    assert slot.shape == (HEIGHT, WIDTH // SLOTS, 3)
    assert pipe.alone(FOX, slot, seed=1).shape == (HEIGHT, WIDTH, 3)
    assert pipe.plate("in the forest", height=HEIGHT, width=WIDTH, seed=1).shape == (HEIGHT, WIDTH, 3)
    drawn = draw(pipe)
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(drawn, draw(pipe)), "a panel depends on its arguments alone"
    assert not np.array_equal(drawn, draw(pipe, seed=4))


def test_a_given_picture_is_the_front_of_the_sheet(pipe: StoryPipeline) -> None:
    picture = np.zeros((80, 40, 3), np.uint8)
    sheet = pipe.sheet(Character(name="fox", description="red fox"), (picture,), seed=1)
    assert (pipe.slot(sheet) < 8).all(axis=2).mean() > 0.5


def test_joints_are_a_condition_of_their_own(pipe: StoryPipeline) -> None:
    plate = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    crops = plate.copy()
    crops[30:55, 10:30] = (200, 40, 40)
    points = np.full((2, 17, 3), np.nan, np.float32)
    points[0] = canonical_points(HEIGHT, WIDTH, 0.2, 0.0, Action.WAVES)
    drawn = draw(pipe, plate=plate, crops=crops, keypoints=points)
    assert np.array_equal(drawn[:, 60:], plate[:, 60:]), "the place stays where no figure is"
    moved = draw(pipe, plate=plate, crops=crops, keypoints=points + np.array((0.05, -0.1, 0), np.float32))
    assert not np.array_equal(drawn, moved), "other joints, another picture"


def test_a_book_after_joints_at_toy_size(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text("A red fox walked in the forest.")
    book = tmp_path / "book"
    given = ["--model", folder, "--condition", "keypoints", "--stop-after", "panels", "--out", book]
    done = CliRunner().invoke(app, ["story", str(tmp_path / "tale.txt"), *map(str, given)])
    assert done.exit_code == 0, done.output
    assert json.loads((book / "story.json").read_text())["settings"]["condition"] == "keypoints"
    assert json.loads((book / "panels" / "panel-01.json").read_text())["condition"] == "keypoints"
    assert read_image(book / "conditions" / "panel-01" / "joints.png").shape == (HEIGHT, WIDTH, 3)
    assert not (book / "conditions" / "panel-01" / "sketch.png").exists()


def test_the_place_stays_where_nothing_is_drawn(pipe: StoryPipeline) -> None:
    plate = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    sketch = np.zeros((HEIGHT, WIDTH), np.uint8)
    sketch[30:55, 10:30] = 255
    drawn = draw(pipe, plate=plate, sketch=sketch)
    assert np.array_equal(drawn[:, 60:], plate[:, 60:])
    assert not np.array_equal(drawn[30:55, 10:30], plate[30:55, 10:30])


def test_words_references_and_regions_matter(pipe: StoryPipeline) -> None:
    plain = draw(pipe)
    assert not np.array_equal(plain, draw(pipe, regional=False))
    cast = slots(pipe)
    told = pipe.panel(PANEL, cast, plate=np.full_like(plain, 90), height=HEIGHT, width=WIDTH, seed=3)
    assert not np.array_equal(plain, told)
    assert not np.array_equal(plain, draw(pipe, guidance=3.0))


def test_more_subjects_than_the_model_knows_are_drawn_in_turns(pipe: StoryPipeline) -> None:
    many = tuple(subject(f"fox{n}", (0.05 + 0.18 * n, 0.3, 0.2 + 0.18 * n, 0.9 - 0.01 * n)) for n in range(5))
    assert draw(pipe, Panel(background="in the forest", subjects=many)).shape == (HEIGHT, WIDTH, 3)
    blank = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    whole = (0.0, 0.0, 1.0, 1.0)
    with pytest.raises(StoryError, match="up to 3 subjects"):
        pipe(Picture("in the forest", ("",) * 4, (whole,) * 4, (None,) * 4, None, blank))


def test_the_way_without_sketches_keeps_what_it_starts_from(pipe: StoryPipeline) -> None:
    draft = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    one, two = (draw(pipe, draft=draft, strength=strength, steps=6) for strength in (0.2, 0.9))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, draw(pipe, steps=6))


def test_other_sizes_and_wrong_ones(pipe: StoryPipeline) -> None:
    assert pipe.plate("in the forest", height=96, width=160, seed=1).shape == (96, 160, 3)
    with pytest.raises(StoryError, match="multiples of 16"):
        pipe.plate("in the forest", height=60, width=96, seed=1)


def test_progress_and_cancelling(pipe: StoryPipeline) -> None:
    seen: list[tuple[int, int]] = []
    draw(pipe, progress=lambda step, total: seen.append((step, total)))
    assert seen == [(1, 2), (2, 2)]
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        draw(pipe, cancel=token)


def test_unknown_words_and_poses(pipe: StoryPipeline) -> None:
    assert pipe.unknown_words("a red dragon waves") == ["dragon"]
    assert pose_of(FOX).value == "waves"
    assert pose_of(FOX.model_copy(update={"pose": None, "prompt": "a fox"})).value == "stands"


def test_saved_and_loaded_weights_draw_the_same(pipe: StoryPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    loaded = load_story_pipeline(tmp_path / "saved", "cpu")
    assert np.array_equal(draw(pipe), draw(loaded))


def dark_on_plain_ground(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture.max(axis=2) < 128, np.bool_)


def test_a_character_is_learned_from_its_sheet(folder: Path, tmp_path: Path) -> None:
    sheet = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    for third in range(SLOTS):
        sheet[20:60, 32 * third + 8 : 32 * third + 24] = (150, 20, 30 * third)
    write_image(tmp_path / "ruby.png", sheet)
    wanted = CharacterTraining(
        task="character_lora",
        out=tmp_path / "run",
        base=str(folder),
        description="red fox",
        sheets=(tmp_path / "ruby.png",),
        pictures=(tmp_path / "ruby.png",),
        rank=2,
        steps=3,
        batch_size=2,
        learning_rate=0.05,
    )
    adapter = train_character(wanted, lambda picture: ~dark_on_plain_ground(255 - picture), resume=False, log=quiet)
    plain, learned = load_story_pipeline(folder, "cpu"), load_story_pipeline(folder, "cpu")
    learned.load_character(adapter)
    assert sum(file.stat().st_size for file in adapter.iterdir()) < 200_000
    assert not np.array_equal(draw(plain, seed=1), draw(learned, seed=1))
    with pytest.raises(WeightsError, match="cannot be used"):
        plain.load_character(tmp_path)
    with pytest.raises(ConfigError, match="no story model"):
        train_character(
            wanted.model_copy(update={"base": str(tmp_path), "out": tmp_path / "b"}), dark_on_plain_ground, resume=False
        )
