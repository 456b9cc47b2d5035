"""``python -m magicgen``."""

from magicgen.start import magicgen

magicgen()
