"""Captions, and the moving objects that they name."""

import csv
import json
import os
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, assert_never

from data_tools.layout import Layout
from data_tools.records import ClipRecord, Phrase, Resources
from data_tools.settings import LlmPhrases, ModelCaptions, NounPhrases, SidecarText, TextSettings
from magicgen.errors import ConfigError, GenerationFailed, WeightsError

_BREAKS = """
    a an the his her its their my our your this that these those some two three four five six seven eight nine ten one
    several many few and or but with without while as of in on at by to from into onto over under across through along
    around past near behind before beside between towards toward up down off out is are was were be been being has have
    had do does who which where when then there it he she they them him
"""
_SCENERY = """
    background foreground scene view video clip camera shot photo picture image day night sky grass road street field
    water river sea lake pool beach sand forest park room wall floor ground city garden mountain snow sun light front
    back side left right middle top bottom way other others
"""
_ACTIONS = """
    moves walks runs jumps flies swims rides drives stands sits turns rolls falls climbs dances plays goes comes crosses
    passes slides spins rises races hops leaps drifts floats glides crawls chases throws catches kicks holds looks eats
    move walk run jump fly swim ride drive stand sit turn roll fall climb dance play go come cross pass slide spin rise
    race hop leap drift float glide crawl chase throw catch kick hold look eat
"""
_VERBISH = re.compile(r"(ing|ed|ly)$")
# Words on -ing and -ed that are things or colours all the same.
_NOT_VERBS = "king ring swing string wing thing ceiling building red bed sled weed seed"


class Captioner(Protocol):
    """Says what is seen in a clip."""

    def caption(self, record: ClipRecord, clip: Path) -> tuple[str, str]:
        """(text, where it comes from); the text is empty where nothing is known."""
        ...


class PhraseFinder(Protocol):
    """Names the moving objects of a caption."""

    def phrases(self, caption: str) -> tuple[Phrase, ...]:
        """Short noun phrases, the most important first."""
        ...


class Describe:
    """Stage: adds the caption and the phrases."""

    name, version = "describe", 1

    def __init__(self, settings: TextSettings, layout: Layout) -> None:
        self.settings, self.layout = settings, layout
        self.captioner: Captioner | None = None
        self.finder: PhraseFinder | None = None

    @property
    def resources(self) -> Resources:
        """A GPU where a captioner runs on one."""
        captions = self.settings.captions
        return Resources(gpus=float(isinstance(captions, ModelCaptions) and captions.device.startswith("cuda")))

    def setup(self) -> None:
        """Load the captioner."""
        self.captioner, self.finder = _captioner(self.settings), _finder(self.settings)

    def __call__(self, record: ClipRecord) -> Sequence[ClipRecord]:
        if self.captioner is None or self.finder is None:
            self.setup()
        assert self.captioner is not None
        assert self.finder is not None
        text, origin = self.captioner.caption(record, self.layout.root / record.facts.file)
        phrases = self.finder.phrases(text) if text else ()
        return [replace(record, caption=text, caption_origin=origin, phrases=phrases)]


def _captioner(settings: TextSettings) -> Captioner:
    match settings.captions:
        case SidecarText(table=table):
            return SidecarCaptions(table)
        case ModelCaptions() as model:
            return TransformersCaptions(model)
        case _:
            assert_never(settings.captions)


def _finder(settings: TextSettings) -> PhraseFinder:
    match settings.phrases:
        case NounPhrases():
            return RulePhrases()
        case LlmPhrases() as model:
            return ChatPhrases(model)
        case _:
            assert_never(settings.phrases)


class SidecarCaptions:
    """Captions beside the video (``NAME.txt``, ``caption.txt``) or in a CSV with 'path' and 'caption' (or 'text')."""

    def __init__(self, table: Path | None = None) -> None:
        self._table = {} if table is None else _read_table(table)

    def caption(self, record: ClipRecord, clip: Path) -> tuple[str, str]:
        """The table first, then the files."""
        video = Path(record.facts.source_uri)
        for key in (str(video), str(video.resolve()), video.name):
            if key in self._table:
                return self._table[key], "table"
        for path in (video.with_suffix(".txt"), video.parent / "caption.txt"):
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace").strip()[:2000], "sidecar"
        return "", "none"


