"""The networks: key sets, zero initialisation, equality with the stock model, the autoencoder."""

import numpy as np
import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from hypothesis import given, settings
from hypothesis import strategies as st

from magicgen.errors import MagicGenError
from magicgen.models import (
    BlockTransformAutoencoder,
    ControlBranch,
    LatentSegmentationHead,
    VideoTransformer,
    WordTextEncoder,
)
from magicgen.models.autoencoder import measure_blocks
from magicgen.models.conditioning import (
    DRAFT_CHANNELS,
    correction_gate,
    draft_state_channels,
    image_condition,
    pool_weights,
)
from magicgen.models.positions import interpolate_position_table, rotary_embedding
from tests.tiny import RELEASED_SHAPE


@pytest.fixture(scope="module")
def base() -> VideoTransformer:
    torch.manual_seed(0)
    return VideoTransformer(**RELEASED_SHAPE).eval()


@pytest.fixture(scope="module")
def inputs(base: VideoTransformer) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(2, 3, 32, 8, 12, generator=generator),
        "encoder_hidden_states": torch.randn(2, 10, 24, generator=generator),
        "timestep": torch.tensor([999, 3]),
        "image_rotary_emb": rotary_embedding(base.config, 3, 8, 12, torch.device("cpu")),
    }


def branch_states(branch: ControlBranch, inputs: dict) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    condition = torch.randn(2, 3, 16, 8, 12, generator=generator)
    return branch(
        inputs["hidden_states"][:, :, :16],
        condition,
        inputs["encoder_hidden_states"],
        inputs["timestep"],
        image_rotary_emb=inputs["image_rotary_emb"],
    )


@torch.no_grad()
def test_without_control_equals_the_stock_model_bit_for_bit(base: VideoTransformer, inputs: dict) -> None:
    stock = CogVideoXTransformer3DModel(**RELEASED_SHAPE).eval()
    stock.load_state_dict(base.state_dict(), strict=True)
    assert torch.equal(stock(**inputs).sample, base(**inputs).sample)


@torch.no_grad()
def test_fresh_branch_changes_nothing(base: VideoTransformer, inputs: dict) -> None:
    states = branch_states(ControlBranch.from_transformer(base).eval(), inputs)
    assert all(float(state.abs().max()) == 0 for state in states)
    assert states[0].shape == (2, 72, 128)
    assert torch.equal(base(**inputs).sample, base(**inputs, control_states=states).sample)


@torch.no_grad()
def test_control_weights(base: VideoTransformer, inputs: dict) -> None:
    states = tuple(torch.randn(2, 72, 128, generator=torch.Generator().manual_seed(k)) for k in range(3))
    plain = base(**inputs).sample
    full = base(**inputs, control_states=states).sample
    assert torch.equal(plain, base(**inputs, control_states=states, control_weight=0.0).sample)
    assert not torch.equal(full, base(**inputs, control_states=states, control_weight=0.5).sample)
    as_list = base(**inputs, control_states=states, control_weight=[1.0, 0.5, 0.0]).sample
    as_tensor = base(**inputs, control_states=states, control_weight=torch.tensor([1.0, 0.5, 0.0])).sample
    assert torch.equal(as_list, as_tensor)
    short = base(**inputs, control_states=states[:1], return_features=True)
    long = base(**inputs, control_states=states, return_features=True)
    assert torch.equal(short.features[0], long.features[0])
    assert not torch.equal(short.features[1], long.features[1])


def test_control_that_does_not_fit_is_refused(base: VideoTransformer, inputs: dict) -> None:
    states = (torch.zeros(2, 72, 128),) * 4
    with pytest.raises(MagicGenError, match="4 control states"):
        base(**inputs, control_states=states)
    with pytest.raises(MagicGenError, match="weights"):
        base(**inputs, control_states=states[:3], control_weight=[1.0])


def test_key_sets_at_test_size(base: VideoTransformer) -> None:
    branch = ControlBranch.from_transformer(base)
    assert len(base.state_dict()) == 89
    assert len(branch.state_dict()) == 87
    only = {key for key in branch.state_dict() if key not in base.state_dict()}
    assert only == {f"out_projectors.{i}.{part}" for i in range(3) for part in ("weight", "bias")}


def test_fewer_control_blocks_feed_the_named_layers(base: VideoTransformer, inputs: dict) -> None:
    branch = ControlBranch.from_transformer(base, control_layers=(2,))
    assert len(branch.transformer_blocks) == 1
    copied, original = branch.transformer_blocks[0].state_dict(), base.transformer_blocks[2].state_dict()
    assert all(torch.equal(copied[key], original[key]) for key in original)
    torch.nn.init.normal_(branch.out_projectors[0].weight)
    with torch.no_grad():
        states = branch_states(branch.eval(), inputs)
        steered = base(**inputs, control_states=states, control_layers=(2,), return_features=True)
        plain = base(**inputs, return_features=True)
    assert torch.equal(steered.features[1], plain.features[1])
    assert not torch.equal(steered.features[2], plain.features[2])


