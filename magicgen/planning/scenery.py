"""Where and when a sentence happens."""

from collections.abc import Sequence

from magicgen.planning.sentences import Token
from magicgen.planning.wordlist import words_of
from magicgen.planning.words import PLACES, TIMES

_INTO = words_of("in at to into through near by on across inside reached around along beside entered visited over")
_FROM = words_of("from of off toward towards about saw see sees leaving outside behind")
_PARTS = words_of(
    "left right front edge middle top side end heart foot corner part bottom shore banks outskirts depths gates"
)
_IMAGINED = words_of("dreamed dreamt dream wish wished wanted hoped remembered")
_WEAK = words_of(
    "tree trees door window table bed bridge road path gate well boat ship water ice waves rocks grass hill"
)
"""Things rather than places: they set the scene only where nothing better is said."""
_REACH = 5


def scenery(tokens: Sequence[Token], people: frozenset[str]) -> tuple[tuple[str, str] | None, str | None]:
    """The place, as (the tale's word, the world's word), and the time of a sentence; None where it is silent.

    Args:
        tokens: of the sentence without quotations and people.
        people: names, which are no places.
    """
    place: tuple[str, str] | None = None
    weak: tuple[str, str] | None = None
    time: str | None = None
    imagined = any(token.lower in _IMAGINED for token in tokens)
    for index, token in enumerate(tokens):
        word = token.lower
        if word in TIMES and not (word == "dark" and _before_noun(tokens, index)):
            time = TIMES[word].word
        if word not in PLACES or word in people or imagined or token.possessive:
            continue
        if not _is_scene(tokens, index):
            continue
        found = (word, PLACES[word].word)
        if word in _WEAK:
            weak = weak or found
        else:
            place = found
    return place or weak, time


def _is_scene(tokens: Sequence[Token], index: int) -> bool:
    if tokens[index].lower in ("home", "indoors", "snowing", "snowed"):
        return True
    for back in range(index - 1, max(-1, index - _REACH), -1):
        word = tokens[back].lower
        if word == "of":
            return back > 0 and tokens[back - 1].lower in _PARTS
        if word in _FROM:
            return False
        if word in _INTO:
            looking = back > 0 and tokens[back - 1].lower in (
                "looked",
                "looks",
                "pointed",
                "stared",
                "looking",
                "gazed",
            )
            return not looking
        if not tokens[back].is_word:
            break
    following = tokens[index + 1].lower if index + 1 < len(tokens) else ""
    return following in ("was", "is", "were", "lay", "looked") and index <= _REACH


def _before_noun(tokens: Sequence[Token], index: int) -> bool:
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    return following is not None and following.is_word and following.lower not in ("and", "when", "in", "at", "outside")


def named_scenery(words: str) -> tuple[str | None, str | None]:
    """Place and time of the storybook world that a background prompt names."""
    found = [word.strip(".,;:!?'\"").lower() for word in words.split()]
    place = next((PLACES[word].word for word in found if word in PLACES and word not in _WEAK), None)
    weak = next((PLACES[word].word for word in found if word in PLACES), None)
    time = next((TIMES[word].word for word in reversed(found) if word in TIMES), None)
    return place or weak, time
