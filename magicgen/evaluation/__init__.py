"""Measures of videos, and MagicBench: methods, levels and object counts in one table."""
