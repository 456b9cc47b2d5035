"""Lists of words as they are best read: in one string."""


def words_of(text: str) -> frozenset[str]:
    """The words of a string, each once."""
    return frozenset(text.split())
