"""The closed set of attention patterns, their meaning as a mask and their block plans.

The patterns are those of Sparse-vDiT (arXiv 2506.03065, section 3: full, skip, diagonal, multi-diagonal, vertical
stripe) and AnchorAttention (arXiv 2505.23520). Window widths, stripe columns, text rules and boundaries are not
published; the definitions here are this project's own:

* Text rows and text columns are always dense, for every pattern; Skip leaves only the text rows.
* A band is cut in blocks of ``KEY_BLOCK`` keys. Every ``rows`` consecutive queries share one window of
  ``max(rows, width * V)`` keys around their middle; at the ends the window is moved inwards, not cut, so that every
  query sees the same number of keys.
* Density is the share of (query, key) pairs that are computed.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import assert_never

import torch

from magicgen.attention.tokens import Order, TokenGrid
from magicgen.errors import PlanError

KEY_BLOCK = 128
"""Keys per block: window edges fall on multiples of this, counted from the first video token."""

ANCHOR_POOL = 128
"""Queries that are averaged to one before they look for columns (AnchorAttention, block size 128)."""


@dataclass(frozen=True)
class Dense:
    """Full attention."""


@dataclass(frozen=True)
class Skip:
    """The output of the head is zero for video tokens (text rows stay dense)."""


@dataclass(frozen=True)
class Diagonal:
    """Own and near frames: a band along the frame-major diagonal.

    ``width``: share of the video keys in the window, in (0, 1]. ``rows``: queries that share one window, a multiple of
    ``KEY_BLOCK``; more rows run faster, fewer follow the diagonal more closely.
    """

    width: float
    rows: int = 512

    def __post_init__(self) -> None:
        _check_share("diagonal", "width", self.width)
        _check_rows("diagonal", self.rows)


@dataclass(frozen=True)
class MultiDiagonal:
    """The same place in other frames: the same band after sorting the video tokens by place (token-major)."""

    width: float
    rows: int = 512

    def __post_init__(self) -> None:
        _check_share("multi_diagonal", "width", self.width)
        _check_rows("multi_diagonal", self.rows)


@dataclass(frozen=True)
class VerticalStripe:
    """Global key columns seen by every query. ``columns``: video tokens (frame-major numbers), sorted, not empty."""

    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.columns:
            raise PlanError("vertical_stripe: columns is empty; a stripe needs at least one key column (or use skip)")
        if self.columns[0] < 0 or any(b <= a for a, b in pairwise(self.columns)):
            raise PlanError("vertical_stripe: columns must be rising, different and not negative")


@dataclass(frozen=True)
class Anchor:
    """Stripe columns picked from the data, per group of ``rows`` queries (AnchorAttention).

    Anchors are the text keys and the group's own keys. Queries are averaged in blocks of ``ANCHOR_POOL``; a key column
    is ranked by how close its score comes to the anchor maximum of the block that wants it most, and the best
    ``share * V`` columns are added. The paper keeps columns by a threshold; a fixed number makes the cost of a plan
    known beforehand.
    """

    share: float
    rows: int = 768

    def __post_init__(self) -> None:
        _check_share("anchor", "share", self.share)
        _check_rows("anchor", self.rows)


Spec = Dense | Skip | Diagonal | MultiDiagonal | VerticalStripe | Anchor


def _check_share(kind: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value <= 1.0:
        raise PlanError(f"{kind}: {name} is {value!r}; expected a share of the video keys in (0, 1], for example 0.25")


def _check_rows(kind: str, rows: int) -> None:
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < KEY_BLOCK or rows % KEY_BLOCK:
        raise PlanError(f"{kind}: rows is {rows!r}; expected a positive multiple of {KEY_BLOCK}")


@dataclass(frozen=True)
class Tile:
    """Queries [start, stop) see the video keys [first, last); positions in the order of the band."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class FullPlan:
    """Every pair."""


@dataclass(frozen=True)
class EmptyPlan:
    """No video rows."""


@dataclass(frozen=True)
class BandPlan:
    """Contiguous windows, one for each tile of queries; the same for both orders."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class ColumnPlan:
    """One list of video keys for all queries."""

    columns: tuple[int, ...]


@dataclass(frozen=True)
class PickPlan:
    """Groups of queries [start, stop), each with its own keys and ``picks`` more that depend on the data."""

    groups: tuple[tuple[int, int], ...]
    picks: tuple[int, ...]


BlockPlan = FullPlan | EmptyPlan | BandPlan | ColumnPlan | PickPlan


def order_of(spec: Spec) -> Order:
    """The order of video tokens in which the spec's block plan is meant."""
    return Order.TOKEN_MAJOR if isinstance(spec, MultiDiagonal) else Order.FRAME_MAJOR


