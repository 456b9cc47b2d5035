"""Who is mentioned in a sentence: noun phrases, names and pronouns, with what they say about looks and number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from magicgen.planning.sentences import Sentence, Token
from magicgen.planning.verbs import ACTIONS
from magicgen.planning.wordlist import words_of
from magicgen.planning.words import (
    ACCESSORIES,
    BIG,
    COLOURS,
    COUNTS,
    EVERYBODY,
    FUNCTION_WORDS,
    KINDS,
    ORDINALS,
    PLACES,
    SMALL,
    Meaning,
    plurals,
)

DEFINITE = words_of("the his her their its my our your this that these those")
INDEFINITE = words_of("a an another")
PRONOUNS = words_of("he she it they him her them")
CLOTHES = words_of("dress shirt coat robe gown trousers sweater jacket jumper suit tunic armor armour skirt")
_WEARING = words_of("with wearing in holding carrying wore wears")
_REACH = 6
"""Words between an article and its noun, at most."""


@dataclass(frozen=True)
class Looks:
    """What words say about how somebody looks; None where they say nothing."""

    colour: str | None = None
    accessory: str | None = None
    accessory_colour: str | None = None
    size: str | None = None

    def over(self, other: "Looks") -> "Looks":
        """These looks, and the other's where these say nothing."""
        accessory = self if self.accessory else other
        return Looks(
            self.colour or other.colour, accessory.accessory, accessory.accessory_colour, self.size or other.size
        )


@dataclass(frozen=True)
class Mention:
    """One noun phrase, name or pronoun.

    Attributes:
        start, end: range of tokens, looks and names included.
        noun: the noun as written, lower case; empty for names and pronouns.
        kind: what it means in the storybook world, or None.
        names: names that it gives or is.
        count: how many where a number stands, else None.
        plural: the noun is in the plural. definite: somebody known already. other: ``another``, ``the other``.
        pronoun: ``he``, ``she``, ``it``, ``they`` or empty.
        looks: colour and so on.
    """

    start: int
    end: int
    noun: str = ""
    kind: Meaning | None = None
    names: tuple[str, ...] = ()
    count: int | None = None
    plural: bool = False
    definite: bool = False
    other: bool = False
    pronoun: str = ""
    looks: Looks = Looks()


def find_names(story: Sequence[Sentence]) -> frozenset[str]:
    """Words that are names: written with a capital inside of sentences, or at their beginning before a verb."""
    inside: set[str] = set()
    starts: set[str] = set()
    for sentence in story:
        for index, token in enumerate(sentence.tokens):
            if not (token.is_word and token.text[0].isupper() and _may_be_name(token)):
                continue
            before = sentence.tokens[index - 1] if index else None
            if before is None or (not before.is_word and before.text != ","):
                following = sentence.tokens[index + 1 : index + 3]
                if token.possessive or any(_leads_on(word) for word in following[:1]):
                    starts.add(token.text)
            elif before.lower not in ("in", "at"):  # in London
                inside.add(token.text)
        for quote in sentence.quotes:
            if quote.speaker and len(quote.speaker.split()) == 1 and _may_be_name(Token(quote.speaker)):
                inside.add(quote.speaker)

    return frozenset(inside | starts)


def _may_be_name(token: Token) -> bool:
    word = token.lower
    known = word in FUNCTION_WORDS or word in KINDS or word in PLACES or word in ACTIONS or word in COUNTS
    return not known and word not in EVERYBODY and len(word) > 1


def _leads_on(token: Token) -> bool:
    return token.lower in ACTIONS or token.lower in ("and", "the", "who", "could", "would", "did", "had", ",", "never")


def find_mentions(tokens: Sequence[Token], names: frozenset[str]) -> tuple[Mention, ...]:
    """All mentions of a sentence, from left to right, without overlaps."""
    found: list[Mention] = []
    index = 0
    while index < len(tokens):
        free = found[-1].end if found else 0
        mention = None if index < free else _mention_at(tokens, index, free, names)
        if mention is not None:
            found.append(mention)
            index = max(index + 1, mention.end)
        else:
            index += 1
    return tuple(found)


def _mention_at(tokens: Sequence[Token], index: int, free: int, names: frozenset[str]) -> Mention | None:
    token = tokens[index]
    if not token.is_word or token.possessive:
        return None
    if token.text in names:
        return _named(tokens, index, names)
    if token.lower in PRONOUNS:
        return _pronoun(tokens, index)
    if token.lower in KINDS and not _is_modifier(tokens, index):
        return _noun_phrase(tokens, index, free, names)
    return None


