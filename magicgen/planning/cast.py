"""The people of a tale: who is meant by a mention, and what they look like in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from magicgen.control.story import Character
from magicgen.planning.mentions import Looks, Mention, find_mentions
from magicgen.planning.sentences import sentences
from magicgen.planning.words import (
    EVERYBODY,
    FEMALE,
    FEMALE_NAMES,
    FEMALE_NOUNS,
    HUMANS,
    MALE,
    TINTED,
    USUAL_COLOURS,
    Meaning,
    article_of,
    phrase,
)

Group = tuple[tuple["Person", int], ...]
"""People with how many of each are meant."""


@dataclass(eq=False)
class Person:
    """Somebody (or several who look alike) while the tale is read.

    Attributes:
        number: order of appearance.
        name: as the tale calls him, or empty.
        noun: the tale's own noun, singular or plural, or empty.
        kind: what it means in the storybook world, or None while nobody knows.
        gender: ``he``, ``she``, ``it`` or empty while unknown.
        count: how many they are.
        given: the character that the person at the keyboard described.
    """

    number: int
    name: str = ""
    noun: str = ""
    kind: Meaning | None = None
    gender: str = ""
    count: int = 1
    looks: Looks = field(default_factory=Looks)
    given: Character | None = None
    guessed: bool = False

    def meet(self, mention: Mention) -> None:
        """Learn from one more mention."""
        if mention.kind is not None and self.kind is None:
            self.kind, self.noun = mention.kind, mention.noun
        self.gender = self.gender or gender_of(mention)
        self.looks = self.looks.over(mention.looks)


def gender_of(mention: Mention) -> str:
    """The pronoun that a mention's noun asks for, or empty."""
    word = "" if mention.kind is None else mention.kind.word
    if word in FEMALE or mention.noun in FEMALE_NOUNS or mention.pronoun == "she":
        return "she"
    return "he" if word in MALE or mention.pronoun == "he" else ""


@dataclass(eq=False)
class Cast:
    """Everybody so far; :meth:`resolve` says who is meant.

    Attributes:
        given: characters with a description of their own, by lower-case name.
        people: in order of appearance.
        recent: the last people mentioned, the latest last. together: the last ones in one sentence.
        focus: the subject of the sentence before.
    """

    given: dict[str, Character] = field(default_factory=dict)
    people: list[Person] = field(default_factory=list)
    recent: list[Person] = field(default_factory=list)
    together: list[Person] = field(default_factory=list)
    focus: Group = ()

    def resolve(self, mention: Mention, fresh: bool = True) -> Group:
        """The people that a mention means; new ones are added where ``fresh`` (somebody really appears)."""
        if mention.pronoun:
            return self._by_pronoun(mention)
        if mention.names:
            return tuple((self._named(name, mention), 1) for name in mention.names)
        if mention.kind is None:
            return ()
        return self._by_noun(mention, fresh)

    def remember(self, group: Group) -> None:
        """These were the last to be mentioned."""
        for person, _ in group:
            if person in self.recent:
                self.recent.remove(person)
            self.recent.append(person)

    def everybody(self) -> Group:
        """Who ``they`` are: the last who were together, or everybody recent."""
        if sum(count for _, count in self.focus) > 1:
            return self.focus
        people = self.together if len(self.together) > 1 else self.recent[-2:]
        crowd = next((person for person in reversed(self.recent) if person.count > 1), None)
        if crowd is not None and (len(people) < 2 or crowd is self.recent[-1]) and len(self.together) < 2:
            return ((crowd, crowd.count),)
        return tuple((person, person.count) for person in people)

    def _named(self, name: str, mention: Mention) -> Person:
        for person in self.people:
            if person.name.lower() == name.lower():
                person.meet(mention)
                return person
        # "a fox lived there. The fox's name was Ruby" and "the fox, Ruby": one and the same
        if mention.kind is not None and mention.definite and not mention.names[1:]:
            for person in reversed(self.people):
                nameless = not person.name and person.count == 1 and person.kind == mention.kind
                if nameless and _agree(person.looks, mention.looks) and person.noun == mention.noun:
                    person.name = name
                    person.meet(mention)
                    return person
        return self._add(Mention(mention.start, mention.end, mention.noun, mention.kind, (name,), looks=mention.looks))

    def christen(self, person: Person, name: str) -> None:
        """``Her name was Ruby``."""
        known = next((other for other in self.people if other.name == name and other is not person), None)
        if known is not None and known.kind is None:
            self.people.remove(known)
            if known in self.recent:
                self.recent.remove(known)
        person.name = name

    def _by_noun(self, mention: Mention, fresh: bool) -> Group:
        assert mention.kind is not None
        same = [p for p in self.people if p.kind is not None and p.kind.word == mention.kind.word]
        exact = [p for p in same if p.noun == mention.noun or not p.noun] or same
        fitting = [p for p in exact if _agree(p.looks, mention.looks)]
        if mention.plural or (mention.count or 1) > 1:
            return self._several(mention, fitting, fresh)
        if mention.other:
            last = self.recent[-1] if self.recent else None
            others = [p for p in fitting if p is not last]
            if mention.definite and others:
                return ((others[-1], 1),)
            return ((self._add(mention), 1),) if fresh else ()
        singles = [p for p in fitting if p.count == 1]
        if mention.definite and singles:
            known = max(singles, key=lambda p: self.recent.index(p) if p in self.recent else -1)
            known.meet(mention)
            return ((known, 1),)
        crowd = [p for p in fitting if p.count > 1]
        if crowd and (mention.definite or mention.count == 1):
            return ((crowd[-1], 1),)
        return ((self._add(mention), 1),) if fresh else ()

    def _several(self, mention: Mention, fitting: list[Person], fresh: bool) -> Group:
        crowd = next((p for p in reversed(fitting) if p.count > 1), None)
        if mention.definite and crowd is not None:
            crowd.meet(mention)
            return ((crowd, min(crowd.count, mention.count or crowd.count)),)
        if mention.definite and len(fitting) > 1:
            chosen = fitting[-(mention.count or len(fitting)) :]
            return tuple((p, 1) for p in chosen)
        if not fresh:
            return ()
        person = self._add(mention)
        person.count = mention.count or 3
        return ((person, person.count),)

    def _by_pronoun(self, mention: Mention) -> Group:
        if mention.pronoun == "they":
            return self.everybody()
        order = [*(person for person, _ in self.focus), *reversed(self.recent)]
        known = [person for person in order if person.count == 1 and person.gender == mention.pronoun]
        open_ones = [person for person in order if person.count == 1 and not person.gender]
        if mention.pronoun == "it":
            open_ones = [p for p in open_ones if p.kind is None or p.kind.word not in HUMANS]
        for person in (*known, *open_ones):
            person.gender = mention.pronoun
            return ((person, 1),)
        return ()

    def _add(self, mention: Mention) -> Person:
        name = mention.names[0] if mention.names else ""
        person = Person(len(self.people), name)
        given = self.given.get((name or mention.noun).lower())
        if given is not None:
            self._describe(person, given)
        person.meet(mention)
        if name.lower() in FEMALE_NAMES:
            person.gender = person.gender or "she"
        self.people.append(person)
        return person

    def _describe(self, person: Person, given: Character) -> None:
        person.given = given
        described = describe(given.description)
        if described is not None:
            person.meet(described)

    def settle(self) -> None:
        """Give everybody a kind and a colour; of two of a kind nobody looks like the other."""
        for person in self.people:
            if person.kind is None:
                person.guessed = True
                person.kind = Meaning("boy" if person.gender == "he" else "girl", True)
        taken: set[tuple[str, str]] = set()
        for person in sorted(self.people, key=lambda p: p.looks.colour is None):  # what is told comes first
            assert person.kind is not None
            kind = person.kind.word
            usual = USUAL_COLOURS[kind].split()
            tint = TINTED.get(singular(person.noun), usual[0])
            choices = [tint, *(colour for colour in usual if colour != tint)]
            colour = person.looks.colour or next((c for c in choices if (kind, c) not in taken), choices[0])
            taken.add((kind, colour))
            accessory, shade = person.looks.accessory, person.looks.accessory_colour
            if accessory is not None and shade is None:
                shade = "blue" if colour == "red" else "red"
            person.looks = Looks(colour, accessory, shade, person.looks.size)

    def labels(self) -> dict[Person, str]:
        """A name for everybody, unique, as a reader would call them."""
        labels: dict[Person, str] = {}
        for person in self.people:
            noun = person.noun or "friend"
            base = person.name or noun.capitalize()
            label, number = base, 2
            while label in labels.values():
                label, number = f"{base} {number}", number + 1
            labels[person] = label
        return labels


