"""The text under a panel: the tale's own sentences without what the balloons say."""

import re
from collections.abc import Sequence

from magicgen.control.story import MAX_CAPTION
from magicgen.planning.sentences import QUOTE, Sentence
from magicgen.planning.verbs import SPEECH

_ADVERB = re.compile(r".*ly$")
_SAID = 5


def caption_of(told: Sequence[Sentence]) -> str:
    """Sentences in order; one that only says who speaks is left out, for its balloon says so."""
    kept = [text for sentence in told if (text := _narrated(sentence))]
    caption = " ".join(kept)
    return caption if len(caption) <= MAX_CAPTION else caption[: MAX_CAPTION - 1].rsplit(" ", 1)[0] + "\u2026"


def _narrated(sentence: Sentence) -> str:
    if not sentence.quotes:
        return sentence.text
    words = [token for token in sentence.tokens if token.is_word and token.text != QUOTE]
    speech = [token for token in words if token.lower in SPEECH]
    others = [token for token in words if not _ADVERB.match(token.lower)]
    if not words or sentence.quotes[0].speaker or (speech and len(others) <= _SAID):
        return ""
    # more than who speaks is told: keep the whole sentence, marks and all
    return sentence.text
