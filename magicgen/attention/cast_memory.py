"""Keys and values of the cast, computed once and used by every picture that shows it.

Under :class:`~magicgen.attention.regions.RegionPlan` a reference sees itself alone, so at one timestep what it
contributes to a layer depends on the reference and the timestep only: neither on the picture, nor on its words, nor on
its noise. All draws of a step, a second pass for guidance and another picture with the same cast can share it. This
holds for plans alone: with a share of attention without regions a reference would see the picture.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from magicgen.attention.regions import RegionPlan, planned_attention
from magicgen.errors import PlanError

LIMIT = 64 * 2**20


@dataclass(frozen=True)
class CastMemory:
    """Keys and values of the cast, (1, H, N, D) by layer, the layers of all models counted on."""

    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(tensor.numel() * tensor.element_size() for pair in self.layers.values() for tensor in pair)


class CastCache:
    """The memories used last, up to ``limit`` bytes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.found, self.made = limit, 0, 0
        self._kept: OrderedDict[Hashable, CastMemory] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], CastMemory]) -> CastMemory:
        """The memory of a key, made where it is not there."""
        memory = self._kept.pop(key, None)
        if memory is None:
            memory = make()
            self.made += 1
        else:
            self.found += 1
        self._kept[key] = memory
        total = sum(each.size for each in self._kept.values())
        while total > self.limit and len(self._kept) > 1:
            total -= self._kept.popitem(last=False)[1].size
        return memory

    def clear(self) -> None:
        """Forget everything: needed when weights have changed."""
        self._kept.clear()


@contextmanager
def remembering(models: Sequence[nn.Module], plan: RegionPlan) -> Iterator[CastMemory]:
    """Run ``models`` inside the block on the cast's tokens alone, without text, and keep what they contribute."""
    memory = CastMemory()
    with planned_attention(models, partial(_attend_cast, plan, memory)):
        yield memory


@contextmanager
def recalling(models: Sequence[nn.Module], plan: RegionPlan, memory: CastMemory) -> Iterator[None]:
    """Run ``models`` inside the block on text and picture tokens; the cast takes part from memory."""
    with planned_attention(models, partial(_attend_picture, plan, memory)):
        yield


def _attend_cast(
    plan: RegionPlan, memory: CastMemory, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int
) -> torch.Tensor:
    """q, k, v [1,H,N,D] of the cast's tokens."""
    if q.shape[2] != plan.picture or text:
        raise PlanError(f"a cast of {plan.picture} tokens was expected, got {q.shape[2]}, {text} of them text")
    memory.layers[layer] = (k, v)
    output = torch.empty_like(q)
    for tokens, _ in plan.cast_classes:
        rows = (tokens - plan.text - plan.picture).to(q.device)
        output[:, :, rows] = F.scaled_dot_product_attention(
            q.index_select(2, rows), k.index_select(2, rows), v.index_select(2, rows)
        )
    return output


def _attend_picture(
    plan: RegionPlan, memory: CastMemory, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int
) -> torch.Tensor:
    """q, k, v [B,H,N,D] of text and picture; their keys and the cast's together have the order of the plan."""
    if q.shape[2] != plan.text + plan.picture or text != plan.text:
        raise PlanError(f"{plan.text + plan.picture} tokens of text and picture were expected, got {q.shape[2]}")
    keys, values = memory.layers[layer]
    k = torch.cat([k, keys.expand(len(k), -1, -1, -1)], dim=2)
    v = torch.cat([v, values.expand(len(v), -1, -1, -1)], dim=2)
    output = torch.empty_like(q)
    for queries, seen in plan.picture_classes:
        rows, columns = queries.to(q.device), seen.to(q.device)
        output[:, :, rows] = F.scaled_dot_product_attention(
            q.index_select(2, rows), k.index_select(2, columns), v.index_select(2, columns)
        )
    return output