@lru_cache(maxsize=1024)
def block_plan(spec: Spec, grid: TokenGrid) -> BlockPlan:
    """What has to be computed for ``spec`` on ``grid``. Raises PlanError if a stripe column lies outside the grid."""
    match spec:
        case Dense():
            return FullPlan()
        case Skip():
            return EmptyPlan()
        case Diagonal() | MultiDiagonal():
            return BandPlan(_band_tiles(spec.width, spec.rows, grid.video))
        case VerticalStripe():
            if spec.columns[-1] >= grid.video:
                raise PlanError(
                    f"vertical_stripe: column {spec.columns[-1]} is outside the {grid.video} video tokens of {grid}"
                )
            return ColumnPlan(spec.columns)
        case Anchor():
            groups = _row_groups(spec.rows, grid.video)
            picks = round(spec.share * grid.video)
            return PickPlan(groups, tuple(min(picks, grid.video - (stop - start)) for start, stop in groups))
        case _:
            assert_never(spec)


def _row_groups(rows: int, video: int) -> tuple[tuple[int, int], ...]:
    """Consecutive groups of ``rows`` positions; a rest shorter than half a group joins the last one."""
    count = max(1, (video + rows // 2) // rows)
    edges = [index * rows for index in range(count)] + [video]
    return tuple(pairwise(edges))


def _band_tiles(width: float, rows: int, video: int) -> tuple[Tile, ...]:
    blocks = -(-video // KEY_BLOCK)
    window = min(blocks, max(rows // KEY_BLOCK, round(width * blocks)))
    tiles: list[Tile] = []
    for start in range(0, video, rows):
        stop = min(start + rows, video)
        middle = (start + stop + KEY_BLOCK) // (2 * KEY_BLOCK)
        first = min(max(middle - window // 2, 0), blocks - window)
        keys = (first * KEY_BLOCK, min((first + window) * KEY_BLOCK, video))
        # Tiles at the ends share their window: one longer run of queries is computed faster than two short ones.
        if tiles and (tiles[-1].first, tiles[-1].last) == keys:
            start = tiles.pop().start
        tiles.append(Tile(start, stop, *keys))
    return tuple(tiles)


def pairs(plan: BlockPlan, grid: TokenGrid) -> int:
    """Number of (query, key) pairs that a plan computes, text rows and columns included."""
    text_rows = grid.text * grid.total
    match plan:
        case FullPlan():
            return grid.total * grid.total
        case EmptyPlan():
            return text_rows
        case BandPlan():
            return text_rows + sum((t.stop - t.start) * (grid.text + t.last - t.first) for t in plan.tiles)
        case ColumnPlan():
            return text_rows + grid.video * (grid.text + len(plan.columns))
        case PickPlan():
            rows = [stop - start for start, stop in plan.groups]
            return text_rows + sum(n * (grid.text + n + m) for n, m in zip(rows, plan.picks, strict=True))
        case _:
            assert_never(plan)


def density(spec: Spec, grid: TokenGrid) -> float:
    """Share of all (query, key) pairs that ``spec`` computes on ``grid``, in [0, 1]."""
    return pairs(block_plan(spec, grid), grid) / (grid.total * grid.total)


def mask_rows(spec: Spec, grid: TokenGrid, rows: torch.Tensor, picked: torch.Tensor | None = None) -> torch.Tensor:
    """The meaning of ``spec``: which keys the video queries ``rows`` see.

    ``rows``: int64 [R], frame-major numbers of video tokens. ``picked``: for Anchor, bool [..., G, V], the columns
    picked for each group of queries. Returns bool [..., R, N]; text columns are always True except for Skip.
    """
    plan = block_plan(spec, grid)
    device = rows.device
    video = torch.zeros(len(rows), grid.video, dtype=torch.bool, device=device)
    match plan:
        case FullPlan():
            video[:] = True
        case EmptyPlan():
            return torch.zeros(len(rows), grid.total, dtype=torch.bool, device=device)
        case BandPlan():
            positions = grid.video_position(order_of(spec), device)
            query, key = positions[rows][:, None], positions[None, :]
            for tile in plan.tiles:
                inside = (query >= tile.start) & (query < tile.stop)
                video |= inside & (key >= tile.first) & (key < tile.last)
        case ColumnPlan():
            video[:, list(plan.columns)] = True
        case PickPlan():
            video = _picked_rows(plan, grid, rows, picked)
        case _:
            assert_never(plan)
    text = torch.ones(*video.shape[:-1], grid.text, dtype=torch.bool, device=device)
    return torch.cat([text, video], dim=-1)


def _picked_rows(plan: PickPlan, grid: TokenGrid, rows: torch.Tensor, picked: torch.Tensor | None) -> torch.Tensor:
    if picked is None:
        raise PlanError("anchor: the mask depends on the data; pass the picked columns")
    starts = torch.tensor([start for start, _ in plan.groups], device=rows.device)
    group = torch.searchsorted(starts, rows, right=True) - 1
    own = torch.zeros(len(plan.groups), grid.video, dtype=torch.bool, device=rows.device)
    for index, (start, stop) in enumerate(plan.groups):
        own[index, start:stop] = True
    return (picked | own).index_select(-2, group)
