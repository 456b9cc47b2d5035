"""Reading a tale sentence by sentence: who is there, what everybody does, where and when it happens, who speaks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from magicgen.control.story import Facing
from magicgen.planning.cast import Cast, Group, Person, merge
from magicgen.planning.mentions import Mention, accessory_at, find_mentions, find_names
from magicgen.planning.relations import Found, find_relations, skeleton
from magicgen.planning.scenery import scenery
from magicgen.planning.sentences import QUOTE, Sentence, Token, sentences
from magicgen.planning.verbs import ACTIONS, MEETING, SPEECH, THINKING
from magicgen.planning.wordlist import words_of
from magicgen.planning.words import ABSENT_CUES, CLOSE_CUES, COLOURS, WIDE_CUES

_LINKS = words_of(", ; and but then while as when because so until before after or")
_PREPOSITIONS = frozenset(
    [
        "in",
        "at",
        "to",
        "into",
        "from",
        "with",
        "by",
        "near",
        "on",
        "of",
        "off",
        "behind",
        "above",
        "below",
        "under",
        "over",
        "beside",
        "between",
        "past",
        "toward",
        "towards",
        "around",
        "through",
        "across",
        "for",
        "about",
        "after",
        "before",
        "like",
        "without",
        "against",
        "along",
        "onto",
        "upon",
        "next",
        "front",
        "beneath",
    ]
)
_IMAGINED = words_of("dreamed dreamt dreams dream wished wish thought thinking remembered heard afraid letter")
_WISHES = words_of(
    "want wants wanted wish wished hope hoped ask asked need needed tell told tried try like liked love loved"
)
_WORN = words_of("wear wears wore wearing has have had holds held holding carried carries carrying")
_GONE = r"<(\d+)> (?:(?:was|were|is|are) (?:not|gone|away|no longer)|(?:was|were|is|are)n't)"
_OWN = words_of("his her its their")


@dataclass
class Spoken:
    """A quotation; ``speaker`` is None while nobody knows who."""

    text: str
    speaker: Person | None
    thought: bool = False


@dataclass
class Reading:
    """What one sentence tells.

    Attributes:
        present: how many of each person are seen.
        actions: what they do, words of the world; who is not in it does nothing special.
        relations: between groups of people.
        place, time: words of the tale and of the world, or None where the sentence is silent.
        facing: where somebody turns or goes.
        close, wide, meeting: cues for shot and view.
    """

    sentence: Sentence
    present: dict[Person, int] = field(default_factory=dict)
    actions: dict[Person, str] = field(default_factory=dict)
    relations: list[tuple[Found, tuple[Group, Group, Group]]] = field(default_factory=list)
    quotes: list[Spoken] = field(default_factory=list)
    place: tuple[str, str] | None = None
    time: str | None = None
    facing: dict[Person, Facing] = field(default_factory=dict)
    close: bool = False
    wide: bool = False
    meeting: bool = False
    subject: Group = ()


def read_tale_text(text: str, cast: Cast) -> list[Reading]:
    """All sentences of a tale; ``cast`` learns everybody on the way."""
    story = sentences(text)
    names = find_names(story) | frozenset(
        character.name for character in cast.given.values() if len(character.name.split()) == 1
    )
    readings: list[Reading] = []
    for sentence in story:
        readings.append(_Clauses(sentence, cast, names, readings).read())
    _settle_speakers(readings)
    return readings


class _Clauses:
    """Reads one sentence from left to right."""

    def __init__(self, sentence: Sentence, cast: Cast, names: frozenset[str], before: Sequence[Reading]) -> None:
        self.tokens = sentence.tokens
        self.cast = cast
        self.before = before
        self.reading = Reading(sentence)
        self.names = names
        self.mentions = find_mentions(self.tokens, names)
        self.groups: list[Group] = [()] * len(self.mentions)
        self.subject: Group = ()
        self.waiting: str | None = None  # a verb before its subject: "there stood a fox"
        self.verb_at = -1
        self.last: tuple[int, bool] | None = None  # the last mention's number, and whether it was a subject

    def read(self) -> Reading:
        starts = {mention.start: number for number, mention in enumerate(self.mentions)}
        index = 0
        while index < len(self.tokens):
            number = starts.get(index)
            if number is not None:
                self._mention(number)
                index = max(index + 1, self.mentions[number].end)
                continue
            self._word(index)
            index += 1
        self._finish()
        return self.reading

    def _mention(self, number: int) -> None:
        mention = self.mentions[number]
        before = self.tokens[mention.start - 1] if mention.start else None
        absent = self._absent(mention)
        if self._predicate(mention):
            return
        group = self.cast.resolve(mention, fresh=not absent)
        if absent or not group:
            return
        self.groups[number] = group
        for person, count in group:
            self.reading.present[person] = max(count, self.reading.present.get(person, 0))
        word = before.lower if before is not None else ""
        subject = self._is_subject(number, word)
        if subject:
            joined = self.last is not None and self.last[1] and self._touches(self.last[0], number)
            self.subject = merge([self.subject, group]) if joined else group
            if self.waiting:
                self._act(group, self.waiting)
                self.waiting = None if not self._touches_next(number) else self.waiting
        elif word == "with" and self.subject:
            for person, _ in group:
                self.reading.actions.setdefault(person, self.reading.actions.get(self.subject[0][0], "stands"))
        self.last = (number, subject)
        self.cast.remember(group)
        if subject:
            self.reading.subject = self.reading.subject or self.subject

    def _is_subject(self, number: int, word: str) -> bool:
        mention = self.mentions[number]
        if self.last is not None and self._touches(self.last[0], number):
            return self.last[1] and not (self._verb_follows(mention) and self.verb_at > self.mentions[self.last[0]].end)
        if word in _PREPOSITIONS:
            return False
        if self.waiting is not None:
            return True
        if self.verb_at < 0:
            return True
        opening = word in _LINKS or word == QUOTE or word in (":", ".", "!", "?")
        return opening and self._verb_follows(mention)

    def _touches(self, one: int, other: int) -> bool:
        """Whether ``and`` joins two mentions, or a comma in a list that ``and`` ends."""
        between = [token.lower for token in self.tokens[self.mentions[one].end : self.mentions[other].start]]
        if between in (["and"], ["or"], [",", "and"], [",", "or"]):
            return True
        return between == [","] and other + 1 < len(self.mentions) and self._touches(other, other + 1)

    def _touches_next(self, number: int) -> bool:
        return number + 1 < len(self.mentions) and self._touches(number, number + 1)

    def _verb_follows(self, mention: Mention) -> bool:
        for token in self.tokens[mention.end : mention.end + 3]:
            if token.lower in ACTIONS or self._leaves(mention.end):
                return True
            if not token.is_word or token.lower in _PREPOSITIONS:
                return False
        return False

    def _predicate(self, mention: Mention) -> bool:
        """``Ruby was a small fox`` and ``her name was Ruby`` tell about somebody; nobody new comes."""
        before = [token.lower for token in self.tokens[max(0, mention.start - 3) : mention.start]]
        if not before or before[-1] not in ("was", "is", "were", "are"):
            return bool(before) and before[-1] in ("like", "as") and not mention.pronoun
        if mention.names and "name" in before:
            owner = self._owner(mention.start)
            if owner is not None:
                self.cast.christen(owner, mention.names[0])
                self.reading.present.setdefault(owner, owner.count)
                self.cast.remember(((owner, owner.count),))
                return True
        if self.subject and mention.kind is not None and "there" not in before and not mention.definite:
            for person, _ in self.subject:
                person.meet(mention)
            return True
        return False

    def _owner(self, end: int) -> Person | None:
        """Whose name it is: ``the fox's name``, ``her name``."""
        for token in reversed(self.tokens[:end]):
            if token.possessive:
                from magicgen.planning.words import KINDS

                kind = KINDS.get(token.lower)
                fitting = [p for p in self.cast.people if kind and p.kind == kind[0] and not p.name]
                return fitting[-1] if fitting else None
        recent = [person for person in self.cast.recent if person.count == 1]
        return recent[-1] if recent else None

    def _absent(self, mention: Mention) -> bool:
        words = [token.lower for token in self.tokens[max(0, mention.start - 4) : mention.start]]
        if words[-1:] and words[-1] in ABSENT_CUES:
            return True
        if words[-2:] in (["looked", "for"], ["looking", "for"], ["searched", "for"], ["searching", "for"]):
            return True
        imagined = [word for word in words if word in _IMAGINED]
        return bool(imagined) and words[-1] in ("of", "about", "from", "for")

    def _word(self, index: int) -> None:
        token = self.tokens[index]
        word = token.lower
        if word in CLOSE_CUES:
            self.reading.close = True
        if word in WIDE_CUES:
            self.reading.wide = True
        if word in MEETING:
            self.reading.meeting = True
        if not token.is_word:
            if word in (";", ":"):
                self.verb_at = self.verb_at if word == ":" else -1
            return
        action = "walks" if self._leaves(index) else ACTIONS.get(word)
        if action is None or self._idle(index):
            self._belonging(index)
            return
        self.verb_at = index
        self._wearing(index)
        if self.subject:
            self._act(self.subject, action)
        else:
            self.waiting = action

    def _leaves(self, index: int) -> bool:
        """``left`` as a verb."""
        if index >= len(self.tokens) or self.tokens[index].lower != "left" or index == 0:
            return False
        before = self.tokens[index - 1].lower
        after = self.tokens[index + 1].lower if index + 1 < len(self.tokens) else ""
        return (
            before not in ("the", "on", "to", "at", "his", "her", "its", "far", "was", "were", "is") and after != "of"
        )

    def _idle(self, index: int) -> bool:
        """Verbs that nobody does: negated, wished for, or a word before a noun (``the dancing bear``)."""
        before = [token.lower for token in self.tokens[max(0, index - 3) : index]]
        if any(word in ("not", "never", "cannot") or word.endswith(("n't", "n\u2019t")) for word in before):
            return True
        if before[-1:] == ["to"] and any(word in _WISHES for word in before):
            return True
        return before[-1:] in (["the"], ["a"], ["an"], ["of"], ["for"])

    def _act(self, group: Group, action: str) -> None:
        for person, _ in group:
            known = self.reading.actions.get(person, "stands")
            if weight(action) >= weight(known):
                self.reading.actions[person] = action

    def _wearing(self, index: int) -> None:
        """``she wore a blue hat``: part of the looks from the beginning."""
        if self.tokens[index].lower in _WORN or self._puts_on(index):
            found = accessory_at(self.tokens, index + (2 if self._puts_on(index) else 1))
            if found is not None and found[0].accessory:
                for person, _ in self.subject:
                    person.looks = person.looks.over(found[0])

    def _puts_on(self, index: int) -> bool:
        return self.tokens[index].lower in ("put", "puts") and self.tokens[index + 1 : index + 2] == (Token("on"),)

    def _belonging(self, index: int) -> None:
        """``his blue hat``, ``Ruby's blue hat``."""
        token = self.tokens[index]
        owner: Person | None = None
        if token.lower in _OWN:
            recent = [person for person in self.cast.recent if person.count == 1]
            owner = self.subject[0][0] if self.subject else (recent[-1] if recent else None)
        elif token.possessive:
            owner = next((p for p in self.cast.people if token.text in (p.name, p.noun)), None)
        found = accessory_at(self.tokens, index + 1) if owner is not None else None
        if owner is not None and found is not None and found[0].accessory:
            looks, end = found
            after = [token.lower for token in self.tokens[end : end + 2]]
            if len(after) == 2 and after[0] in ("was", "is") and after[1] in COLOURS:
                looks = replace(looks, accessory_colour=COLOURS[after[1]].word)
            owner.looks = owner.looks.over(looks)

    def _finish(self) -> None:
        reading = self.reading
        text = skeleton(self.tokens, self.mentions)
        for found in find_relations(text):
            sides = tuple(
                merge([self.groups[number] for number in numbers if self.groups[number]])
                for numbers in (found.first, found.second, found.third)
            )
            if sides[0] and (sides[1] or not found.second):
                reading.relations.append((found, (sides[0], sides[1], sides[2])))
        free = [token for token in self.tokens if not self._inside(token)]
        reading.place, reading.time = scenery(free, self.cast_words())
        self._directions()
        for index, token in enumerate(self.tokens):
            if token.quote >= 0:
                self._spoken(index)
        for number in re.findall(_GONE, text):
            for person, _ in self.groups[int(number)]:
                reading.present.pop(person, None)
                reading.actions.pop(person, None)
        if reading.subject:
            self.cast.focus = reading.subject
        if len(reading.present) > 1:
            self.cast.together = list(reading.present)

    def cast_words(self) -> frozenset[str]:
        """Words that people are called by, which are no places here."""
        return frozenset(person.name.lower() for person in self.cast.people if person.name)

    def _inside(self, token: Token) -> bool:
        place = next(index for index, other in enumerate(self.tokens) if other is token)
        return any(mention.start <= place < mention.end for mention in self.mentions)

    def _directions(self) -> None:
        words = [token.lower for token in self.tokens]
        for index, word in enumerate(words):
            if word not in ("left", "right", "leftwards", "rightwards") or index == 0:
                continue
            side: Facing = "left" if word.startswith("left") else "right"
            after = words[index + 1] if index + 1 < len(words) else ""
            toward = words[max(0, index - 3) : index]
            turning = any(w.startswith(("turn", "look", "face", "point")) for w in toward)
            going = any(ACTIONS.get(w) in ("walks", "runs") for w in toward)
            if (after != "of" and (turning or going) and "to" in toward) or word.endswith("wards"):
                for person, _ in self.subject:
                    self.reading.facing[person] = side
        if any(words[i : i + 2] in (["looked", "away"], ["turned", "away"]) for i in range(len(words))):
            for person, _ in self.subject:
                self.reading.facing[person] = "away"

    def _spoken(self, index: int) -> None:
        quote = self.reading.sentence.quotes[self.tokens[index].quote]
        speaker, thought = self._speaker(index)
        if quote.speaker and speaker is None:
            group = self.groups[0] if self.groups else ()
            speaker = group[0][0] if group else None
        if speaker is not None:
            self.reading.present.setdefault(speaker, 1)
            if not thought:
                self._act(((speaker, 1),), "talks")
        self.reading.quotes.append(Spoken(quote.text, speaker, thought))

    def _speaker(self, index: int) -> tuple[Person | None, bool]:
        """Who is named beside the quotation at ``index``, and whether he only thinks."""
        after = self._beside(range(index + 1, min(len(self.tokens), index + 9)))
        if after[0] is not None:
            return after
        before = self._beside(range(index - 1, max(-1, index - 16), -1))
        if before[0] is not None:
            return before
        return (self.subject[0][0] if self.subject else None), False

    def _beside(self, places: range) -> tuple[Person | None, bool]:
        verb: int | None = None
        for place in places:
            token = self.tokens[place]
            if token.quote >= 0:
                break
            if token.lower in SPEECH and not self._covered(place):
                verb = place
                break
        if verb is None:
            return None, False
        thought = self.tokens[verb].lower in THINKING
        near = sorted(
            (number for number in range(len(self.mentions)) if self.groups[number]),
            key=lambda number: min(abs(self.mentions[number].start - verb), abs(self.mentions[number].end - 1 - verb)),
        )
        behind = [n for n in near if self.mentions[n].start == verb + 1]
        ahead = [n for n in near if self.mentions[n].end <= verb and not self._objective(n)]
        at_once = [n for n in ahead if self.mentions[n].end == verb]
        chosen = at_once or behind or ahead
        return (self.groups[chosen[0]][0][0], thought) if chosen else (None, thought)

    def _objective(self, number: int) -> bool:
        start = self.mentions[number].start
        return start > 0 and self.tokens[start - 1].lower in _PREPOSITIONS

    def _covered(self, place: int) -> bool:
        return any(mention.start <= place < mention.end for mention in self.mentions)


def weight(action: str) -> int:
    """Of two things that somebody does in one panel the heavier is shown, of equal ones the later."""
    return {"stands": 0, "talks": 1}.get(action, 2)


def _settle_speakers(readings: Sequence[Reading]) -> None:
    """Quotations that nobody is named for: the subject of the sentence before in the same paragraph, else whoever
    spoke before the last speaker, as in a conversation."""
    spoken: list[Person] = []
    for number, reading in enumerate(readings):
        for quote in reading.quotes:
            if quote.speaker is None:
                previous = readings[number - 1] if number else None
                near = previous is not None and previous.sentence.paragraph == reading.sentence.paragraph
                if near and previous is not None and previous.subject and not previous.quotes:
                    quote.speaker = previous.subject[0][0]
                elif near and previous is not None and previous.quotes:
                    quote.speaker = previous.quotes[-1].speaker
                else:
                    others = [person for person in reversed(spoken) if person is not spoken[-1]]
                    quote.speaker = others[0] if others else (spoken[-1] if spoken else None)
            if quote.speaker is not None:
                reading.present.setdefault(quote.speaker, 1)
                if not quote.thought:
                    reading.actions.setdefault(quote.speaker, "talks")
                spoken.append(quote.speaker)
