"""Bringing a language model's plan into the words that the pictures know, and every description into every prompt."""

from magicgen.control.story import Character, Panel, StoryPage, Subject
from magicgen.planning.cast import Cast, Person, describe, description_of
from magicgen.planning.offline import local_prompt
from magicgen.planning.protocol import PlanOptions
from magicgen.planning.scenery import named_scenery
from magicgen.planning.verbs import ACTIONS
from magicgen.planning.words import article_of, place_phrase, with_article


def settled(page: StoryPage, options: PlanOptions) -> tuple[StoryPage, tuple[str, ...]]:
    """The same story with given characters put in, descriptions in every prompt and, for a closed world, its words.

    Returns:
        The story, and warnings about what the storybook world draws as something else.
    """
    given = {character.name.lower(): character for character in options.characters}
    warnings: list[str] = []
    described = (
        _descriptions(page, options, warnings) if options.closed else {c.name: c.description for c in page.characters}
    )
    characters = []
    for character in page.characters:
        known = given.get(character.name.lower())
        words = described[character.name]
        if known is not None and not options.closed:
            words = described[character.name] = known.description
        references = known.references if known is not None else ()
        characters.append(Character(name=character.name, description=words, references=references))
    panels = tuple(_panel(panel, described, options, warnings) for panel in page.panels)
    changed = page.model_copy(update={"characters": tuple(characters), "panels": panels})
    return changed, tuple(dict.fromkeys(warnings))


def _descriptions(page: StoryPage, options: PlanOptions, warnings: list[str]) -> dict[str, str]:
    """Every character in the words of the storybook world."""
    given = {character.name.lower(): character.description for character in options.characters}
    cast = Cast()
    people: dict[str, Person] = {}
    for number, character in enumerate(page.characters):
        person = Person(number, character.name)
        mention = describe(given.get(character.name.lower(), character.description)) or describe(character.name)
        if mention is None:
            warnings.append(f"the storybook world does not know what '{character.description[:60]}' is")
        else:
            person.meet(mention)
            if mention.kind is not None and not mention.kind.exact:
                warnings.append(
                    f"there is no {mention.noun} in the storybook world; drawn as {article_of(mention.kind.word)} "
                    f"{mention.kind.word}"
                )
        cast.people.append(person)
        people[character.name] = person
    cast.settle()
    return {name: description_of(person, True) for name, person in people.items()}


def _panel(panel: Panel, described: dict[str, str], options: PlanOptions, warnings: list[str]) -> Panel:
    subjects = tuple(_subject(subject, described[subject.character], options.closed) for subject in panel.subjects)
    background = panel.background
    if options.closed:
        place, time = named_scenery(panel.background)
        if place is None:
            warnings.append(f"the storybook world has no place '{panel.background[:60]}'; drawn as the meadow")
        background = place_phrase(place or "meadow", time or "day")
    return panel.model_copy(update={"subjects": subjects, "background": background})


def _subject(subject: Subject, description: str, closed: bool) -> Subject:
    if closed:
        pose = next((ACTIONS[word] for word in (subject.pose or "").lower().split() if word in ACTIONS), None)
        if pose is None:
            words = subject.prompt.lower().replace(",", " ").replace(".", " ").split()
            pose = next((ACTIONS[word] for word in reversed(words) if word in ACTIONS), "stands")
        pose = "walks" if pose == "runs" else pose
        prompt = local_prompt(description, pose, subject.facing)
        return subject.model_copy(update={"prompt": prompt, "pose": pose})
    if description.lower() in subject.prompt.lower():
        return subject
    return subject.model_copy(update={"prompt": f"{with_article(description)}, {subject.prompt}"[:1000]})
