"""Which spec each head gets: a budget solved over all heads at once, or the paper's rule head by head."""

from collections.abc import Sequence
from dataclasses import dataclass

from magicgen.errors import PlanError


@dataclass(frozen=True)
class Options:
    """One head in one phase: its error and its cost under each candidate, in the same order.

    ``calls``: how often the head runs in this phase; both error and cost count that often.
    """

    errors: tuple[float, ...]
    costs: tuple[float, ...]
    calls: float = 1.0


def solve_budget(heads: Sequence[Options], budget: float) -> list[int]:
    """The candidates with the least total error whose total cost is at most ``budget``.

    A Lagrangian over all heads (one price for cost, found by bisection), then the rest of the budget is spent where it
    removes most error. Raises PlanError if even the cheapest candidates exceed the budget.
    """
    cheapest = sum(min(head.costs) * head.calls for head in heads)
    if cheapest > budget:
        raise PlanError(f"no choice of patterns fits the budget: {cheapest:.4g} needed at least, {budget:.4g} given")
    low, high = 0.0, 1.0
    while _cost(heads, _priced(heads, high)) > budget:
        high *= 4.0
        if high > 1e30:
            return _fill(heads, [head.costs.index(min(head.costs)) for head in heads], budget)
    for _ in range(60):
        middle = (low + high) / 2
        if _cost(heads, _priced(heads, middle)) > budget:
            low = middle
        else:
            high = middle
    return _fill(heads, _priced(heads, high), budget)


def solve_error(heads: Sequence[Options], allowed: float) -> list[int]:
    """The cheapest candidates whose total error is at most ``allowed``: the same problem with the roles exchanged."""
    swapped = [Options(head.costs, head.errors, head.calls) for head in heads]
    return solve_budget(swapped, allowed)


def paper_rule(errors: Sequence[float], densities: Sequence[float], lam: float, epsilon: float) -> int | None:
    """Sparse-vDiT's choice for one head (arXiv 2506.03065, eq. 2 and 3): the sparse mode with the smallest
    ``error + lam * density`` if that is at most ``epsilon``, else None (stay dense).

    Equation 2 is followed; algorithm 1 of the paper adds lam times *sparsity*, which would punish sparsity.
    """
    losses = [error + lam * density for error, density in zip(errors, densities, strict=True)]
    best = min(range(len(losses)), key=losses.__getitem__)
    return best if losses[best] <= epsilon else None


def total_error(heads: Sequence[Options], chosen: Sequence[int]) -> float:
    """Sum of errors of a choice, weighted by calls."""
    return sum(head.errors[index] * head.calls for head, index in zip(heads, chosen, strict=True))


def _cost(heads: Sequence[Options], chosen: Sequence[int]) -> float:
    return sum(head.costs[index] * head.calls for head, index in zip(heads, chosen, strict=True))


def _priced(heads: Sequence[Options], price: float) -> list[int]:
    chosen = []
    for head in heads:
        values = [(error + price * cost, cost) for error, cost in zip(head.errors, head.costs, strict=True)]
        chosen.append(values.index(min(values)))
    return chosen


def _fill(heads: Sequence[Options], chosen: list[int], budget: float) -> list[int]:
    """Spends what is left: takes the step with the best error removed per cost until none fits."""
    left = budget - _cost(heads, chosen)
    while True:
        best: tuple[float, int, int, float] | None = None
        for number, (head, now) in enumerate(zip(heads, chosen, strict=True)):
            for option, (error, cost) in enumerate(zip(head.errors, head.costs, strict=True)):
                gain, price = (head.errors[now] - error) * head.calls, (cost - head.costs[now]) * head.calls
                if gain > 0 and price <= left:
                    rate = gain / max(price, 1e-12)
                    if best is None or rate > best[0]:
                        best = (rate, number, option, price)
        if best is None:
            return chosen
        chosen[best[1]] = best[2]
        left -= best[3]