def describe(description: str) -> Mention | None:
    """The mention in a description such as ``a red fox with a blue hat``."""
    text = description.strip()
    if text.split() and text.split()[0].lower() not in ("a", "an", "the"):
        text = f"a {text}"
    for sentence in sentences(text):
        for mention in find_mentions(sentence.tokens, frozenset()):
            if mention.kind is not None:
                return mention
    return None


def description_of(person: Person, closed: bool) -> str:
    """The words for a settled person, without article: the world's own, or the tale's noun for an open vocabulary."""
    assert person.kind is not None
    assert person.looks.colour is not None
    looks = person.looks
    if closed or not person.noun:
        return phrase(person.kind.word, looks.colour or "red", looks.accessory, looks.accessory_colour)
    noun = singular(person.noun)
    words = f"{noun} in {looks.colour}" if person.kind.word in HUMANS else f"{looks.colour} {noun}"
    if looks.size:
        words = f"{looks.size} {words}"
    if looks.accessory:
        words += f" with {article_of(looks.accessory_colour or 'red')} {looks.accessory_colour} {looks.accessory}"
    return words


def singular(noun: str) -> str:
    """A noun of the lexicon in the singular."""
    from magicgen.planning.words import KINDS, plurals

    if noun in KINDS and KINDS[noun][1]:
        return next((word for word in KINDS if not KINDS[word][1] and noun in plurals(word)), noun)
    return noun


def is_everybody(word: str) -> bool:
    """Whether a word means all who are there (``the friends``)."""
    return word in EVERYBODY


def _agree(looks: Looks, said: Looks) -> bool:
    """Whether nothing that is said contradicts what is known."""
    pairs = ((looks.colour, said.colour), (looks.size, said.size))
    return all(known is None or told is None or known == told for known, told in pairs)


def merge(groups: Sequence[Group]) -> Group:
    """Several groups as one; the largest count of each person."""
    counts: dict[Person, int] = {}
    for group in groups:
        for person, count in group:
            counts[person] = max(count, counts.get(person, 0))
    return tuple(counts.items())
