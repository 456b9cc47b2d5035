"""The adapter leaves the backbone alone, starts as the identity, and ignores an empty guide bit for bit."""

import pytest
import torch

from magicgen.errors import WeightsError
from magicgen.models.prompt_block import GuidePromptBlock
from magicgen.models.refiner import PhotoContext
from magicgen.models.reflection import LayerPair, ReflectionNetwork, enlarged
from tests.reflection_tiny import CHANNELS, small_adapter, small_base, small_network


def pictures(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, 32, 48, generator=torch.Generator().manual_seed(3))


def nothing(mixture: torch.Tensor) -> torch.Tensor:
    return mixture.new_zeros(mixture.shape[0], 2, *mixture.shape[2:])


@torch.no_grad()
def test_an_untrained_adapter_answers_with_the_photo() -> None:
    network, mixture = small_network(trained=False), pictures()
    draft = network.draft(mixture, nothing(mixture))
    assert torch.equal(draft.transmission, mixture)
    assert torch.equal(network.refine(mixture, draft, nothing(mixture)).transmission, mixture)


@torch.no_grad()
def test_a_trained_adapter_listens_to_the_guide_and_to_nothing_else_when_it_is_empty() -> None:
    network, mixture = small_network(), pictures()
    automatic = network.draft(mixture, nothing(mixture))
    guide = nothing(mixture)
    guide[:1, 0, 8:20, 8:20] = 1
    guided = network.draft(mixture, guide)
    assert not torch.equal(guided.transmission[:1], automatic.transmission[:1])
    assert torch.equal(guided.transmission[1:], automatic.transmission[1:])
    for parameters in (network.adapter.prompt_blocks.parameters(), network.adapter.guide_in.parameters()):
        for parameter in parameters:
            parameter.mul_(3)
    network.adapter.refiner.guide.weight.mul_(3)
    again = network.draft(mixture, nothing(mixture))
    assert torch.equal(again.transmission, automatic.transmission)


@torch.no_grad()
def test_the_backbone_is_not_touched() -> None:
    base = small_base()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    latents, text, time = torch.randn(1, 2, base.config.in_channels, 4, 6), torch.randn(1, 6, 8), torch.tensor([10])
    plain = base(latents, text, time, return_dict=False)[0]
    from magicgen.models import BlockTransformAutoencoder

    vae = BlockTransformAutoencoder(latent_channels=CHANNELS)
    network = ReflectionNetwork(base, vae, small_adapter(base))
    network.draft(pictures(), nothing(pictures()))
    after = base.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(base(latents, text, time, return_dict=False)[0], plain)


def test_only_the_adapter_learns() -> None:
    network, mixture = small_network(), pictures()
    guide = nothing(mixture)
    guide[:, :, 8:20, 8:20] = 1
    draft = network.draft(mixture, guide)
    answer = network.refine(mixture, draft, guide)
    (answer.transmission.square().mean() + answer.reflection.square().mean()).backward()
    assert all(parameter.grad is None for parameter in network.base.parameters())
    assert all(parameter.grad is not None for parameter in network.adapter.parameters())


@torch.no_grad()
def test_a_batch_answers_as_its_pictures_do_alone() -> None:
    network, mixture = small_network(), pictures()
    both = network.draft(mixture, nothing(mixture)).transmission
    alone = network.draft(mixture[1:], nothing(mixture[1:])).transmission
    assert torch.allclose(both[1:], alone, atol=1e-5)


def test_another_backbone_is_refused() -> None:
    base = small_base()
    adapter = small_adapter(base)
    adapter.register_to_config(layers=3)
    with pytest.raises(WeightsError, match="backbone"):
        adapter.check(base)


@torch.no_grad()
def test_the_prompt_block_starts_as_the_identity_and_passes_unguided_pictures() -> None:
    torch.manual_seed(0)
    block, tokens = GuidePromptBlock(16, 2), torch.randn(2, 2, 6, 16)
    shares = torch.rand(2, 2, 6)
    assert torch.equal(block(tokens, shares), tokens)
    block.gate.fill_(1.0)
    shares[1] = 0
    answer = block(tokens, shares)
    assert not torch.equal(answer[0], tokens[0])
    assert torch.equal(answer[1], tokens[1])


def test_the_photo_context_starts_as_the_identity_and_looks_at_the_whole_picture() -> None:
    torch.manual_seed(0)
    context, features = PhotoContext(6), torch.randn(2, 6, 4, 5)
    assert torch.equal(context(features), features)
    torch.nn.init.normal_(context.second.weight)
    other = features.clone()
    other[0, :, 0, 0] += 5
    before, after = context(features), context(other)
    assert not torch.allclose(before[0, :, 3, 4], after[0, :, 3, 4])
    assert torch.equal(before[1], after[1]), "pictures of a batch do not hear of each other"


def test_the_automatic_change_is_scaled_and_what_a_guide_adds_is_not() -> None:
    network, mixture = small_network(), pictures()
    automatic = LayerPair(mixture + 0.1, torch.zeros_like(mixture))
    answer = LayerPair(mixture + 0.3, torch.zeros_like(mixture))
    guide = nothing(mixture)
    guide[1, 0] = 1
    assert network.calibrated(mixture, automatic, answer, guide) is answer
    for settings, kept in (({"boost": 0.5, "cap": None}, 0.05), ({"boost": 1.0, "cap": 0.02}, 0.02)):
        network.adapter.register_to_config(**settings)
        alone = network.calibrated(mixture, automatic, automatic, nothing(mixture)).transmission - mixture
        assert torch.allclose(alone, torch.tensor(kept), atol=1e-6)
        change = network.calibrated(mixture, automatic, answer, guide).transmission - mixture
        assert torch.allclose(change[0], torch.tensor(0.2 + kept), atol=1e-6)
        assert torch.allclose(change[1], torch.tensor(0.3), atol=1e-6)


def test_a_solution_grows_by_its_change_only() -> None:
    fine = torch.rand(1, 3, 32, 48)
    coarse = torch.nn.functional.avg_pool2d(fine, 2)
    same = enlarged(LayerPair(coarse, torch.zeros_like(coarse)), coarse, fine)
    assert torch.equal(same.transmission, fine)
    darker = enlarged(LayerPair(coarse - 0.1, torch.zeros_like(coarse)), coarse, fine)
    assert torch.allclose(darker.transmission, fine - 0.1, atol=1e-5)
