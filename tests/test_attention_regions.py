"""Regional attention: gathered keys against the masked oracle, who sees whom, and what stays as it was."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from magicgen.attention.apply import attention_layers
from magicgen.attention.regions import RegionBox, RegionPlan, attend_mixed, attend_regions, regional_attention
from magicgen.errors import PlanError
from magicgen.models import VideoTransformer
from magicgen.models.positions import rotary_embedding

LEFT: RegionBox = (0.0, 0.2, 0.45, 1.0)
RIGHT: RegionBox = (0.4, 0.1, 1.0, 0.9)


@st.composite
def boxes(draw: st.DrawFn) -> RegionBox:
    x0, y0 = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return x0, y0, draw(st.floats(x0 + 0.05, 1.0)), draw(st.floats(y0 + 0.05, 1.0))


plans = st.builds(
    RegionPlan,
    words=st.integers(0, 5),
    local=st.integers(1, 4),
    rows=st.integers(1, 5),
    columns=st.integers(3, 7),
    boxes=st.lists(st.one_of(st.none(), boxes()), max_size=3).map(tuple),
)


def tokens(plan: RegionPlan, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 1, 2, plan.total, 8, generator=generator, dtype=torch.float64)
    return q, k, v


@settings(max_examples=40, deadline=None)
@given(plans)
def test_gathered_keys_equal_the_masked_oracle(plan: RegionPlan) -> None:
    q, k, v = tokens(plan)
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=plan.mask())
    torch.testing.assert_close(attend_regions(plan, 0.0, 0, q, k, v, plan.text), wanted)


@settings(max_examples=40, deadline=None)
@given(plans)
def test_every_token_asks_exactly_once_and_sees_itself(plan: RegionPlan) -> None:
    asked = torch.cat([queries for queries, _ in plan.classes])
    assert sorted(asked.tolist()) == list(range(plan.total))
    assert bool(plan.mask().diagonal().all())


def test_the_base_ratio_leads_to_plain_attention() -> None:
    plan = RegionPlan(4, 3, 3, 6, (LEFT, RIGHT, None))
    q, k, v = tokens(plan)
    plain = F.scaled_dot_product_attention(q, k, v)
    regional = attend_regions(plan, 0.0, 0, q, k, v, plan.text)
    torch.testing.assert_close(attend_regions(plan, 1.0, 0, q, k, v, plan.text), plain)
    mixed = attend_regions(plan, 0.25, 0, q, k, v, plan.text)
    torch.testing.assert_close(mixed, 0.75 * regional + 0.25 * plain)


def test_words_and_reference_of_a_subject_act_in_its_box_alone() -> None:
    plan = RegionPlan(4, 3, 4, 6, (LEFT, RIGHT, None))
    q, k, v = tokens(plan)
    before = attend_regions(plan, 0.0, 0, q, k, v, plan.text)
    start = plan.text + plan.picture
    own = torch.cat([torch.arange(4, 7), start + torch.nonzero(plan.slots == 0).flatten()])
    k[:, :, own], v[:, :, own] = k[:, :, own] + 1, v[:, :, own] - 2
    changed = (attend_regions(plan, 0.0, 0, q, k, v, plan.text) - before).abs().amax(dim=(0, 1, 3)) > 0
    picture = changed[plan.text : start]
    assert bool(picture[plan.inside[0]].all())
    assert not bool(picture[~plan.inside[0]].any())
    assert not bool(changed[:4].any()), "global words see the picture, not the words of a subject"
    assert not bool(changed[7 : plan.text].any()), "words of different subjects do not see each other"


def test_references_do_not_depend_on_the_picture() -> None:
    plan = RegionPlan(4, 3, 4, 6, (LEFT, RIGHT, None))
    q, k, v = tokens(plan)
    before = attend_regions(plan, 0.0, 0, q, k, v, plan.text)
    start = plan.text + plan.picture
    v[:, :, :start] += 3
    after = attend_regions(plan, 0.0, 0, q, k, v, plan.text)
    torch.testing.assert_close(after[:, :, start:], before[:, :, start:])


def test_a_batch_of_layouts_equals_its_pictures_one_by_one() -> None:
    layouts = [RegionPlan(4, 3, 4, 6, (LEFT, RIGHT)), RegionPlan(4, 3, 4, 6, (RIGHT, None))]
    parts = [tokens(plan, seed) for seed, plan in enumerate(layouts)]
    q, k, v = (torch.cat(values) for values in zip(*parts, strict=True))
    mask = torch.stack([plan.mask() for plan in layouts])[:, None]
    together = attend_mixed(layouts[0], mask, 0, q, k, v, layouts[0].text)
    for index, plan in enumerate(layouts):
        alone = attend_regions(plan, 0.0, 0, *parts[index], plan.text)
        torch.testing.assert_close(together[index : index + 1], alone)


def test_a_model_is_as_before_outside_of_the_block() -> None:
    torch.manual_seed(0)
    model = VideoTransformer(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=8,
        num_layers=2,
        sample_width=12,
        sample_height=8,
        sample_frames=5,
        max_text_seq_length=10,
        use_rotary_positional_embeddings=True,
        absolute_rotary_grid=True,
    ).eval()
    latents, text = torch.randn(1, 2, 4, 8, 12), torch.randn(1, 10, 8)
    rotary = rotary_embedding(model.config, 2, 8, 12, latents.device)

    @torch.no_grad()
    def answer() -> torch.Tensor:
        return model(latents, text, torch.tensor([500.0]), image_rotary_emb=rotary, return_dict=False)[0]

    plan = RegionPlan(4, 3, 4, 6, (LEFT, RIGHT))
    former, before = [layer.processor for layer in attention_layers(model)], answer()
    with regional_attention((model,), None):
        assert torch.equal(answer(), before)
    with regional_attention((model,), (plan,)):
        inside = answer()
        torch.testing.assert_close(answer(), inside)
    with regional_attention((model,), (plan,), 1.0):
        torch.testing.assert_close(answer(), before, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(inside, before)
    with pytest.raises(RuntimeError, match="stopped"), regional_attention((model,), (plan,)):
        raise RuntimeError("stopped")
    assert [layer.processor for layer in attention_layers(model)] == former
    assert torch.equal(answer(), before)


def test_plans_that_do_not_fit_are_refused() -> None:
    plan = RegionPlan(4, 3, 4, 6, (LEFT,))
    q, k, v = tokens(plan)
    with pytest.raises(PlanError, match="its plan is for"):
        attend_regions(plan, 0.0, 0, q[:, :, 1:], k, v, plan.text)
    with (
        pytest.raises(PlanError, match="as many words"),
        regional_attention((), (plan, RegionPlan(4, 3, 2, 6, (LEFT,)))),
    ):
        pass