def _read_table(path: Path) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The caption table {path} cannot be read ({error}).") from error
    if not rows or "path" not in rows[0] or not {"caption", "text"} & set(rows[0]):
        raise ConfigError(f"The caption table {path} needs the columns 'path' and 'caption'; got {list(rows[:1])}.")
    entries = {row["path"]: (row.get("caption") or row.get("text") or "").strip() for row in rows}
    beside = {str((path.parent / name).resolve()): text for name, text in entries.items()}
    return {**beside, **entries}


class TransformersCaptions:
    """An image-to-text model on the middle frame."""

    def __init__(self, settings: ModelCaptions) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor = AutoProcessor.from_pretrained(settings.model)
            self._model = AutoModelForImageTextToText.from_pretrained(settings.model).to(settings.device).eval()
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"The captioner {settings.model} cannot be loaded ({str(error).splitlines()[0]}). Give a local folder "
                "or a Hub id of an image-to-text model (BLIP, Florence-2, ...) in text.captions.model."
            ) from error
        self._settings = settings

    def caption(self, record: ClipRecord, clip: Path) -> tuple[str, str]:
        """One sentence about the middle frame."""
        import torch

        from magicgen.media import read_video

        frame = read_video(clip).frames[record.facts.frames // 2]
        inputs = self._processor(images=frame, return_tensors="pt").to(self._settings.device)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=40)
        return str(self._processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip(), self._settings.model


class RulePhrases:
    """Runs of words between function words and verbs, scenery left out: crude, and needs nothing."""

    def phrases(self, caption: str) -> tuple[Phrase, ...]:
        """At most eight phrases of at most four words."""
        found: list[str] = []
        breaks, scenery = set(_BREAKS.split()), set(_SCENERY.split())
        for sentence in re.split(r"[.,;:!?()\n]", caption.lower()):
            run: list[str] = []
            for word in [*re.findall(r"[a-z][a-z'-]*", sentence), ""]:
                if word and word not in breaks and not _is_verb(word):
                    run.append(word)
                    continue
                if run and run[-1] not in scenery:
                    found.append(" ".join(run[-4:]))
                run = []
        return tuple(Phrase(text, "rule") for text in list(dict.fromkeys(found))[:8])


def _is_verb(word: str) -> bool:
    if word in _ACTIONS.split():
        return True
    return bool(_VERBISH.search(word)) and word not in _NOT_VERBS.split() and len(word) > 3


class ChatPhrases:
    """A language model behind an OpenAI-compatible chat address."""

    _ASK = (
        "List the main moving foreground objects of this video caption as short noun phrases, most important first. "
        "Answer with a JSON array of strings and nothing else.\n\nCaption: "
    )

    def __init__(self, settings: LlmPhrases) -> None:
        self._settings = settings

    def phrases(self, caption: str) -> tuple[Phrase, ...]:
        """Raises:
        GenerationFailed: the address does not answer, or not with a list.
        """
        body = {"model": self._settings.model, "messages": [{"role": "user", "content": self._ASK + caption}]}
        headers = {"Content-Type": "application/json"}
        if self._settings.key_variable:
            headers["Authorization"] = f"Bearer {os.environ.get(self._settings.key_variable, '')}"
        url = self._settings.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, json.dumps({**body, "temperature": 0}).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                content: Any = json.load(reply)["choices"][0]["message"]["content"]
            listed = json.loads(content[content.index("[") : content.rindex("]") + 1])
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise GenerationFailed(f"{url} gave no list of phrases for a caption ({error}).") from error
        return tuple(Phrase(str(text)[:80], "llm") for text in listed[:8] if str(text).strip())
