"""Masks from prompts, masks through time, and what moves: without weights, or with SAM where it is at hand."""
