"""CLIP and DINO measures of stories with tiny encoders on the disk, and what is said without them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from magicgen.errors import WeightsError
from magicgen.evaluation.story import Wanted
from magicgen.evaluation.story_features import FeatureJudge, feature_summary, load_clip, load_dino

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
FOX = Wanted("fox", (0.1, 0.2, 0.4, 0.9), "fox", "red")
OWL = Wanted("owl", (0.6, 0.2, 0.9, 0.9), "owl", "blue")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Randomly initialised CLIP and DINOv2 of toy size, with a tokenizer of four words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    told = {**tower, "vocab_size": 8, "max_position_embeddings": 6, "bos_token_id": 5, "eos_token_id": 6}
    config = transformers.CLIPConfig(
        text_config={**told, "pad_token_id": 0}, vision_config={**tower, "image_size": 32, "patch_size": 16}
    )
    transformers.CLIPModel(config).save_pretrained(folder / "clip")
    tokens = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "fox": 2, "owl": 3, "[EOS]": 6}, unk_token="[UNK]"))
    tokens.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="[UNK]", eos_token="[EOS]").save_pretrained(
        folder / "clip"
    )
    dino = transformers.Dinov2Config(**{**tower, "image_size": 28, "patch_size": 14})
    transformers.Dinov2Model(dino).save_pretrained(folder / "dino")
    return folder


def panel(seed: int) -> np.ndarray:
    picture = np.full((64, 96, 3), 200, np.uint8)
    picture[14:56, 10:38] = np.random.default_rng(1).integers(0, 255, (42, 28, 3))
    picture[14:56, 58:86] = np.random.default_rng(seed).integers(0, 255, (42, 28, 3))
    return picture


def test_the_same_character_scores_one_and_another_less(weights: Path) -> None:
    judge = FeatureJudge(load_clip(weights / "clip"), load_dino(weights / "dino"))
    shown = [judge.panel(panel(seed), (FOX, OWL), "a fox") for seed in (2, 3)]
    known = judge.references({"fox": panel(2)[14:56, 10:38], "bear": panel(9)})
    told = feature_summary(judge, [shown], [known])
    fox = feature_summary(judge, [[judge.panel(panel(seed), (FOX,), "a fox") for seed in (2, 3)]], [known])
    for measure in ("CIDS", "DINO"):
        assert fox[f"{measure}_self"] == pytest.approx(1, abs=1e-4), "the fox is the same in both panels"
        assert told[f"{measure}_self"] < fox[f"{measure}_self"]
        assert -1 <= told[f"{measure}_cross"] <= 1
    assert -1 <= told["CLIP_T"] <= 1
    assert told["CSD_self"] is None
    assert set(told["missing"]) == {"CSD_cross", "CSD_self", "PA", "Aes", "IS"}


def test_without_weights_everything_is_null_and_said() -> None:
    judge = FeatureJudge()
    told = feature_summary(judge, [[judge.panel(panel(1), (FOX,), "a fox")]], [judge.references({"fox": panel(1)})])
    assert [told[name] for name in ("CIDS_cross", "CIDS_self", "DINO_cross", "DINO_self", "CLIP_T")] == [None] * 5
    assert "--clip" in told["missing"]["CIDS_cross"]
    assert "--dino" in told["missing"]["DINO_cross"]
    assert "--clip" in told["missing"]["CLIP_T"]


def test_words_need_their_tokenizer(weights: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((weights / "clip" / name).read_bytes())
    judge = FeatureJudge(load_clip(tmp_path))
    told = feature_summary(judge, [[judge.panel(panel(1), (), "a fox")]], [judge.references({})])
    assert told["CLIP_T"] is None
    assert "tokenizer" in told["missing"]["CLIP_T"]


def test_wrong_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="CLIPModel"):
        load_clip(tmp_path)
    with pytest.raises(WeightsError, match="Dinov2Model"):
        load_dino(tmp_path / "none")
