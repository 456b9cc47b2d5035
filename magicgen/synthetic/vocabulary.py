"""The closed vocabulary of the storybook world: every word that a caption, a local prompt or a plan for it may use.

A text encoder with one embedding per word is built over :data:`VOCABULARY`, so the tuple is part of the format of
trained weights: words are never removed or renamed, and a new word means a new table.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COLOUR_WORDS = _words(
    """
    red orange yellow green blue purple pink brown black white gray golden teal silver
    """
)
KIND_WORDS = _words(
    """
    fox bear rabbit cat dog mouse pig lion panda frog monkey elephant sheep owl penguin duck robot girl boy woman
    man king queen princess wizard knight witch
    """
)
ACCESSORY_WORDS = _words(
    """
    hat cap scarf crown glasses bow cape backpack balloon flower umbrella helmet wand
    """
)
CLOTHES_WORDS = _words(
    """
    shirt dress coat robe armor trousers
    """
)
SHAPE_WORDS = _words(
    """
    circle ellipse square box triangle star heart pentagon hexagon diamond ring cross blob letter crescent gear
    arrow leaf frame cloud
    """
)
TEXTURE_WORDS = _words(
    """
    plain striped checked dotted marbled wavy noisy spotted shaded brick wooden photo
    """
)
PLACE_WORDS = _words(
    """
    meadow forest sea beach town room mountains desert snow garden castle sky river space cave farm park lake road
    house bedroom kitchen school island field hill bridge tree
    """
)
TIME_WORDS = _words(
    """
    day night morning evening sunset sunny cloudy rainy winter summer autumn moon sun stars
    """
)
ACTION_WORDS = _words(
    """
    walks runs stands stays still jumps waves turns spins bounces moves slides flies falls rises rolls grows shrinks
    comes goes leaves returns looks sits sleeps dances talks plays holds meets smiles happy sad floats hides
    """
)
RELATION_WORDS = _words(
    """
    left right above below behind front beside near between under over inside on in at of to from with by up down
    away closer farther around across through into out middle center top bottom side back facing toward forward
    viewer
    """
)
COUNT_WORDS = _words(
    """
    one two three four five six seven eight many several nobody nothing
    """
)
LOOK_WORDS = _words(
    """
    small big tall tiny dark light bright slowly quickly camera pans zooms picture scene drawing view quarter wide
    close shot storybook background textured pattern colorful bricks stripes clouds wall
    """
)
STOP_WORDS = _words(
    """
    a an the and is are it its his her their while then other each wearing who there
    """
)

VOCABULARY: tuple[str, ...] = tuple(
    sorted(
        {
            *COLOUR_WORDS,
            *KIND_WORDS,
            *ACCESSORY_WORDS,
            *CLOTHES_WORDS,
            *SHAPE_WORDS,
            *TEXTURE_WORDS,
            *PLACE_WORDS,
            *TIME_WORDS,
            *ACTION_WORDS,
            *RELATION_WORDS,
            *COUNT_WORDS,
            *LOOK_WORDS,
            *STOP_WORDS,
        }
    )
)
"""Every word, sorted, lower case, each once."""
