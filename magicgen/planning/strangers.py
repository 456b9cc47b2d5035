"""Words that a tale uses as if they could be seen, and that the storybook world does not know."""

from collections.abc import Sequence

from magicgen.planning.mentions import CLOTHES, accessory_word
from magicgen.planning.sentences import Sentence, Token
from magicgen.planning.verbs import ACTIONS
from magicgen.planning.wordlist import words_of
from magicgen.planning.words import (
    BIG,
    COLOURS,
    COUNTS,
    EVERYBODY,
    FUNCTION_WORDS,
    KINDS,
    PLACES,
    SMALL,
    TIMES,
    plurals,
)

_ARTICLES = words_of("a an the his her its their this that")
_ABSTRACT = words_of(
    """
    time day days way idea friend friends name world story voice word words thing things end rest turn moment
    while hour minute week month year years life heart mind look smile song secret question answer noise sound
    help fun game party dance walk lot bit kind sort plan trip trick surprise joke mistake problem reason place
    side top middle left right front back edge part corner bottom air wind rain storm weather sunshine sunlight
    light shadow cloud clouds distance hand hands head face eyes eye nose ear ears tail foot feet paw paws arm
    arms leg legs tear tears birthday lunch dinner breakfast supper food water sleep dream dreams wish wishes
    love hope fear happily ever after moment everyone everybody people animals animal others same next last
    first best whole other another visit race nap song way ways sight step steps job work rule turns adventure
    adventures feeling kiss hug feast festival concert prize show chance hurry hole ground floor wall sky sun
    rainbow morning spring summer autumn winter season music
    """
)


def strangers(told: Sequence[Sentence], most: int = 12) -> list[str]:
    """Nouns after an article that nobody knows, in order, each once."""
    found: dict[str, None] = {}
    for sentence in told:
        for index, token in enumerate(sentence.tokens):
            if token.lower in _ARTICLES:
                noun = _noun_after(sentence.tokens, index + 1)
                if noun is not None:
                    found.setdefault(noun)
    return list(found)[:most]


def _noun_after(tokens: Sequence[Token], start: int) -> str | None:
    """The last word of the noun phrase that begins here, if it is unknown."""
    last: str | None = None
    for token in tokens[start : start + 4]:
        word = token.lower
        if not token.is_word or token.text[0].isupper() or token.possessive:
            break
        if (
            word in ("named", "called", "who")
            or (word in FUNCTION_WORDS and word not in SMALL | BIG)
            or word in ACTIONS
        ):
            break
        last = word
    return None if last is None or _known(last) else last


def _known(word: str) -> bool:
    adjective = word in SMALL | BIG or word in COLOURS or word in COUNTS or word.endswith(("ly", "est", "ful", "ous"))
    thing = word in KINDS or word in PLACES or word in TIMES or word in CLOTHES or accessory_word(word) is not None
    places = any(word in plurals(place) for place in PLACES)
    return adjective or thing or places or word in _ABSTRACT or word in EVERYBODY or word in ACTIONS
