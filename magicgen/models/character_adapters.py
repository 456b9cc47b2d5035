"""Adapters (LoRA, arXiv 2106.09685) of one backbone that each know a character and act only where it is painted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from magicgen.errors import WeightsError
from magicgen.models.transformer import VideoTransformer

ADAPTER_FILE = "pytorch_lora_weights.safetensors"


class CharacterAdapters:
    """The adapters that a backbone has taken in, and which of them act.

    Attributes:
        active: peft's names of those that act now.
    """

    def __init__(self, transformer: VideoTransformer) -> None:
        self.transformer = transformer
        self.active: tuple[str, ...] = ()
        self._taken: list[tuple[str | None, str]] = []

    def load(self, folder: str | Path, name: str | None) -> None:
        """Take in an adapter from its folder; without the ``name`` of a character it acts everywhere.

        Raises:
            WeightsError: no adapter there, or one of another model.
        """
        key = f"character_{len(self._taken)}"
        try:
            self.transformer.load_lora_adapter(
                str(folder), prefix=None, adapter_name=key, weight_name=ADAPTER_FILE, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(
                f"The adapter {folder} cannot be used ({str(error).splitlines()[0][:200]}); expected the folder "
                "'lora' of a run of configs/train/character_lora.yaml on this model."
            ) from error
        self._taken.append((name, key))
        self._choose(())

    @contextmanager
    def playing(self, names: Sequence[str]) -> Iterator[None]:
        """Have the adapters of some characters act inside the block, and no other's."""
        self._choose(names)
        try:
            yield
        finally:
            self._choose(())

    def _choose(self, names: Sequence[str]) -> None:
        if not self._taken:
            return
        self.active = tuple(key for name, key in self._taken if name is None or name in names)
        if self.active:
            self.transformer.set_adapters(list(self.active))
            self.transformer.enable_adapters()
        else:
            self.transformer.disable_adapters()
