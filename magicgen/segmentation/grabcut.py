"""The segmenter that is always there: GrabCut (Rother et al. 2004) from a box, clicks or a rough mask, no weights.

GrabCut from a box alone takes everything inside for the thing and often stays there. So it is started several times
from different guesses (the whole box, a sure core, the colours that the surroundings lack), and the answers are judged:
a good mask differs in colour from what lies around it, has its border on edges, is in one piece and reaches all four
sides of the box. Clicks alone become boxes of several sizes around them, judged in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.geometry import Box
from magicgen.segmentation.protocol import Bools, Point, Prompt, Segment, UInt8, check_image, check_prompt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

CLICK_SIDES = (0.15, 0.3, 0.55)  # sides of the boxes tried around clicks, as shares of the picture's sides


@dataclass(frozen=True)
class GrabCutSettings:
    """``working_side``: shorter side of the picture in pixels; ``iterations`` of every GrabCut; ``margin`` around the
    box, as a share of its sides, that shows what the thing is not."""

    working_side: int = 180
    iterations: int = 3
    margin: float = 0.35


@dataclass(frozen=True)
class _Window:
    """The part of the working picture that is looked at, and the box in it, in pixels (x0, y0, x1, y1)."""

    place: tuple[slice, slice]
    box: tuple[int, int, int, int]


class GrabCutSegmenter:
    """:class:`~magicgen.segmentation.protocol.Segmenter` without weights. The same prompt gives the same mask."""

    def __init__(self, settings: GrabCutSettings | None = None) -> None:
        self.settings = settings or GrabCutSettings()
        self._image: UInt8 | None = None
        self._small: UInt8 = np.zeros((1, 1, 3), np.uint8)

    def set_image(self, image: UInt8) -> None:
        """(H, W, 3) uint8 RGB."""
        self._image = check_image(image)
        height, width = image.shape[:2]
        scale = min(1.0, self.settings.working_side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        self._small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def predict(
        self,
        points: Sequence[Point] = (),
        labels: Sequence[bool] = (),
        box: Box | None = None,
        mask: Bools | None = None,
    ) -> Segment:
        """See :meth:`Segmenter.predict`; never empty: where GrabCut finds nothing the box or a disc is the answer."""
        prompt = check_prompt(self._image, points, labels, box, mask)
        assert self._image is not None
        best = max(self._answers(prompt), key=lambda answer: answer.score)
        height, width = self._image.shape[:2]
        soft = cv2.resize(best.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        found = soft > 0.5
        if prompt.box is not None:
            found &= _filled(prompt.box, height, width)
        return Segment(found if found.any() else soft >= soft.max(), best.score)

    def _answers(self, prompt: Prompt) -> list[Segment]:
        height, width = self._small.shape[:2]
        rough = None
        if prompt.mask is not None and prompt.mask.any():
            rough = cv2.resize(prompt.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0.5
        if prompt.box is not None:
            return self._in_box(_pixels(prompt.box, height, width), prompt, rough, tight=True)
        if rough is not None and rough.any():
            rows, columns = np.nonzero(rough)
            reach = round(0.15 * np.sqrt(rough.sum())) + 2
            around = (columns.min() - reach, rows.min() - reach, columns.max() + reach, rows.max() + reach)
            return self._in_box(_clipped(around, height, width), prompt, rough, tight=False)
        answers = []
        on = np.array([(x, y) for x, y, inside in prompt.points if inside]) * (width, height)
        for side in CLICK_SIDES:
            low, high = on.min(axis=0) - side * np.array((width, height)) / 2, on.max(axis=0)
            high = high + side * np.array((width, height)) / 2
            place = _clipped((low[0], low[1], high[0], high[1]), height, width)
            answers.extend(self._in_box(place, prompt, None, tight=False))
        return answers

    def _in_box(
        self, box: tuple[int, int, int, int], prompt: Prompt, rough: Bools | None, *, tight: bool
    ) -> list[Segment]:
        window = _window(box, self._small.shape[:2], self.settings.margin)
        picture = np.ascontiguousarray(self._small[window.place])
        clicks = _click_labels(prompt, self._small.shape[:2], max(1, round(0.012 * min(self._small.shape[:2]))))
        clicks = clicks[window.place]
        answers = []
        for guess in _guesses(picture, window, None if rough is None else rough[window.place], whole=tight):
            guess[clicks == 1] = cv2.GC_FGD
            guess[clicks == 2] = cv2.GC_BGD
            found = _kept_parts(_grab_cut(picture, guess, self.settings.iterations), clicks == 1)
            score = _quality(picture, found, window, tight=tight)
            whole = np.zeros(self._small.shape[:2], np.bool_)
            whole[window.place] = found
            answers.append(Segment(whole, score))
        return answers


def _guesses(picture: UInt8, window: _Window, rough: Bools | None, *, whole: bool) -> list[Labels]:
    """Starting labels for GrabCut; ``whole``: the thing may fill the box."""
    x0, y0, x1, y1 = window.box
    inside = np.zeros(picture.shape[:2], np.bool_)
    inside[y0:y1, x0:x1] = True
    start = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if rough is not None:
        labels = start.copy()
        labels[inside & ~rough] = cv2.GC_PR_BGD
        return [labels]
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    across = (columns + 0.5 - (x0 + x1) / 2) / max(x1 - x0, 1) * 2
    down = (rows + 0.5 - (y0 + y1) / 2) / max(y1 - y0, 1) * 2
    distance = across**2 + down**2
    middle = start.copy()
    middle[inside & (distance > 0.85)] = cv2.GC_PR_BGD
    core = middle.copy()
    core[inside & (distance < 0.1)] = cv2.GC_FGD
    unlike = start.copy()
    foreign = _unlike_surroundings(picture, inside)
    unlike[inside & ~((foreign > 0.5) | (distance < 0.08))] = cv2.GC_PR_BGD
    return [start, core, unlike] if whole else [middle, unlike]


def _unlike_surroundings(picture: UInt8, inside: Bools) -> Floats:
    """(h, w) in [0, 1]: how much likelier a colour is inside the box than outside of it."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    bins = [0, 256] * 3
    hists = []
    for part in (inside, ~inside):
        hist = cv2.calcHist([lab], [0, 1, 2], part.astype(np.uint8), [12, 24, 24], bins)
        hists.append(hist / max(float(hist.sum()), 1.0) + 1e-5)
    cell = (lab // (256 / np.array([12, 24, 24]))).astype(np.intp)
    index = (cell[..., 0], cell[..., 1], cell[..., 2])
    ratio = hists[0][index] / (hists[0][index] + hists[1][index])
    return cv2.GaussianBlur(((ratio - 0.5) * 2).clip(0, 1).astype(np.float32), (0, 0), 2)


def _grab_cut(picture: UInt8, labels: Labels, iterations: int) -> Bools:
    background = np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD))
    if background.sum() < 8 or (~background).sum() < 8:
        return ~background
    before = ~background
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(picture, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # colour models without pixels
        return before
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _kept_parts(mask: Bools, clicked: Bools) -> Bools:
    """Connected parts that were clicked or are not small beside the largest; holes of a few pixels filled."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    areas = facts[1:, cv2.CC_STAT_AREA]
    keep = areas >= 0.2 * areas.max()
    touched = np.unique(labels[clicked])
    if len(touched[touched > 0]):
        keep = np.isin(np.arange(1, count), touched)
    kept = np.isin(labels, np.nonzero(keep)[0] + 1)
    count, labels, facts, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = facts[:, cv2.CC_STAT_AREA] < 0.02 * kept.sum()
    return kept | (np.isin(labels, np.nonzero(small)[0]) & ~kept)


def _quality(picture: UInt8, mask: Bools, window: _Window, *, tight: bool) -> float:
    """How good a mask looks, in [0, 1]."""
    x0, y0, x1, y1 = window.box
    area = max((x1 - x0) * (y1 - y0), 1)
    share = mask.sum() / area
    if mask.sum() < 8:
        return 0.0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    byte = mask.astype(np.uint8)
    rim = cv2.morphologyEx(byte, cv2.MORPH_GRADIENT, kernel) > 0
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.float32)
    slope = sum(np.abs(cv2.Sobel(lab, cv2.CV_32F, *way)).sum(axis=-1) for way in ((1, 0), (0, 1)))
    usual = float(np.mean(slope)) + 1e-3
    edges = float(np.mean(slope[rim])) / usual if rim.any() else 0.0
    edge_score = edges / (edges + 1.5)
    reach = max(3, round(0.12 * np.sqrt(mask.sum())))
    near = cv2.dilate(byte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))) > 0
    contrast = _colour_distance(picture, mask, near & ~mask)
    score = 0.5 * edge_score + 0.5 * contrast
    if tight:
        rows, columns = np.nonzero(mask[y0:y1, x0:x1])
        if not len(rows):
            return 0.0
        extent = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / area
        score *= extent * min(1.0, share / 0.25) * (1.0 if share < 0.9 else 0.8)
    else:
        on_border = (mask[[y0, y1 - 1], x0:x1].sum() + mask[y0:y1, [x0, x1 - 1]].sum()) / (2 * (x1 - x0 + y1 - y0))
        score *= 1 - min(1.0, 2 * float(on_border))
    return float(np.clip(score, 0, 1))


def _colour_distance(picture: UInt8, mask: Bools, ring: Bools) -> float:
    if not ring.any():
        return 0.0
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    hists = []
    for part in (mask, ring):
        hist = cv2.calcHist([lab], [0, 1, 2], part.astype(np.uint8), [8, 16, 16], [0, 256] * 3)
        hists.append(hist / max(float(hist.sum()), 1.0))
    return 1.0 - float(np.sqrt(hists[0] * hists[1]).sum())


def _click_labels(prompt: Prompt, size: tuple[int, ...], radius: int) -> Labels:
    """(h, w): 1 on clicks that hit the thing, 2 on the others, 0 elsewhere."""
    labels = np.zeros(size, np.uint8)
    for x, y, inside in prompt.points:
        centre = (min(int(x * size[1]), size[1] - 1), min(int(y * size[0]), size[0] - 1))
        cv2.circle(labels, centre, radius, 1 if inside else 2, -1)
    return labels


def _window(box: tuple[int, int, int, int], size: tuple[int, ...], margin: float) -> _Window:
    x0, y0, x1, y1 = box
    across, down = max(6, round((x1 - x0) * margin)), max(6, round((y1 - y0) * margin))
    left, right = max(0, x0 - across), min(size[1], x1 + across)
    top, bottom = max(0, y0 - down), min(size[0], y1 + down)
    return _Window((slice(top, bottom), slice(left, right)), (x0 - left, y0 - top, x1 - left, y1 - top))


def _pixels(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    return _clipped((box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height), height, width)


def _clipped(box: tuple[float, float, float, float], height: int, width: int) -> tuple[int, int, int, int]:
    """Whole pixels inside the picture, at least one."""
    x0, y0 = min(max(int(np.floor(box[0])), 0), width - 1), min(max(int(np.floor(box[1])), 0), height - 1)
    return x0, y0, min(max(int(np.ceil(box[2])), x0 + 1), width), min(max(int(np.ceil(box[3])), y0 + 1), height)


def _filled(box: Box, height: int, width: int) -> Bools:
    x0, y0, x1, y1 = _pixels(box, height, width)
    filled = np.zeros((height, width), np.bool_)
    filled[y0:y1, x0:x1] = True
    return filled
