"""``python -m magicgen``."""

from magicgen.cli import main

main()
