"""High dynamic range to ordinary 8-bit colour, so that such videos can be annotated instead of refused."""

from typing import Any

import numpy as np
import numpy.typing as npt

# ITU-R BT.2100 (PQ and HLG), BT.2087 (BT.2020 to BT.709 primaries); Reinhard et al. 2002, eq. 4, for the shoulder.
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_WHITE_NITS, _PEAK_NITS = 203.0, 1000.0


def tone_mapped(pixels: npt.NDArray[Any], curve: str) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint16 RGB of BT.2020 in the 'pq' or 'hlg' curve -> (H, W, 3) uint8 RGB of BT.709."""
    signal = pixels.astype(np.float32) / np.float32(65535)
    nits = _pq_to_nits(signal) if curve == "pq" else _hlg_to_nits(signal)
    light = np.clip(nits / _WHITE_NITS @ _TO_709.T, 0, None)
    peak = _PEAK_NITS / _WHITE_NITS
    mapped = np.clip(light * (1 + light / peak**2) / (1 + light), 0, 1)
    return np.round(255 * np.where(mapped < 0.018, 4.5 * mapped, 1.099 * mapped**0.45 - 0.099)).astype(np.uint8)


def _pq_to_nits(signal: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    return np.asarray(10000 * (np.clip(power - c1, 0, None) / (c2 - c3 * power)) ** (1 / m1), np.float32)


def _hlg_to_nits(signal: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = scene @ np.array([0.2627, 0.678, 0.0593], np.float32)
    return np.asarray(_PEAK_NITS * luma[..., None] ** 0.2 * scene, np.float32)
