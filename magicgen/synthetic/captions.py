"""Captions in the closed vocabulary."""

from magicgen.synthetic.plan import ScenePlan

_VOWELS = "aeiou"


def with_article(phrase: str) -> str:
    """``a fox``, ``an orange fox``."""
    return f"{'an' if phrase[0] in _VOWELS else 'a'} {phrase}"


def listed(parts: list[str]) -> str:
    """``nobody``, ``a``, ``a and b``, ``a, b and c``."""
    if not parts:
        return "nobody"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def caption(plan: ScenePlan) -> str:
    """One sentence: every object with what it does, then the place, then the camera."""
    words = listed([f"{with_article(item.phrase)} {item.verb}" for item in plan.objects])
    words = f"{words} {plan.background.words}"
    if plan.camera is None:
        return words
    zooms = abs(float(plan.camera.zoom[-1]) - 1) > 0.03
    return f"{words} while the camera {'zooms' if zooms else 'pans'}"