def test_zero_gate_lets_gradient_reach_projectors_only(base: VideoTransformer, inputs: dict) -> None:
    branch = ControlBranch.from_transformer(base)
    base.requires_grad_(False)
    base(**inputs, control_states=branch_states(branch, inputs)).sample.square().mean().backward()
    base.requires_grad_(True)
    assert all(float(p.weight.grad.abs().max()) > 0 for p in branch.out_projectors)
    grads = [p.grad for p in branch.transformer_blocks.parameters() if p.grad is not None]
    assert all(float(grad.abs().max()) == 0 for grad in grads)


def test_gradient_checkpointing_gives_the_same_gradient(base: VideoTransformer, inputs: dict) -> None:
    branch = ControlBranch.from_transformer(base)
    for projector in branch.out_projectors:
        torch.nn.init.normal_(projector.weight, std=0.1)
    branch_states(branch, inputs)[-1].square().mean().backward()
    plain = branch.patch_embed.proj.weight.grad.clone()
    branch.zero_grad()
    branch.enable_gradient_checkpointing()
    branch_states(branch, inputs)[-1].square().mean().backward()
    torch.testing.assert_close(branch.patch_embed.proj.weight.grad, plain)


@torch.no_grad()
def test_segmentation_head_shape_and_order_of_operations(base: VideoTransformer, inputs: dict) -> None:
    features = base(**inputs, return_features=True).features
    head = LatentSegmentationHead(3, 128)
    assert len(head.state_dict()) == 3 * 4 + 2
    latent = head(features, 3, 8, 12)
    assert latent.shape == (2, 3, 16, 8, 12)
    total = sum(
        conv(feature.reshape(6, 4, 6, -1).permute(0, 3, 1, 2))
        for conv, feature in zip(head.convs, features, strict=True)
    )
    upsampled = torch.nn.functional.interpolate(total, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(latent.flatten(0, 1), head.conv_out(upsampled), atol=2e-6, rtol=1e-5)
    with pytest.raises(MagicGenError, match="3 feature maps"):
        head(features[:2], 3, 8, 12)


@torch.no_grad()
def test_residual_model_returns_its_draft_when_untrained() -> None:
    shape = {**RELEASED_SHAPE, "use_learned_positional_embeddings": False}
    model = VideoTransformer(**shape, predicts_residual=True, absolute_rotary_grid=True).eval()
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.proj_out.bias)
    x = torch.randn(1, 3, 32, 8, 12)
    rotary = rotary_embedding(model.config, 3, 8, 12, torch.device("cpu"))
    sample = model(x, torch.randn(1, 10, 24), torch.tensor([999]), image_rotary_emb=rotary).sample
    assert torch.equal(sample, x[:, :, 16:])
    with pytest.raises(MagicGenError, match="draft"):
        VideoTransformer(**{**shape, "in_channels": 16}, predicts_residual=True)


@torch.no_grad()
def test_position_table_interpolation(base: VideoTransformer) -> None:
    model = VideoTransformer(**RELEASED_SHAPE)
    model.load_state_dict(base.state_dict())
    before = model.patch_embed.pos_embedding.clone()
    interpolate_position_table(model, 3, 8, 12)
    torch.testing.assert_close(model.patch_embed.pos_embedding, before)
    interpolate_position_table(model, 2, 12, 16)
    rotary = rotary_embedding(model.config, 2, 12, 16, torch.device("cpu"))
    x = torch.randn(1, 2, 32, 12, 16)
    assert model(x, torch.randn(1, 10, 24), torch.tensor([5]), image_rotary_emb=rotary).sample.shape[-2:] == (12, 16)


def test_absolute_grid_keeps_neighbours_at_every_size(base: VideoTransformer) -> None:
    config = VideoTransformer(
        **{**RELEASED_SHAPE, "use_learned_positional_embeddings": False}, absolute_rotary_grid=True
    ).config
    small = rotary_embedding(config, 2, 8, 12, torch.device("cpu"))[0].reshape(2, 4, 6, -1)
    large = rotary_embedding(config, 3, 16, 24, torch.device("cpu"))[0].reshape(3, 8, 12, -1)
    assert torch.equal(small, large[:2, :4, :6])


@pytest.fixture(scope="module")
def autoencoder() -> BlockTransformAutoencoder:
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(size=(9, 32, 48, 3)), axis=2).clip(-20, 20) * 6 + 128
    vae = BlockTransformAutoencoder(latent_channels=192)
    vae.fit(measure_blocks([smooth.clip(0, 255).astype(np.uint8)]))
    return vae


