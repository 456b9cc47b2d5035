"""The commands of ``magicgen-data``."""
