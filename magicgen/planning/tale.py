"""Reading a tale: plain text in a file, with limits that keep a book a book."""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from magicgen.errors import StoryError

MAX_WORDS = 3_000
MAX_BYTES = 1024**2
MAX_TITLE_WORDS = 10


@dataclass(frozen=True)
class Tale:
    """A title (may be empty) and the text without it."""

    title: str
    text: str

    @property
    def words(self) -> int:
        """How many words the text has; signs of scripts without spaces count as words."""
        return count_words(self.text)


def read_tale(path: str | os.PathLike[str]) -> Tale:
    """Read a text file. A first line that begins with ``#``, or a short one without a full stop before an empty line,
    is the title; without one the file's name is.

    Raises:
        StoryError: no such file, not UTF-8 text, empty, or longer than :data:`MAX_WORDS` words.
    """
    source = Path(path)
    try:
        if source.is_file() and source.stat().st_size > MAX_BYTES:
            raise StoryError(f"{source} is larger than 1 MiB; a tale has at most {MAX_WORDS} words. Tell it in parts.")
        text = source.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StoryError(f"There is no tale {source}. Check the path.") from None
    except UnicodeDecodeError:
        raise StoryError(f"{source} is not UTF-8 text; expected a plain text file.") from None
    except OSError as error:
        raise StoryError(f"{source} cannot be read ({error.strerror}).") from None
    tale = tale_from_text(text, str(source))
    return tale if tale.title else Tale(source.stem.replace("_", " ").replace("-", " ").strip().capitalize(), tale.text)


def tale_from_text(text: str, source: str = "the tale") -> Tale:
    """The same from a string; the title may be empty.

    Raises:
        StoryError: empty or too long.
    """
    clean = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    clean = "".join(sign for sign in clean if sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cs", "Cf"))
    title, body = _split_title(clean.strip())
    if not any(sign.isalnum() for sign in body):
        raise StoryError(f"{source} is empty; expected a few sentences, such as 'A red fox walks in the forest.'")
    tale = Tale(title, body)
    if tale.words > MAX_WORDS:
        raise StoryError(
            f"{source} has {tale.words} words; a picture story has at most {MAX_WORDS}. Split it into chapters "
            "and make one book of each."
        )
    return tale


def count_words(text: str) -> int:
    """Words with spaces between them; each sign of Chinese, Japanese and Thai for itself."""
    dense = sum(1 for sign in text if "\u0e00" <= sign <= "\u0e7f" or "\u3040" <= sign <= "\u9fff")
    return dense + len(re.findall(r"[^\W_\u0e00-\u0e7f\u3040-\u9fff]+", text))


def _split_title(text: str) -> tuple[str, str]:
    first, _, rest = text.partition("\n")
    line = first.strip()
    if line.startswith("#"):
        return line.lstrip("# ").strip()[:200], rest.strip()
    headline = len(line.split()) <= MAX_TITLE_WORDS and not re.search(r"[.!?:,;\"\u201d\u2026]$", line)
    if line and rest.strip() and headline and rest.startswith("\n"):
        return line[:200], rest.strip()
    return "", text
