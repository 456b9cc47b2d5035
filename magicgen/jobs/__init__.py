"""Whole pieces of work with plain arguments, shared by the command line, batches and the app."""
