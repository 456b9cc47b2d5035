"""Stories with a stock CogVideoX folder of toy size: no story branch, partial noise, regional words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)

from magicgen.attention.regions import RegionPlan
from magicgen.control.story import Character, Panel, Subject
from magicgen.errors import StoryError, WeightsError
from magicgen.jobs.story import StorySettings, prepare_story, run_story
from magicgen.jobs.story_painter import load_painter, story_facts
from pipelines.story_stock import StockOptions, StockStoryPainter

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
HEIGHT, WIDTH = 64, 96
FOX = Subject(character="fox", prompt="a red fox waves", box=(0.05, 0.2, 0.4, 0.95), pose="waves")
OWL = Subject(character="owl", prompt="a blue owl", box=(0.55, 0.3, 0.95, 0.95))
PANEL = Panel(background="in the forest at night", subjects=(FOX, OWL))


def toy(image: bool) -> CogVideoXPipeline | CogVideoXImageToVideoPipeline:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    torch.manual_seed(0)
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3, "fox": 4, "blue": 5, "owl": 6, "forest": 7, "night": 8}
    tokens = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokens.pre_tokenizer = Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    text = transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).eval()
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=8 if image else 4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=32,
        num_layers=1,
        sample_width=WIDTH // 8,
        sample_height=HEIGHT // 8,
        sample_frames=9,
        max_text_seq_length=16,
    )
    with torch.no_grad():
        for values in transformer.parameters():
            values += 0.2 * torch.randn(values.shape)
    scheduler = CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    kind = CogVideoXImageToVideoPipeline if image else CogVideoXPipeline
    pipe = kind(tokenizer, text, vae, transformer, scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module", params=[False, True], ids=["text", "image"])
def painter(request: pytest.FixtureRequest) -> StockStoryPainter:
    return StockStoryPainter(toy(request.param), StockOptions(steps=4))


def draw(painter: StockStoryPainter, panel: Panel = PANEL, **given: object) -> np.ndarray:
    told = {"plate": np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "height": HEIGHT, "width": WIDTH, "seed": 3, **given}
    return painter.panel(panel, {}, **told)  # type: ignore[arg-type]


def test_every_stage_draws_and_repeats(painter: StockStoryPainter) -> None:
    sheet = painter.sheet(Character(name="fox", description="red fox"), (), seed=1, steps=2)
    assert sheet.shape == (HEIGHT, WIDTH, 3)
    slot = painter.slot(sheet)
    assert painter.alone(FOX, slot, seed=1, steps=2).shape == (HEIGHT, WIDTH, 3)
    drawn = draw(painter)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, draw(painter))
    assert not np.array_equal(drawn, draw(painter, seed=4))
    other = PANEL.model_copy(update={"subjects": (FOX, OWL.model_copy(update={"prompt": "red fox"}))})
    assert not np.array_equal(drawn, draw(painter, other))


def test_pasted_crops_and_the_plate_are_kept(painter: StockStoryPainter) -> None:
    plate = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    sketch = np.zeros((HEIGHT, WIDTH), np.uint8)
    sketch[30:55, 10:30] = 255
    crops = plate.copy()
    crops[30:55, 10:30] = (220, 40, 30)
    drawn = draw(painter, plate=plate, sketch=sketch, crops=crops)
    assert np.array_equal(drawn[:, 60:], plate[:, 60:])
    assert not np.array_equal(drawn, draw(painter, plate=plate, sketch=sketch))


def test_wrong_use_is_told(painter: StockStoryPainter, tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="multiples of 16"):
        painter.plate("forest", height=60, width=96, seed=1)
    with pytest.raises(StoryError, match="up to 6"):
        draw(painter, Panel(background="forest", subjects=(FOX,) * 7))
    with pytest.raises(WeightsError, match="story model only"):
        painter.load_character(tmp_path, "fox")


def test_a_plan_without_cast_covers_every_token_once() -> None:
    plan = RegionPlan(4, 2, 3, 4, ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)), cast=False)
    assert plan.total == 4 + 4 + 12
    assert sorted(torch.cat([queries for queries, _ in plan.classes]).tolist()) == list(range(plan.total))
    assert not plan.cast_classes
    mask = plan.mask()
    assert not mask[4:6, 6:8].any(), "words of different subjects do not see each other"
    assert mask[8:, 8:].all(), "picture to picture stays full"


def test_the_command_picks_it_for_a_stock_folder(tmp_path: Path) -> None:
    toy(False).save_pretrained(tmp_path / "cog")
    (tmp_path / "tale.txt").write_text("A red fox walked in the forest.")
    facts = story_facts(str(tmp_path / "cog"))
    assert (facts.stock, facts.height, facts.width) == (True, HEIGHT, WIDTH)
    loaded = load_painter(facts, "cpu")
    assert isinstance(loaded, StockStoryPainter)
    settings = StorySettings(model=str(tmp_path / "cog"), steps=2, stop_after="panels")
    prepared = prepare_story(tmp_path / "tale.txt", tmp_path / "book", settings)
    assert any("no story branch" in text for text in prepared.warnings)
    result = run_story(prepared, loaded)
    assert len(result.panels) == 1
    assert any("no story branch" in text for text in json.loads((tmp_path / "book/story.json").read_text())["warnings"])


def test_joints_are_refused(painter: StockStoryPainter) -> None:
    joints = np.zeros((2, 17, 3), np.float32)
    with pytest.raises(StoryError, match="no branch that is shown joints"):
        painter.panel(PANEL, {}, keypoints=joints, height=HEIGHT, width=WIDTH, seed=1)
