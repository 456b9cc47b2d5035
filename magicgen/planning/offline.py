"""The planner that needs nothing: rules of English, the same plan every time."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from magicgen.control.story import (
    MAX_BALLOONS,
    MAX_CAPTION,
    MAX_CHARACTERS,
    Balloon,
    Character,
    Facing,
    Panel,
    Shot,
    StoryPage,
    Subject,
)
from magicgen.errors import StoryError
from magicgen.planning.boxes import Sitter, arrange
from magicgen.planning.captions import caption_of
from magicgen.planning.cast import Cast, Group, Person, description_of, singular
from magicgen.planning.protocol import Plan, PlanOptions
from magicgen.planning.reader import Reading, read_tale_text, weight
from magicgen.planning.relations import AtLeft, AtRight, Between, Found, InMiddle, LeftOf, Near, Relation
from magicgen.planning.strangers import strangers
from magicgen.planning.tale import Tale
from magicgen.planning.words import (
    ACCESSORIES,
    ADULTS,
    BIG,
    FUNCTION_WORDS,
    PLACES,
    SMALL,
    article_of,
    place_phrase,
    with_article,
)

_USUAL_PLACE, _USUAL_TIME = ("meadow", "meadow"), "day"
_PANEL_WORDS = 40
_BALLOON_SIGNS = 90
_LEAST_ENGLISH = 0.2


@dataclass
class _Beat:
    """Neighbouring sentences that share a panel, with the scene they happen in."""

    readings: list[Reading]
    place: tuple[str, str]
    time: str
    present: dict[Person, int] = field(default_factory=dict)

    @property
    def words(self) -> int:
        return sum(reading.sentence.words for reading in self.readings)

    @property
    def quotes(self) -> int:
        return sum(len(reading.quotes) for reading in self.readings)

    @property
    def actions(self) -> dict[Person, str]:
        actions: dict[Person, str] = {}
        for reading in self.readings:
            for person, action in reading.actions.items():
                if weight(action) >= weight(actions.get(person, "stands")):
                    actions[person] = action
        return actions


class OfflinePlanner:
    """Reads a tale in English with rules. See docs/story.md for what it understands."""

    def plan(self, tale: Tale, options: PlanOptions) -> Plan:
        """See :class:`~magicgen.planning.protocol.Planner`."""
        _check_english(tale)
        cast = Cast({character.name.lower(): character for character in options.characters})
        readings = read_tale_text(tale.text, cast)
        cast.settle()
        beats = _beats(readings, options.max_panels)
        warnings: list[str] = []
        labels = cast.labels()
        rng = np.random.default_rng([options.seed, *hashlib.sha256(tale.text.encode("utf-8")).digest()[:8]])
        panels = tuple(
            _panel(beat, number, labels, options, rng, warnings) for number, beat in enumerate(beats, start=1)
        )
        shown = {subject.character for panel in panels for subject in panel.subjects}
        shown |= {balloon.speaker for panel in panels for balloon in panel.balloons}
        people = [person for person in cast.people if labels[person] in shown]
        if len(people) > MAX_CHARACTERS:
            raise StoryError(
                f"The tale has {len(people)} characters; a picture story has at most {MAX_CHARACTERS}. Tell it in "
                "parts."
            )
        characters = tuple(_character(person, labels[person], options) for person in people)
        warnings += _about_people(people, labels, options)
        warnings += _about_words(tale, beats, readings, options)
        if not characters:
            warnings.append("nobody was found in the tale; the panels show places only")
        page = StoryPage(title=tale.title, style=options.style, characters=characters, panels=panels)
        return Plan(page, tuple(dict.fromkeys(warnings)), {"planner": "offline", "seed": options.seed})


def _check_english(tale: Tale) -> None:
    words = re.findall(r"[^\W\d_]+", tale.text.lower())
    known = sum(word in FUNCTION_WORDS for word in words)
    if not words or (known < _LEAST_ENGLISH * len(words) and known < 3):
        raise StoryError(
            f"The offline planner reads English, and knows {known} of the {len(words)} words of this tale. Tell it in "
            "English, use --planner openai, or write the plan yourself (docs/story.md)."
        )


def _beats(readings: Sequence[Reading], most: int) -> list[_Beat]:
    """Sentences with the scene that holds in them, joined into at most ``most`` beats."""
    place = next((r.place for r in readings if r.place), None) or _USUAL_PLACE
    time = next((r.time for r in readings[:3] if r.time), None) or _USUAL_TIME
    beats: list[_Beat] = []
    for reading in readings:
        place, time = reading.place or place, reading.time or time
        beats.append(_Beat([reading], place, time, dict(reading.present)))
    beats = _without_nobody(beats)
    index = 1
    while index < len(beats):
        if _belong_together(beats[index - 1], beats[index]):
            _join(beats, index)
        else:
            index += 1
    while len(beats) > most:
        _join(beats, min(range(1, len(beats)), key=lambda i: (_distance(beats[i - 1], beats[i]), i)))
    _keep_company(beats)
    return beats


def _without_nobody(beats: list[_Beat]) -> list[_Beat]:
    """Sentences that show nobody go with the next one, the last with the one before."""
    index = 0
    while index < len(beats) and len(beats) > 1:
        if beats[index].present or (beats[index].words > _PANEL_WORDS):
            index += 1
        elif index + 1 < len(beats):
            following = beats[index + 1]
            _join(beats, index + 1)
            beats[index].place, beats[index].time = following.place, following.time
        else:
            scene = beats[index - 1].place, beats[index - 1].time
            _join(beats, index)
            beats[index - 1].place, beats[index - 1].time = scene
    return beats


def _join(beats: list[_Beat], index: int) -> None:
    """Put a beat to the one before it. The scene is that of the longer part."""
    one, other = beats[index - 1], beats.pop(index)
    if other.words > one.words and other.present:
        one.place, one.time = other.place, other.time
    one.readings += other.readings
    for person, count in other.present.items():
        one.present[person] = max(count, one.present.get(person, 0))


def _belong_together(one: _Beat, other: _Beat) -> bool:
    """Whether a sentence adds to the panel before it rather than being one: speech and short additions."""
    if (one.place, one.time) != (other.place, other.time) or _clash(one, other):
        return False
    strangers_come = set(other.present) - set(one.present)
    speech = other.words <= 3 and other.quotes > 0
    moves = any(weight(action) > 1 for action in other.actions.values())
    relations = any(reading.relations for reading in other.readings)
    if one.quotes + other.quotes > 3 or one.words + other.words > _PANEL_WORDS or relations:
        return False
    if speech:
        return True
    return not strangers_come and not moves and other.words <= 8


def _clash(one: _Beat, other: _Beat) -> bool:
    """Whether two sentences show the same people in different numbers or places."""
    counts = any(one.present.get(person, count) != count for person, count in other.present.items())
    return counts or any(reading.relations for reading in one.readings if other.readings[0].relations)


def _distance(one: _Beat, other: _Beat) -> float:
    """How unlike two neighbours are; the most alike share a panel first."""
    scene = 3.0 * (one.place != other.place) + 2.0 * (one.time != other.time)
    people = len(set(one.present) ^ set(other.present))
    before, after = one.readings[-1].sentence.paragraph, other.readings[0].sentence.paragraph
    return scene + people + 1.5 * _clash(one, other) + 0.8 * (before != after) + (one.words + other.words) / 20


def _keep_company(beats: Sequence[_Beat]) -> None:
    """In a conversation the listener stays in the picture."""
    for before, beat in pairwise(beats):
        only_speech = beat.quotes > 0 and len(beat.present) == 1 and before.place == beat.place
        if only_speech and not any(weight(action) > 1 for action in beat.actions.values()):
            speaker = next(iter(beat.present))
            others = [person for person in before.present if person is not speaker]
            if speaker in before.present and len(others) == 1:
                beat.present[others[0]] = before.present[others[0]]


def _panel(
    beat: _Beat,
    number: int,
    labels: dict[Person, str],
    options: PlanOptions,
    rng: np.random.Generator,
    warnings: list[str],
) -> Panel:
    sitters = _instances(beat, number, labels, options, warnings)
    people = [person for person, _ in sitters]
    actions = beat.actions
    balloons = _balloons(beat, labels)
    shot = _shot(beat, len(sitters), number)
    poses = [_pose(actions.get(person, "stands"), options.closed) for person in people]
    drawn = [_sitter(person, pose) for person, pose in zip(people, poses, strict=True)]
    relations = tuple(dict.fromkeys(_relations(beat, people)))
    boxes, broken = arrange(drawn, relations, shot, rng, balloons=bool(balloons), aspect=options.aspect)
    if broken:
        warnings.append(f"panel {number}: not every 'left of', 'behind' and so on could be kept; move the boxes")
    facings = _facings(beat, people, poses, [(box[0] + box[2]) / 2 for box in boxes])
    subjects = []
    for person, pose, box, facing in zip(people, poses, boxes, facings, strict=True):
        prompt = local_prompt(_described(person, options), pose, facing)
        subjects.append(Subject(character=labels[person], prompt=prompt, box=box, pose=pose, facing=facing))
    return Panel(
        caption=caption_of([reading.sentence for reading in beat.readings]),
        background=_background(beat, options.closed),
        shot=shot,
        subjects=tuple(subjects),
        balloons=balloons,
    )


def _pose(action: str, closed: bool) -> str:
    """Pictures of the storybook world cannot tell running from walking."""
    return "walks" if closed and action == "runs" else action


def _balloons(beat: _Beat, labels: dict[Person, str]) -> tuple[Balloon, ...]:
    """What is said, in order; what one says in two parts of a sentence goes into one balloon."""
    found: list[Balloon] = []
    for reading in beat.readings:
        for quote in reading.quotes:
            if not quote.text.strip():
                continue
            speaker = labels[quote.speaker] if quote.speaker is not None else ""
            kind: Literal["speech", "thought"] = "thought" if quote.thought else "speech"
            text = quote.text[:MAX_CAPTION]
            last = found[-1] if found else None
            same = last is not None and (last.speaker, last.kind) == (speaker, kind)
            if last is not None and same and len(last.text) + len(text) < _BALLOON_SIGNS:
                found[-1] = Balloon(speaker=speaker, text=f"{last.text} {text}", kind=kind)
            else:
                found.append(Balloon(speaker=speaker, text=text, kind=kind))
    return tuple(found[:MAX_BALLOONS])


def local_prompt(description: str, pose: str | None, facing: Facing) -> str:
    """``a red fox with a blue hat waves facing left``: description first, in every panel the same."""
    view = "" if facing == "front" else f" facing {facing}"
    return f"{with_article(description)} {pose or 'stands'}{view}"


def _instances(
    beat: _Beat, number: int, labels: dict[Person, str], options: PlanOptions, warnings: list[str]
) -> list[tuple[Person, int]]:
    """Everybody in the panel, one entry for each that is seen."""
    counts = dict(beat.present)
    total = sum(counts.values())
    if total > options.max_subjects:
        named = ", ".join(labels[person] for person in counts)
        warnings.append(
            f"panel {number} tells of {total} characters ({named[:120]}); it shows {options.max_subjects} of them"
        )
    found: list[tuple[Person, int]] = []
    for person, count in sorted(counts.items(), key=lambda item: item[1] > 1):  # single ones before crowds
        for index in range(count):
            if len(found) < options.max_subjects:
                found.append((person, index))
    order = list(counts)
    return sorted(found, key=lambda item: order.index(item[0]))


def _sitter(person: Person, pose: str) -> Sitter:
    kind = person.kind.word if person.kind else "girl"
    said = person.looks.size or ""
    size = "small" if said in SMALL else ("big" if said in BIG else "")
    return Sitter(kind, pose, size, kind in ADULTS)


def _relations(beat: _Beat, people: Sequence[Person]) -> list[Relation]:
    """The beat's relations between indices of the panel's subjects; a crowd keeps them one by one."""
    found: list[Relation] = []
    for reading in beat.readings:
        for item, (first, second, third) in reading.relations:
            found += _between_indices(item, _indices(first, people), _indices(second, people), _indices(third, people))
    return found


def _indices(group: Group, people: Sequence[Person]) -> list[int]:
    members = [person for person, _ in group]
    return [index for index, person in enumerate(people) if person in members]


def _between_indices(item: Found, first: list[int], second: list[int], third: list[int]) -> list[Relation]:
    relation = item.relation
    if relation is Between:
        ends = (second, third) if third else (second[:1], second[1:2])
        return [Between(a, b, c) for a in first for b in ends[0][:1] for c in ends[1][:1]]
    if relation in (AtLeft, AtRight, InMiddle):
        return [relation(a) for a in first]
    if relation is LeftOf:
        return [LeftOf(a, b) for a in first for b in second if a != b]
    if relation is Near:
        return [Near(first[-1], second[0])] if first and second else []
    # one stands on, behind or above one: of crowds each has its own
    pairs = zip(first, second * len(first) if len(second) == 1 else second, strict=False)
    return [relation(a, b) for a, b in pairs if a != b]  # type: ignore[call-arg]


def _shot(beat: _Beat, count: int, number: int) -> Shot:
    wide = any(reading.wide for reading in beat.readings)
    close = any(reading.close for reading in beat.readings)
    if wide or (number == 1 and count > 0 and not beat.quotes and not close):
        return "wide"
    return "close" if close and count == 1 else "medium"


def _facings(beat: _Beat, people: Sequence[Person], poses: Sequence[str], centres: Sequence[float]) -> list[Facing]:
    """Told directions first; who meets or speaks looks at the other; who walks goes to the right, or inwards."""
    told: dict[Person, Facing] = {}
    for reading in beat.readings:
        told.update(reading.facing)
    different = len(set(people))
    together = different > 1 and (beat.quotes > 0 or any(reading.meeting for reading in beat.readings))
    middle = sum(centres) / len(centres) if centres else 0.5
    facings: list[Facing] = []
    for person, pose, centre in zip(people, poses, centres, strict=True):
        wanted = told.get(person)
        if wanted is not None:
            facings.append(wanted)
        elif together and pose in ("talks", "stands", "walks", "runs") and abs(centre - middle) > 0.05:
            facings.append("right" if centre < middle else "left")
        elif pose in ("walks", "runs"):
            facings.append("left" if centre > 0.62 and len(centres) == 1 else "right")
        else:
            facings.append("front")
    return facings


def _background(beat: _Beat, closed: bool) -> str:
    noun, place = beat.place
    if closed or noun == place:
        return place_phrase(place, beat.time)
    return f"at the {noun} {'at' if beat.time == 'night' else 'in the'} {beat.time}"


def _described(person: Person, options: PlanOptions) -> str:
    if person.given is not None and not options.closed:
        return person.given.description
    return description_of(person, options.closed)


def _character(person: Person, label: str, options: PlanOptions) -> Character:
    references = person.given.references if person.given is not None else ()
    return Character(name=label, description=_described(person, options), references=references)


def _about_people(people: Sequence[Person], labels: dict[Person, str], options: PlanOptions) -> list[str]:
    warnings = []
    for person in people:
        assert person.kind is not None
        if person.guessed:
            warnings.append(
                f"the tale does not say what {labels[person]} is; drawn as a {person.kind.word} "
                f"(write '{labels[person]} the fox', or edit the plan)"
            )
        elif options.closed and not person.kind.exact:
            drawn = description_of(replace_looks(person), True)
            warnings.append(
                f"there is no {singular(person.noun)} in the storybook world; drawn as {article_of(drawn)} {drawn}"
            )
    return warnings


def replace_looks(person: Person) -> Person:
    """The same person without what he wears."""
    return replace(person, looks=replace(person.looks, accessory=None, accessory_colour=None))


def _about_words(tale: Tale, beats: Sequence[_Beat], readings: Sequence[Reading], options: PlanOptions) -> list[str]:
    """What the storybook world draws as something else, or not at all."""
    if not options.closed:
        return []
    warnings = []
    places = {beat.place for beat in beats if not PLACES[beat.place[0]].exact}
    for noun, place in sorted(places):
        warnings.append(f"there is no '{noun}' in the storybook world; drawn as the {place}")
    for word in re.findall(r"[a-z]+", tale.text.lower()):
        meaning = ACCESSORIES.get(word)
        if meaning is not None and not meaning.exact:
            warnings.append(
                f"there is no '{word}' in the storybook world; where somebody wears it, it is a {meaning.word}"
            )
    unknown = strangers([reading.sentence for reading in readings])
    if unknown:
        warnings.append(f"unknown words, not drawn: {', '.join(unknown)}")
    return warnings