def _is_modifier(tokens: Sequence[Token], index: int) -> bool:
    """``duck pond`` is a place, ``to bear`` a verb."""
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if following is not None and following.is_word:
        if following.lower in KINDS and not following.possessive:
            return following.lower not in ("man", "bear") or tokens[index].lower != "old"
        if following.lower in PLACES and following.lower not in ("home", "waves", "indoors"):
            return True
    before = tokens[index - 1].lower if index else ""
    return tokens[index].lower in ("bear", "duck") and before in ("to", "not", "could", "couldn't", "can't", "must")


def _pronoun(tokens: Sequence[Token], index: int) -> Mention | None:
    word = tokens[index].lower
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    after = following.lower if following is not None and following.is_word else ""
    if word == "her" and after and after not in FUNCTION_WORDS and after not in ACTIONS:
        return None  # her hat
    if word == "it" and after in ("was", "is", "rained", "snowed", "seemed", "took", "began", "became", "got", "grew"):
        return None  # it was a sunny day
    base = {"him": "he", "her": "she", "them": "they"}.get(word, word)
    return Mention(index, index + 1, pronoun=base, definite=True, plural=base == "they")


def _named(tokens: Sequence[Token], index: int, names: frozenset[str]) -> Mention:
    """``Ruby``, ``Ruby the red fox``, ``Ruby, a small fox,``."""
    name = tokens[index].text
    start = index - 1 if index and tokens[index - 1].lower in ("mr", "mrs", "miss", "dr") else index
    place = index + 1
    if place < len(tokens) and tokens[place].text == ",":
        place += 1
    if place < len(tokens) and tokens[place].lower in ("the", "a", "an"):
        head = _head_after(tokens, place)
        closed = place == index + 1 or head is None or _closes(tokens, head + 1)
        if head is not None and closed:
            described = _noun_phrase(tokens, head, place, names)
            if not described.names:
                return Mention(
                    start, described.end, described.noun, described.kind, (name,), definite=True, looks=described.looks
                )
    looks, end = _worn(tokens, index + 1)
    return Mention(start, end, names=(name,), definite=True, looks=looks)


def _closes(tokens: Sequence[Token], index: int) -> bool:
    return index >= len(tokens) or not tokens[index].is_word or tokens[index].lower in ("who", "with", "in", "and")


def _head_after(tokens: Sequence[Token], place: int) -> int | None:
    """The noun of a kind that an article at ``place`` belongs to."""
    for index in range(place + 1, min(len(tokens), place + _REACH)):
        token = tokens[index]
        if not token.is_word and token.text != ",":
            return None
        if token.lower in KINDS and not token.possessive and not _is_modifier(tokens, index):
            return index
        if token.lower in FUNCTION_WORDS and token.lower not in SMALL | BIG | {"young", "old", "and", "very"}:
            return None
    return None


def _noun_phrase(tokens: Sequence[Token], head: int, free: int, names: frozenset[str]) -> Mention:
    start, before = _modifiers(tokens, head, free)
    kind, plural = KINDS[tokens[head].lower]
    words = [token.lower for token in before]
    colour = next((COLOURS[word].word for word in reversed(words) if word in COLOURS), None)
    size = next((word for word in words if word in SMALL | BIG), None)
    count = next((_number(word) for word in words if _number(word)), None)
    article = words[0] if words else ""
    capital = tokens[head].text[0].isupper() and (head > 0 or not plural) and not words
    end, given = _names_after(tokens, head + 1, names, plural or (count or 1) > 1)
    worn, end = _worn(tokens, end)
    looks = Looks(colour or worn.colour, worn.accessory, worn.accessory_colour, size)
    if tokens[head].lower == "sheep" and count and count > 1:
        plural = True
    return Mention(
        start,
        end,
        tokens[head].lower,
        kind,
        given,
        count if count is not None or not plural else None,
        plural,
        article in DEFINITE or capital or ("other" in words and article == "the"),
        any(word in ORDINALS for word in words),
        looks=looks,
    )


