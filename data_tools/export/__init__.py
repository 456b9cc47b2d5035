"""Datasets in the formats that others read. Every exporter can read its own files back, bit by bit."""
