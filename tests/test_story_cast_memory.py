"""The cast from memory draws what the cast computed with the picture draws; every picture stays a matter of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_story_model import HEIGHT, PANEL, WIDTH, draw, folder, pipe, slots  # noqa: F401

from magicgen.attention.cast_memory import CastCache, CastMemory
from magicgen.attention.regions import RegionPlan
from magicgen.errors import PlanError
from magicgen.models.story import StoryConditions
from pipelines.story import StoryPipeline

BOXES = ((0.05, 0.2, 0.4, 0.95), (0.35, 0.3, 0.95, 0.95), None)


def conditions(pipe: StoryPipeline, seed: int, **changed: object) -> StoryConditions:  # noqa: F811
    noise = torch.Generator().manual_seed(seed)
    shape = (1, 1, 192, HEIGHT // 8, WIDTH // 8)
    words, local = pipe.config.words, pipe.config.local
    plan = RegionPlan(words, local, HEIGHT // 16, WIDTH // 16, BOXES)
    known = torch.zeros(1, 1, 1, *shape[3:])
    known[..., : 2 * shape[4] // 3] = 1
    given = StoryConditions(
        plate=torch.randn(shape, generator=noise),
        plate_known=torch.ones(1),
        cast=torch.randn(shape, generator=noise) * known,
        cast_known=known,
        map=torch.randn(shape, generator=noise),
        text=torch.randn(1, plan.text, pipe.transformer.config.text_embed_dim, generator=noise),
        plans=(plan,),
    )
    return replace(given, **changed)


@torch.no_grad()
def test_memory_changes_nothing(pipe: StoryPipeline) -> None:  # noqa: F811
    given = conditions(pipe, 1)
    noisy, time = torch.randn(3, *given.plate.shape[1:]), torch.full((3,), 700)
    memory = pipe.network.remember_cast(time[:1], given)
    whole = pipe.network(noisy, time, given.repeated(3))
    recalled = pipe.network(noisy, time, given.repeated(3), memory)
    torch.testing.assert_close(recalled, whole, atol=2e-4, rtol=1e-4)
    other = conditions(pipe, 2, cast=given.cast)
    torch.testing.assert_close(
        pipe.network(noisy, time, other.repeated(3), memory),
        pipe.network(noisy, time, other.repeated(3)),
        atol=2e-4,
        rtol=1e-4,
    )
    stranger = pipe.network.remember_cast(time[:1], conditions(pipe, 3))
    assert not torch.allclose(pipe.network(noisy, time, given.repeated(3), stranger), whole, atol=2e-4)


@pytest.mark.parametrize("changed", [{"base_ratio": 0.1}, {"plans": None}])
def test_a_cast_that_sees_the_picture_is_not_remembered(pipe: StoryPipeline, changed: dict[str, object]) -> None:  # noqa: F811
    with pytest.raises(PlanError, match="sees itself alone"):
        pipe.network.remember_cast(torch.full((1,), 700), conditions(pipe, 1, **changed))


def test_a_panel_made_again_uses_the_cast_of_before(pipe: StoryPipeline) -> None:  # noqa: F811
    cast = slots(pipe)
    told = {"plate": np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "height": HEIGHT, "width": WIDTH}
    pipe.cast_cache.clear()
    pipe.cast_cache.made = pipe.cast_cache.found = 0
    first = pipe.panel(PANEL, cast, seed=1, **told)
    assert (pipe.cast_cache.made, pipe.cast_cache.found) == (2, 0), "one memory a step"
    pipe.panel(PANEL, cast, seed=2, **told)
    assert (pipe.cast_cache.made, pipe.cast_cache.found) == (2, 2)
    again = pipe.panel(PANEL, cast, seed=1, **told)
    pipe.cast_cache.clear()
    assert np.array_equal(first, again)
    assert np.array_equal(first, pipe.panel(PANEL, cast, seed=1, **told))


def test_without_regions_nothing_is_remembered(pipe: StoryPipeline) -> None:  # noqa: F811
    made = pipe.cast_cache.made
    draw(pipe, regional=False)
    assert pipe.cast_cache.made == made


def test_the_cache_forgets_what_was_used_least() -> None:
    def memory() -> CastMemory:
        return CastMemory({0: (torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8))})

    cache = CastCache(limit=2 * memory().size)
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, memory)
    assert (cache.made, cache.found) == (4, 2)