def _modifiers(tokens: Sequence[Token], head: int, free: int) -> tuple[int, list[Token]]:
    """Where the noun phrase of a head begins, and its words before the head."""
    start, place = head, head - 1
    while place >= max(free, head - _REACH):
        token = tokens[place]
        word = token.lower
        if word in DEFINITE or word in INDEFINITE or token.possessive:
            kept = [item for item in tokens[place:head] if item.is_word]
            return place, kept
        plain = token.is_word and (word not in FUNCTION_WORDS or word in SMALL | BIG) and word not in ACTIONS
        near = word in COLOURS or word in SMALL | BIG or word in ORDINALS or _number(word)
        if near:
            start = place
        elif not plain and word not in (",", "and", "very", "old", "young", "good", "sad", "happy", "brave", "poor"):
            break
        place -= 1
    kept = [item for item in tokens[start:head] if item.is_word]
    return start, kept


def _number(word: str) -> int | None:
    if word.isdecimal() and len(word) <= 3:
        return int(word) or None
    return COUNTS.get(word)


def _names_after(tokens: Sequence[Token], place: int, names: frozenset[str], many: bool) -> tuple[int, tuple[str, ...]]:
    """``named Ruby``, ``called Tim and Tom``, ``, Ruby,``, or the name at once."""
    here = place
    told = here < len(tokens) and tokens[here].lower in ("named", "called")
    comma = here < len(tokens) and tokens[here].text in (",", ":")
    if told or comma:
        here += 1
    given: list[str] = []
    while here < len(tokens) and tokens[here].text in names and not tokens[here].possessive:
        given.append(tokens[here].text)
        here += 1
        if not many:
            break
        if here + 1 < len(tokens) and tokens[here].text == "," and tokens[here + 1].text in names:
            here += 1
        elif here + 2 < len(tokens) and tokens[here].text == "," and tokens[here + 1].lower == "and":
            here += 2
        elif here + 1 < len(tokens) and tokens[here].lower == "and" and tokens[here + 1].text in names:
            here += 1
    if not given:
        return place, ()
    ended = here >= len(tokens) or tokens[here].text in (",", ".", "!", "?", ";")
    if comma and not told and not many and not ended:
        return place, ()  # "said the fox, Ruby ran": two people
    return here, tuple(given)


def _worn(tokens: Sequence[Token], place: int) -> tuple[Looks, int]:
    """``with a blue hat``, ``wearing glasses``, ``in red``, ``who wore a scarf`` after a noun."""
    here = place
    if here < len(tokens) and tokens[here].text == ",":
        here += 1
    if here < len(tokens) and tokens[here].lower in ("who", "that"):
        here += 1
        if here < len(tokens) and tokens[here].lower in ("wears", "wore", "had", "has", "carried", "held"):
            return accessory_at(tokens, here + 1) or (Looks(), place)
        return Looks(), place
    if here >= len(tokens) or tokens[here].lower not in _WEARING:
        return Looks(), place
    looks, end = accessory_at(tokens, here + 1) or (Looks(), place)
    if looks.colour and not looks.accessory and end < len(tokens) and tokens[end].lower in _WEARING:
        more, further = accessory_at(tokens, end + 1) or (Looks(), end)  # in silver with a red cape
        return (looks.over(more), further) if more.accessory else (looks, end)
    return looks, end


def accessory_at(tokens: Sequence[Token], place: int) -> tuple[Looks, int] | None:
    """``a big blue hat`` or ``red`` or ``a red dress`` at ``place``, and where it ends."""
    colour: str | None = None
    for here in range(place, min(len(tokens), place + 5)):
        word = tokens[here].lower
        if not tokens[here].is_word:
            return (Looks(colour=colour), here) if colour and here == place + 1 else None
        if word in COLOURS:
            colour = colour or COLOURS[word].word
            continue
        thing = accessory_word(word)
        if thing is not None:
            return Looks(accessory=thing.word, accessory_colour=colour), here + 1
        if word in CLOTHES:
            return (Looks(colour=colour), here + 1) if colour else None
        if here > place and colour and here == place + 1 and word in FUNCTION_WORDS:
            return Looks(colour=colour), here
        if word in ACTIONS and word not in ("shining",):
            return None
    return (Looks(colour=colour), len(tokens)) if colour and place + 1 == len(tokens) else None


def accessory_word(word: str) -> Meaning | None:
    """The accessory that a noun in singular or plural means."""
    if word in ACCESSORIES:
        return ACCESSORIES[word]
    return _ACCESSORY_PLURALS.get(word)


def _plural_accessories() -> Iterator[tuple[str, Meaning]]:
    for name, meaning in ACCESSORIES.items():
        for plural in plurals(name):
            yield plural, meaning


_ACCESSORY_PLURALS = dict(_plural_accessories())