@settings(deadline=None, max_examples=10)
@given(groups=st.integers(0, 2), rows=st.integers(1, 3), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_autoencoder_keeps_first_frames_exactly_and_is_a_projection(
    autoencoder: BlockTransformAutoencoder, groups: int, rows: int, columns: int, seed: int
) -> None:
    x = torch.rand(1, 3, 4 * groups + 1, 8 * rows, 8 * columns, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    latent = autoencoder.encode(x).latent_dist.mode()
    assert latent.shape == (1, 192, groups + 1, rows, columns)
    decoded = autoencoder.decode(latent).sample
    torch.testing.assert_close(decoded[:, :, 0], x[:, :, 0], atol=2e-5, rtol=0)
    torch.testing.assert_close(autoencoder.encode(decoded).latent_dist.mode(), latent, atol=2e-4, rtol=0)


def test_latent_error_is_worth_pixels(autoencoder: BlockTransformAutoencoder) -> None:
    first = torch.randn(1, 192, 3, 4, 6)
    second = first + 0.1 * torch.randn(1, 192, 3, 4, 6)
    weights = autoencoder.pixel_weights()[[0, 1, 1]].T[None, :, :, None, None]
    latent_error = ((first - second).square() * weights).sum()
    pixel_error = (autoencoder.decode(first).sample - autoencoder.decode(second).sample).square().sum()
    torch.testing.assert_close(latent_error, pixel_error, rtol=1e-4, atol=1e-4)


def test_autoencoder_refuses_other_sizes_and_round_trips(autoencoder: BlockTransformAutoencoder, tmp_path) -> None:
    with pytest.raises(MagicGenError, match="4n \\+ 1"):
        autoencoder.encode(torch.zeros(1, 3, 4, 32, 48))
    with pytest.raises(MagicGenError, match="latent_channels"):
        BlockTransformAutoencoder(latent_channels=500)
    autoencoder.save_pretrained(tmp_path)
    again = BlockTransformAutoencoder.from_pretrained(tmp_path)
    latent = torch.randn(1, 192, 2, 2, 2)
    assert torch.equal(again.decode(latent).sample, autoencoder.decode(latent).sample)


def test_word_encoder_names_what_it_does_not_know(tmp_path) -> None:
    encoder = WordTextEncoder(("cat", "red"), 8, 4)
    assert encoder.tokens(["A red cat, red!"]).tolist() == [[2, 1, 2, 0]]
    assert encoder.unknown_words("a Red zebra a zebra") == ["a", "zebra"]
    encoder.save_pretrained(tmp_path)
    again = WordTextEncoder.from_pretrained(tmp_path)
    assert torch.equal(again(again.tokens(["cat"])), encoder(encoder.tokens(["cat"])))


def test_draft_channels_and_pooling() -> None:
    state = torch.zeros(1, 5, 16, 16, dtype=torch.uint8)
    state[:, 1:, :4, :4] = 1
    state[:, 0, 8:, 8:] = 2
    channels = draft_state_channels(state)
    assert channels.shape == (1, 2, DRAFT_CHANNELS, 2, 2)
    assert channels[0, 1, 0, 0, 0] == 1
    assert channels[0, 1, :-1].sum() == 1
    assert channels[0, 0, 4:8, 1, 1].tolist() == [1, 1, 1, 1]
    assert (channels[:, :, -1] == 1).all()
    assert pool_weights((state > 0).float())[0, 1, 0, 0, 0] == 0.25


def test_image_condition_without_draft_is_cogvideox_padding() -> None:
    image = torch.randn(1, 1, 4, 2, 2)
    plain = image_condition(image, 3, 0, None, None)
    assert torch.equal(plain[:, :1], image)
    assert float(plain[:, 1:].abs().max()) == 0
    assert image_condition(image, 3, DRAFT_CHANNELS, None, None).shape == (1, 3, 4 + DRAFT_CHANNELS, 2, 2)


def test_corrections_stay_near_what_moved() -> None:
    state = torch.zeros(1, 5, 64, 64, dtype=torch.uint8)
    state[:, 1:, 24:32, 24:32] = 1
    gate = correction_gate(draft_state_channels(state), reach=1)
    assert gate.shape == (1, 2, 1, 8, 8)
    assert float(gate[0, 0].max()) == 0
    assert float(gate[0, 1, 0, 3, 3]) == 1
    assert float(gate[0, 1, 0, 0, 6]) == 0
    blank = torch.zeros(1, 2, DRAFT_CHANNELS, 8, 8)
    assert float(correction_gate(blank, reach=1)[0, 1].min()) == 1
