"""What the app keeps for each visitor: a folder, a photo, the running job, the history. Visitors never share any."""

import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from magicgen.jobs.animate import Prepared
from magicgen.jobs.dereflect import PreparedRemoval
from magicgen.progress import CancelToken
from magicgen.ui.photos import Photo
from magicgen.ui.story_draft import StoryDraft


@dataclass
class Made:
    """A finished run of this visitor."""

    video: Path
    overlay: Path
    seen: Path
    sidecar: Path
    poster: Path
    caption: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Cleaned:
    """A photo of this visitor without its reflection: the photo, the result, the layer, what the marks were taken to
    mean and how far that was followed (in words; None and empty without marks), the files to download."""

    source: Path
    image: Path
    reflection: Path | None
    guide: Path | None
    followed: str
    files: tuple[Path, ...]
    poster: Path
    caption: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Waiting:
    """A removal that was checked, and the photo that it is about: the visitor may choose another one meanwhile."""

    prepared: PreparedRemoval
    photo: Photo


@dataclass
class Visitor:
    """One browser tab, or one API client: its photos (to animate, with a reflection), its books, jobs and results."""

    folder: Path
    photo: Photo | None = None
    mirror: Photo | None = None
    waiting: Prepared | None = None
    token: CancelToken | None = None
    cleaning: Waiting | None = None
    removal: CancelToken | None = None
    cleaned: list[Cleaned] = field(default_factory=list)
    history: list[Made] = field(default_factory=list)
    shown: Made | None = None
    story: StoryDraft | None = None
    telling: CancelToken | None = None
    books: list[StoryDraft] = field(default_factory=list)
    last_seen: float = field(default_factory=time.monotonic)
    _count: int = 0

    def place(self, suffix: str) -> Path:
        """A fresh file name in the visitor's folder."""
        self._count += 1
        return self.folder / f"magicgen-{self._count:03d}{suffix}"

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return any(token is not None for token in (self.token, self.removal, self.telling))

    def stop(self) -> bool:
        """Ask the animation, running or waiting, to stop; whether there was one."""
        self.waiting = None
        if self.token is None:
            return False
        self.token.cancel()
        return True

    def stop_removal(self) -> bool:
        """The same for the removal of a reflection."""
        if self.removal is None:
            return False
        self.removal.cancel()
        if self.cleaning is not None:  # it waits in the queue, perhaps for ever where the queue was full
            self.cleaning = self.removal = None
        return True

    def stop_telling(self) -> bool:
        """The same for the making of a book."""
        if self.telling is None:
            return False
        self.telling.cancel()
        return True


class Visitors:
    """The visitors of one server, told apart by gradio's session; their files lie under one temporary folder."""

    def __init__(self, root: Path, *, most: int = 200, idle_s: float = 6 * 3600.0) -> None:
        self.root, self._most, self._idle_s = root, most, idle_s
        self._all: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def of(self, session: str | None) -> Visitor:
        """The visitor of a session; made on first sight. Requests without a session get a visitor of their own."""
        with self._lock:
            key = session or secrets.token_hex(16)
            if key not in self._all:
                self._make_room()
                folder = self.root / secrets.token_urlsafe(24)
                folder.mkdir(parents=True)
                self._all[key] = Visitor(folder)
            visitor = self._all[key]
            visitor.last_seen = time.monotonic()
            return visitor

    def leave(self, session: str | None) -> None:
        """The tab was closed: stop its job and remove its files."""
        with self._lock:
            visitor = self._all.pop(session or "", None)
        if visitor is not None:
            _forget(visitor)

    def ended(self, visitor: Visitor) -> None:
        """A job of this visitor ended. If they left meanwhile, what it wrote since then goes too."""
        with self._lock:
            here = any(known is visitor for known in self._all.values())
        if not here:
            shutil.rmtree(visitor.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop everything and remove all files."""
        with self._lock:
            gone = list(self._all.values())
            self._all.clear()
        for visitor in gone:
            _forget(visitor)
        shutil.rmtree(self.root, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._all)

    def _make_room(self) -> None:
        now = time.monotonic()
        order = sorted(self._all, key=lambda key: self._all[key].last_seen)
        for place, key in enumerate(order):
            idle = not self._all[key].busy
            crowded = len(order) - place >= self._most
            if idle and (crowded or now - self._all[key].last_seen > self._idle_s):
                _forget(self._all.pop(key))


def _forget(visitor: Visitor) -> None:
    visitor.stop()
    visitor.stop_removal()
    visitor.stop_telling()
    shutil.rmtree(visitor.folder, ignore_errors=True)
