"""Colour histograms in CIE Lab and the guided filter: what decides which layer a pixel shows."""

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BINS = 12


def histogram(lab: Floats, weight: Floats) -> Floats:
    """(BINS ** 3,) float32 with sum 1: the colours of (h, w, 3) Lab pixels weighted by (h, w), blurred a little."""
    counts = np.bincount(_bins(lab), weights=weight.ravel(), minlength=BINS**3).reshape(BINS, BINS, BINS)
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if other == axis else (0, 0) for other in range(3)])
        parts = [np.take(padded, np.arange(start, start + BINS), axis=axis) for start in range(3)]
        counts = 0.25 * parts[0] + 0.5 * parts[1] + 0.25 * parts[2]
    return (counts / max(float(counts.sum()), 1e-6)).astype(np.float32).ravel()


def shares(histograms: list[Floats], lab: Floats) -> list[Floats]:
    """For every histogram (h, w) float32 in [0, 1]: how typical the pixels' colours are of it."""
    cells = _bins(lab)
    size = lab.shape[:2]
    return [(values / (values + 0.01)).astype(np.float32)[cells].reshape(size) for values in histograms]


def guided(guide: Floats, plane: Floats, radius: int, eps: float) -> Floats:
    """Guided filter (He et al. 2010): ``plane`` smoothed along the edges of ``guide``, both (h, w) float32.

    ``eps`` is the variance of ``guide`` (values in [0, 1]) from which an edge is kept.
    """
    size = (2 * radius + 1, 2 * radius + 1)
    mean_i, mean_p = cv2.blur(guide, size), cv2.blur(plane, size)
    variance = cv2.blur(guide * guide, size) - mean_i * mean_i
    slope = (cv2.blur(guide * plane, size) - mean_i * mean_p) / (variance + eps)
    offset = mean_p - slope * mean_i
    return cv2.blur(slope, size) * guide + cv2.blur(offset, size)


def _bins(lab: Floats) -> npt.NDArray[np.intp]:
    light = np.clip(lab[..., 0] * (BINS / 100), 0, BINS - 1).astype(np.intp)
    rest = np.clip((lab[..., 1:] + 96) * (BINS / 192), 0, BINS - 1).astype(np.intp)
    return ((light * BINS + rest[..., 0]) * BINS + rest[..., 1]).ravel()
