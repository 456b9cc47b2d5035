"""Sentences of a tale that keep quotations whole, and their words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from magicgen.planning.wordlist import words_of

QUOTE = '"'
"""Stands for a quotation among a sentence's tokens."""

_OPEN = {"\u201c": "\u201d", "\u00ab": "\u00bb", "\u201e": "\u201c\u201d", '"': '"'}
_SHORT = words_of("mr mrs ms dr st prof no vs etc jr sr")
_TOKEN = re.compile(r"\"\d+\"|[^\W\d_]+(?:['\u2019][^\W\d_]+)?|\d+|[,.;:!?\u2026()]")
_SCRIPT_LINE = re.compile(r"^([A-Z][\w.' ]{0,38}?)\s*:\s+(\S.*)$")
_RULE = re.compile(r"^\s*(?:[-*_=~]\s*){3,}$")


@dataclass(frozen=True)
class Quote:
    """Words that are spoken; ``speaker`` where the text says so in the manner of a script (``Ruby: Hello!``)."""

    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Token:
    """A word, a number, a sign, or a quotation (``text`` is QUOTE, ``quote`` its index)."""

    text: str
    quote: int = -1
    possessive: bool = False

    @property
    def lower(self) -> str:
        """Lower case."""
        return self.text.lower()

    @property
    def is_word(self) -> bool:
        """Neither a sign nor a quotation."""
        return self.text[0].isalnum()


@dataclass(frozen=True)
class Sentence:
    """A sentence with its quotations.

    Attributes:
        text: as written.
        tokens: words and signs outside of quotations, each quotation as one token.
        quotes: what is spoken.
        paragraph: number of the paragraph.
    """

    text: str
    tokens: tuple[Token, ...]
    quotes: tuple[Quote, ...]
    paragraph: int

    @property
    def words(self) -> int:
        """Words outside of quotations."""
        return sum(token.is_word for token in self.tokens)


def sentences(text: str) -> tuple[Sentence, ...]:
    """All sentences in order; no word is lost."""
    found: list[Sentence] = []
    for number, paragraph in enumerate(_paragraphs(text)):
        script = _SCRIPT_LINE.match(paragraph)
        if script and len(script.group(1).split()) <= 4:
            spoken = script.group(2).strip().strip('"\u201c\u201d')
            name = script.group(1).strip()
            tokens = (*_tokens(name), Token(":"), Token(QUOTE, 0))
            found.append(Sentence(paragraph, tokens, (Quote(spoken, name),), number))
            continue
        masked, quotes = _mask(paragraph)
        for piece in _split(masked, quotes):
            indices = [int(mark) for mark in re.findall(r"\"(\d+)\"", piece)]
            shown = piece
            for mark in indices:
                shown = shown.replace(f'"{mark}"', quotes[mark], 1)
            local = {mark: position for position, mark in enumerate(indices)}
            tokens = tuple(
                Token(QUOTE, local[int(token.text[1:-1])]) if token.text.startswith(QUOTE) else token
                for token in _tokens(piece)
            )
            spoken_words = tuple(Quote(_inner(quotes[mark])) for mark in indices)
            found.append(Sentence(shown, tokens, spoken_words, number))
    return tuple(found)


def _paragraphs(text: str) -> Iterator[str]:
    """Blocks between empty lines; a line of a script stands alone."""
    block: list[str] = []
    for line in [*text.split("\n"), ""]:
        plain = line.strip()
        plain = "" if _RULE.match(line) else plain
        alone = bool(_SCRIPT_LINE.match(plain))
        if block and (not plain or alone):
            yield " ".join(block)
            block = []
        if alone:
            yield plain
        elif plain:
            block.append(plain)


def _mask(text: str) -> tuple[str, list[str]]:
    """Quotations replaced by ``"index"``, and the quotations with their marks."""
    quotes: list[str] = []
    result: list[str] = []
    position = 0
    while position < len(text):
        sign = text[position]
        end = _closing(text, position)
        if end is None:
            result.append(" " if sign == QUOTE else sign)  # a mark that nobody closes
            position += 1
            continue
        quotes.append(text[position : end + 1])
        result.append(f'"{len(quotes) - 1}"' if not result or result[-1].isspace() else f' "{len(quotes) - 1}"')
        position = end + 1
    return "".join(result), quotes


def _closing(text: str, start: int) -> int | None:
    """Where the quotation that begins at ``start`` ends."""
    sign = text[start]
    if sign in _OPEN:
        ends = [place for mark in _OPEN[sign] if (place := text.find(mark, start + 1)) > start + 1]
        return min(ends) if ends else None
    if sign in "'\u2018" and (start == 0 or text[start - 1] in " (\u2014-"):
        for match in re.finditer(r"['\u2019](?=$|[\s.,;:!?)\u2014-])", text[start + 1 :]):
            inner = text[start + 1 : start + 1 + match.start()]
            if inner and (inner[-1] in ".,!?\u2026-" or sign == "\u2018"):
                return start + 1 + match.start()
    return None


def _inner(quote: str) -> str:
    inner = quote[1:-1].strip()
    return inner[:-1] + "." if inner.endswith(",") else inner


def _split(text: str, quotes: list[str]) -> Iterator[str]:
    """Split where a sentence ends: after a stop before a capital, or after a quotation that ends with one and that no
    word in lower case (or a speaker with his verb) follows."""
    start = 0
    ends = re.finditer(r"(?:[.!?\u2026]+[)\"]*(?=\s|$))|(?:\"\d+\"(?=\s|$))", text)
    for match in ends:
        after = text[match.end() :].lstrip()
        if not after:
            break
        if match.group().startswith(QUOTE) and match.group()[1:-1].isdigit():
            spoken = quotes[int(match.group()[1:-1])]
            if spoken[-2:-1] not in ".!?\u2026" or _continues(after):
                continue
        else:
            word = re.search(r"([^\W\d_]+)\.$", text[start : match.end()])
            if word and (word.group(1).lower() in _SHORT or len(word.group(1)) == 1):
                continue
            if after[0].islower():
                continue
        yield text[start : match.end()].strip()
        start = match.end()
    rest = text[start:].strip()
    if rest:
        yield rest


def _continues(after: str) -> bool:
    """Whether the words after a quotation belong to it: ``said the fox``, ``the fox said``, ``Ruby said``."""
    from magicgen.planning.verbs import SPEECH

    if after[0].islower():
        return True
    clause = re.split(r"[.,;!?\"]", after, maxsplit=1)[0].split()
    return any(word.lower() in SPEECH for word in clause[:5])


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        word = match.group()
        for mark in ("'s", "\u2019s"):
            if word.lower().endswith(mark) and len(word) > 2:
                word = word[: -len(mark)]
                yield Token(word, possessive=True)
                break
        else:
            yield Token(word)
