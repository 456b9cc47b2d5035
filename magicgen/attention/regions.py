"""Regional attention: every subject's words act in its box, and its box looks at its own reference.

The form of EliGen (arXiv 2501.01097): words of different subjects do not see each other; a subject's words and the
picture inside its box see each other; the global words see the whole picture; picture to picture stays full. Beside
that the picture inside a box sees that subject's reference tokens (identity by shared attention, masked by subject),
and a reference sees itself alone, so that what it contributes does not depend on the picture.

The order of tokens: global words, the local words of every subject, picture, cast. A plan holds the few classes of
queries that share their keys; each is one dense call on gathered keys, and no mask of all pairs exists outside of
training, where a batch mixes layouts, and of the tests.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import nn
from torch.nn import functional as F

from magicgen.attention.apply import attention_layers
from magicgen.attention.processor import AttendFn, PlannedProcessor
from magicgen.errors import PlanError

RegionBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class RegionPlan:
    """Who may look at whom in one picture.

    Attributes:
        words: global text tokens. local: text tokens of each subject.
        rows, columns: tokens of the picture; the cast has as many, its columns shared evenly by the subjects.
        boxes: normalised [x0, y0, x1, y1] of each subject; None for none, whose words then act nowhere.
        cast: whether the tokens of references follow those of the picture.
    """

    words: int
    local: int
    rows: int
    columns: int
    boxes: tuple[RegionBox | None, ...]
    cast: bool = True

    @property
    def text(self) -> int:
        """Number of text tokens."""
        return self.words + self.local * len(self.boxes)

    @property
    def picture(self) -> int:
        """Number of picture tokens."""
        return self.rows * self.columns

    @property
    def total(self) -> int:
        """All tokens."""
        return self.text + (2 if self.cast else 1) * self.picture

    @cached_property
    def inside(self) -> torch.Tensor:
        """(subjects, picture) bool: the tokens that a box touches."""
        found = torch.zeros(len(self.boxes), self.rows, self.columns, dtype=torch.bool)
        for index, box in enumerate(self.boxes):
            if box is not None:
                x0, y0, x1, y1 = box
                top, bottom = int(y0 * self.rows), -int(-y1 * self.rows // 1)
                left, right = int(x0 * self.columns), -int(-x1 * self.columns // 1)
                found[index, max(top, 0) : max(bottom, top + 1), max(left, 0) : max(right, left + 1)] = True
        return found.flatten(1)

    @cached_property
    def slots(self) -> torch.Tensor:
        """(picture,) int64: which subject's reference a cast token belongs to."""
        column = torch.arange(self.columns) * max(len(self.boxes), 1) // self.columns
        return column.repeat(self.rows)

    @cached_property
    def classes(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """Queries that share their keys: (query numbers, key numbers), int64; every token is in exactly one class."""
        everything = torch.arange(self.total)
        told, picture = everything[: self.words], everything[self.text : self.text + self.picture]
        cast = everything[self.text + self.picture :]
        count = len(self.boxes)
        local = [everything[self.words + i * self.local : self.words + (i + 1) * self.local] for i in range(count)]
        own = [cast[self.slots == i] if self.cast else cast for i in range(count)]
        found = [(told, torch.cat([told, picture]))] if self.words else []
        found += [(local[i], torch.cat([local[i], picture[self.inside[i]]])) for i in range(count) if self.local]
        member = (self.inside.long() << torch.arange(count)[:, None]).sum(0) if count else torch.zeros(self.picture)
        for code in member.unique().tolist():
            seen = [i for i in range(count) if int(code) >> i & 1]
            keys = [told, *(local[i] for i in seen), picture, *(own[i] for i in seen)]
            found.append((picture[member == code], torch.cat(keys)))
        found += [(each, each) for each in (own if count else [cast]) if len(each)]
        return tuple(found)

    @property
    def picture_classes(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """The classes of text and picture tokens."""
        return tuple(each for each in self.classes if int(each[0][0]) < self.text + self.picture)

    @property
    def cast_classes(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """The classes of cast tokens; their keys are cast tokens too."""
        return tuple(each for each in self.classes if int(each[0][0]) >= self.text + self.picture)

    def mask(self) -> torch.Tensor:
        """(total, total) bool, True where a query (row) sees a key: for mixed batches and as the tests' oracle."""
        allowed = torch.zeros(self.total, self.total, dtype=torch.bool)
        for queries, keys in self.classes:
            allowed[queries[:, None], keys[None, :]] = True
        return allowed


def attend_regions(
    plan: RegionPlan, base_ratio: float, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int
) -> torch.Tensor:
    """Regional attention of q, k, v [B,H,N,D] by gathered keys.

    ``base_ratio`` of the unmasked result is mixed in: a little of it keeps a picture of one piece
    (Regional-Prompting-FLUX, arXiv 2411.02395).
    """
    _check(plan, q, text)
    output = torch.empty_like(q)
    for queries, keys in plan.classes:
        rows, columns = queries.to(q.device), keys.to(q.device)
        part = F.scaled_dot_product_attention(
            q.index_select(2, rows), k.index_select(2, columns), v.index_select(2, columns)
        )
        output[:, :, rows] = part
    if base_ratio > 0:
        output = torch.lerp(output, F.scaled_dot_product_attention(q, k, v), base_ratio)
    return output


def attend_mixed(
    plan: RegionPlan, mask: torch.Tensor, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int
) -> torch.Tensor:
    """The same for a batch of different layouts, under masks (B, 1, N, N); differentiable."""
    _check(plan, q, text)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.device))


@contextmanager
def regional_attention(
    models: Sequence[nn.Module], plans: Sequence[RegionPlan] | None, base_ratio: float = 0.0
) -> Iterator[None]:
    """Run the attention of ``models`` by plans inside the block: one for the whole batch, or one for each picture.

    ``None`` changes nothing.

    Raises:
        PlanError: plans of different sizes.
    """
    if plans is None:
        yield
        return
    first = plans[0]
    if any((plan.text, plan.rows, plan.columns) != (first.text, first.rows, first.columns) for plan in plans):
        raise PlanError("the pictures of a batch need as many words and tokens each")
    if len(plans) == 1:
        attend = partial(attend_regions, first, base_ratio)
    else:
        attend = partial(attend_mixed, first, torch.stack([plan.mask() for plan in plans])[:, None])
    with planned_attention(models, attend):
        yield


@contextmanager
def planned_attention(models: Sequence[nn.Module], attend: AttendFn) -> Iterator[None]:
    """Run the attention of ``models`` by one function inside the block; their layers are counted on."""
    layers = [attention for model in models for attention in attention_layers(model)]
    former = [attention.processor for attention in layers]
    try:
        for index, attention in enumerate(layers):
            attention.set_processor(PlannedProcessor(index, attend))
        yield
    finally:
        for attention, processor in zip(layers, former, strict=True):
            attention.set_processor(processor)


def _check(plan: RegionPlan, q: torch.Tensor, text: int) -> None:
    if q.shape[2] != plan.total or text != plan.text:
        raise PlanError(
            f"regional attention got {q.shape[2]} tokens, {text} of them text; its plan is for {plan.total}, "
            f"{plan.text} of them text"
        )
