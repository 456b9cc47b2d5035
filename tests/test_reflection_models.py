"""The adapter leaves the backbone alone, starts as the identity, and ignores an empty guide bit for bit."""

import pytest
import torch

from magicgen.errors import WeightsError
from magicgen.models.prompt_block import GuidePromptBlock
from magicgen.models.refiner import PhotoContext
from magicgen.models.reflection import LayerPair, ReflectionNetwork, enlarged
from magicgen.models.veil import READING_SIDE, STATISTICS, local_statistics, read
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
    assert torch.equal(network.automatic(mixture).transmission, mixture)


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


@torch.no_grad()
def test_what_a_guide_adds_is_set_on_the_automatic_answer() -> None:
    network, mixture = small_network(), pictures()
    automatic = network.automatic(mixture).transmission
    unasked = LayerPair(mixture + 0.1, torch.zeros_like(mixture))
    answer = LayerPair(mixture + 0.3, torch.zeros_like(mixture))
    guide = nothing(mixture)
    guide[1, 0] = 1
    clear = network.guided(mixture, unasked, answer, guide).transmission
    assert torch.allclose(clear[0], automatic[0] + 0.2, atol=1e-6), "a guide that says little adds to it"
    assert torch.allclose(clear[1], mixture[1] + 0.3, atol=1e-6), "a guide that says all is followed"


@torch.no_grad()
def test_the_layers_of_the_automatic_answer_add_up_in_light() -> None:
    network, mixture = small_network(), pictures()
    network.adapter.veil.weight.zero_()[0] = -0.1
    answer = network.automatic(mixture)
    assert torch.allclose(answer.transmission, (mixture - 0.1).clamp_min(0), atol=1e-6)
    light = answer.transmission**2.2 + answer.reflection**2.2
    assert torch.allclose(light ** (1 / 2.2), mixture, atol=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (16, 96), (130, 98), (200, 160)])
@torch.no_grad()
def test_the_veil_of_a_mirrored_picture_is_mirrored(size: tuple[int, int]) -> None:
    veil, picture = small_network().adapter.veil, torch.rand(2, 3, *size)
    change = veil(picture)
    assert change.shape == picture.shape
    assert torch.allclose(veil(picture.flip(3)), change.flip(3), atol=1e-4)
    assert torch.allclose(veil(picture[1:]), change[1:], atol=1e-5)
    assert local_statistics(picture).shape == (2, STATISTICS, *read(picture).shape[2:])
    assert min(read(picture).shape[2:]) <= READING_SIDE


@torch.no_grad()
def test_local_statistics_say_what_they_are_called() -> None:
    even = torch.full((1, 3, 96, 128), 0.5)
    even[:, 2] = 0.2
    told = local_statistics(even)[0]
    expected = [0.5, 0.5, 0.2, 0.2, 0.3, 0.16]
    assert torch.allclose(told[:6].mean(dim=(1, 2)), torch.tensor(expected), atol=1e-5)
    mean, deviation, dark, dim, bright, colour, warm, detail, _ = told[9:18]
    for values, value in zip((mean, dark, dim, bright, colour, warm), (0.4, 0.2, 0.4, 0.4, 0.3, 0.3), strict=True):
        assert torch.allclose(values, torch.tensor(value), atol=1e-4)
    assert deviation.max() < 2e-3
    assert detail.max() < 1e-5
    spotted = even.clone()
    spotted[..., 40:48, 40:48] = 0
    assert local_statistics(spotted)[0, 11, 22, 22] < 0.1, "the dark channel hears of a dark spot"
    assert local_statistics(spotted)[0, 11, 2, 60] == pytest.approx(0.2, abs=1e-4)


def test_a_solution_grows_by_its_change_only() -> None:
    fine = torch.rand(1, 3, 32, 48)
    coarse = torch.nn.functional.avg_pool2d(fine, 2)
    same = enlarged(LayerPair(coarse, torch.zeros_like(coarse)), coarse, fine)
    assert torch.equal(same.transmission, fine)
    darker = enlarged(LayerPair(coarse - 0.1, torch.zeros_like(coarse)), coarse, fine)
    assert torch.allclose(darker.transmission, fine - 0.1, atol=1e-5)
