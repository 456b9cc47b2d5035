"""The planner that asks a language model behind any endpoint that speaks OpenAI's chat completions.

The answer is data: it goes through the same check as a file, may name no file, and is never evaluated. What the check
finds is told to the model, which may answer again. Answers are kept in a folder, so that the same question is asked
once. The key is read from the environment and goes to the endpoint only.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from magicgen.control.story import StoryPage, story_from_values
from magicgen.control.story_layout import overlaps
from magicgen.errors import GenerationFailed, MediaError, StoryError
from magicgen.media import write_json
from magicgen.planning.chat_prompt import answer_schema, first_messages, second_message
from magicgen.planning.chat_settle import settled
from magicgen.planning.protocol import Plan, PlanOptions
from magicgen.planning.tale import Tale

T = TypeVar("T")

OFFICIAL = "https://api.openai.com/v1"
MAX_ANSWER = 400_000
_NOT_FROM_A_MODEL = {"references": "characters", "sketch": "subjects", "seed": "panels"}
_HIDDEN = 0.9
"""Share of the smaller box from which an overlap is refused."""


class PlannerFailed(GenerationFailed):
    """The endpoint is down, refuses, or does not come to a usable answer."""


@dataclass(frozen=True)
class ChatSettings:
    """Which endpoint is asked, and how.

    Attributes:
        model: its name there.
        base_url: such as ``http://localhost:11434/v1``.
        api_key: never shown, logged or stored.
        temperature: of the sampling; the seed comes with the plan's options.
        timeout_s: seconds for one answer, from question to last word.
        attempts: how often the model is asked until an answer passes the check.
    """

    model: str
    base_url: str = OFFICIAL
    api_key: str = field(default="none", repr=False)
    temperature: float = 0.2
    timeout_s: float = 60.0
    attempts: int = 3

    @classmethod
    def from_environment(
        cls, *, model: str | None, base_url: str | None, temperature: float = 0.2, timeout_s: float = 60.0
    ) -> "ChatSettings":
        """Settings with what the environment knows: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ``OPENAI_MODEL``.

        Raises:
            StoryError: no model is named, the address is none, or the official endpoint is asked without a key.
        """
        url = (base_url or os.environ.get("OPENAI_BASE_URL") or OFFICIAL).rstrip("/")
        name = model or os.environ.get("OPENAI_MODEL")
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoryError(f"--planner-url {_shown_url(url)}: expected an address such as http://localhost:11434/v1.")
        if not name:
            raise StoryError("--planner openai needs the model's name: --planner-model NAME (or OPENAI_MODEL).")
        if not key and url == OFFICIAL:
            raise StoryError(
                "--planner openai needs a key in the variable OPENAI_API_KEY, or --planner-url of a server "
                "of your own. "
                "--planner offline needs neither."
            )
        return cls(name, url, key or "none", temperature, timeout_s)

    @property
    def shown_url(self) -> str:
        """The address without user, password and query."""
        return _shown_url(self.base_url)


class ChatPlanner:
    """See the module. ``cache`` is a folder for answers, or None to keep none."""

    def __init__(self, settings: ChatSettings, cache: Path | None = None) -> None:
        self.settings, self.cache = settings, cache

    @property
    def identity(self) -> str:
        """What decides the plans beside tale and options."""
        settings = self.settings
        return f"openai {settings.model} {settings.shown_url} {settings.temperature:g}"

    def plan(self, tale: Tale, options: PlanOptions) -> Plan:
        """See :class:`~magicgen.planning.protocol.Planner`.

        Raises:
            PlannerFailed: the endpoint is down or too slow, refuses, or its last answer was still wrong.
            StoryError: the package ``openai`` is missing.
        """
        messages = first_messages(tale, options)
        schema = answer_schema(options)
        question = hashlib.sha256(
            json.dumps([self.identity, options.seed, messages, schema], sort_keys=True).encode("utf-8")
        ).hexdigest()[:24]
        record: dict[str, Any] = {
            "planner": "openai",
            "model": self.settings.model,
            "url": self.settings.shown_url,
            "temperature": self.settings.temperature,
            "seed": options.seed,
        }
        kept = self._kept(question)
        if kept is not None:
            try:
                page = _checked(kept, tale, options)
                return _plan(page, options, {**record, "cached": True})
            except StoryError:
                pass  # kept by an older version, or edited into something wrong: ask again
        values, page, attempts = self._asked(messages, schema, tale, options)
        self._keep(question, record, values)
        return _plan(page, options, {**record, "cached": False, "attempts": attempts})

    def _asked(
        self, messages: list[dict[str, str]], schema: dict[str, Any], tale: Tale, options: PlanOptions
    ) -> tuple[dict[str, Any], StoryPage, int]:
        """The first answer that passes the check, its page, and how many were needed."""
        client = self._client()
        talk = list(messages)
        wrong = ""
        for attempt in range(1, self.settings.attempts + 1):
            answer = self._answer(client, talk, schema, options.seed)
            try:
                values = _parsed(answer)
                return values, _checked(values, tale, options), attempt
            except StoryError as error:
                wrong = str(error)
            talk = [*messages, {"role": "assistant", "content": answer[:20_000]}, second_message(wrong)]
        raise PlannerFailed(
            f"The model {self.settings.model} did not come to a usable plan in {self.settings.attempts} "
            "answers. The last "
            f"one: {self._clean(wrong)[:600]} Try another model, or --planner offline."
        )

    def _client(self) -> Any:
        try:
            import openai
        except ImportError:
            raise StoryError(
                "--planner openai needs the package openai: pip install 'magicgen[chat]'. --planner offline does not."
            ) from None
        settings = self.settings
        return openai.OpenAI(
            api_key=settings.api_key, base_url=settings.base_url, timeout=settings.timeout_s, max_retries=0
        )

    def _answer(self, client: Any, talk: Sequence[Mapping[str, str]], schema: dict[str, Any], seed: int) -> str:
        """The text of one answer; an endpoint that knows no schema is asked for JSON, one that knows none for text."""
        import openai

        strict = {"type": "json_schema", "json_schema": {"name": "story", "strict": True, "schema": schema}}
        for form in (strict, {"type": "json_object"}, None):
            extra = {} if form is None else {"response_format": form}
            try:
                completion = _within(
                    self.settings.timeout_s,
                    lambda extra=extra: client.chat.completions.create(  # type: ignore[misc]
                        model=self.settings.model,
                        messages=list(talk),
                        temperature=self.settings.temperature,
                        seed=seed % 2**31,
                        **extra,
                    ),
                )
                return self._text(completion)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if form is None:
                    raise self._failed(f"refused the question ({self._clean(str(error))[:200]})") from None
            except (openai.APITimeoutError, TimeoutError):
                raise self._failed(f"did not answer within {self.settings.timeout_s:g} seconds") from None
            except openai.APIConnectionError:
                raise self._failed("cannot be reached") from None
            except openai.AuthenticationError:
                raise self._failed("does not accept the key in OPENAI_API_KEY") from None
            except openai.NotFoundError:
                raise self._failed(f"knows no model '{self.settings.model}'") from None
            except openai.RateLimitError:
                raise self._failed("has too many questions, or the account has no credit left") from None
            except (openai.OpenAIError, ValueError, TypeError) as error:
                if isinstance(error, PlannerFailed):
                    raise
                raise self._failed(f"failed ({self._clean(str(error))[:200]})") from None
        raise self._failed("refused the question")

    def _text(self, completion: Any) -> str:
        """The words of a completion.

        Raises:
            PlannerFailed: a refusal, or nothing that looks like a completion.
        """
        try:
            choice = completion.choices[0]
            message = choice.message
            refusal = getattr(message, "refusal", None)
            content = message.content
            reason = choice.finish_reason
        except (AttributeError, IndexError, TypeError):
            raise self._failed("answered with something that is no chat completion") from None
        if refusal or reason == "content_filter":
            said = f": {self._clean(str(refusal))[:200]}" if refusal else ""
            raise self._failed(f"refuses to plan this tale{said}")
        return str(content or "")[:MAX_ANSWER]

    def _failed(self, what: str) -> PlannerFailed:
        return PlannerFailed(
            f"The planner's endpoint {self.settings.shown_url} {what}. Check it, or use --planner offline."
        )

    def _clean(self, text: str) -> str:
        """A message on one line without the key."""
        key = self.settings.api_key
        plain = " ".join(text.split())
        return plain.replace(key, "***") if len(key) > 4 else plain

    def _kept(self, question: str) -> dict[str, Any] | None:
        if self.cache is None:
            return None
        try:
            values = json.loads((self.cache / f"{question}.json").read_text(encoding="utf-8"))["answer"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return values if isinstance(values, dict) else None

    def _keep(self, question: str, record: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        if self.cache is None:
            return
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"The folder {self.cache} cannot be made ({error.strerror}).") from None
        write_json(self.cache / f"{question}.json", {"question": dict(record), "answer": dict(values)})


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call that may take so long in all: a server that sends a byte now and then is no answer.

    Raises:
        TimeoutError: it did not come back. The call is left to end by itself.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds + 0.5)
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError
    return result[0]


def _parsed(answer: str) -> dict[str, Any]:
    """The JSON object in an answer; words and code fences around it are skipped.

    Raises:
        StoryError: there is none.
    """
    start = answer.find("{")
    if start < 0:
        raise StoryError("the answer holds no JSON object")
    try:
        values, _ = json.JSONDecoder().raw_decode(answer[start:])
    except (ValueError, RecursionError) as error:
        raise StoryError(f"the answer is not valid JSON ({str(error)[:120]})") from None
    if not isinstance(values, dict):
        raise StoryError("the answer is no JSON object")
    return values


def _checked(values: dict[str, Any], tale: Tale, options: PlanOptions) -> StoryPage:
    """The answer as a story that keeps the limits.

    Raises:
        StoryError: every finding with its field.
    """
    forbidden = [key for key in _NOT_FROM_A_MODEL if _has_key(values, key)]
    if forbidden:
        raise StoryError(f"answer: unknown key '{forbidden[0]}'; expected only the keys of the schema")
    filled = {**values, "version": 1, "title": tale.title or values.get("title", ""), "style": options.style}
    page = story_from_values(filled, "answer")
    if len(page.panels) > options.max_panels:
        raise StoryError(f"answer: panels: expected at most {options.max_panels}; got {len(page.panels)}")
    for number, panel in enumerate(page.panels):
        if len(panel.subjects) > options.max_subjects:
            raise StoryError(
                f"answer: panels.{number}.subjects: expected at most {options.max_subjects}; got {len(panel.subjects)}"
            )
        for overlap in overlaps(panel)[:1]:
            if overlap.share > _HIDDEN:
                raise StoryError(
                    f"answer: panels.{number}.subjects.{overlap.back}.box: is hidden by that of subject "
                    f"{overlap.front}; "
                    "move it"
                )
    return page


def _has_key(values: object, key: str) -> bool:
    if isinstance(values, dict):
        return key in values or any(_has_key(value, key) for value in values.values())
    return isinstance(values, list) and any(_has_key(value, key) for value in values)


def _plan(page: StoryPage, options: PlanOptions, record: Mapping[str, Any]) -> Plan:
    settled_page, warnings = settled(page, options)
    return Plan(settled_page, warnings, record)


def _shown_url(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        place = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        place = host
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
