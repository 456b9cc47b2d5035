"""Pictures with everything a story model is told about them: text by region, cast, plate, sketch or skeleton.

All four uses of the model are one picture format, so one network learns them together: a character alone, the same
character from three sides (a sheet), a panel, and an empty place.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

import cv2
import numpy as np

from magicgen.control.story_canvas import lined
from magicgen.control.story_ground import drawn_figure
from magicgen.control.story_sketch import edge_lines
from magicgen.synthetic.actors import Canvas, CharacterActor, Place
from magicgen.synthetic.characters import Design, random_design
from magicgen.synthetic.colours import Images
from magicgen.synthetic.compose import NoShadow, blend
from magicgen.synthetic.geometry import Floats
from magicgen.synthetic.landscapes import PLACES, TIMES, grained, paint_place
from magicgen.synthetic.layout import TOLD, Figure, fitted, panel_scene, random_story
from magicgen.synthetic.plan import Background, ObjectPlan, ScenePlan, SceneSettings, place_words
from magicgen.synthetic.poses import Action, posed
from magicgen.synthetic.reposed import reposed
from magicgen.synthetic.scene import SceneClip, render_scene
from magicgen.synthetic.scenery import filled_parts, place_lines
from magicgen.synthetic.skeleton import Frame, draw_keypoints, joints, rotate

SLOTS = 3
"""Characters whose reference a picture can hold, and subjects that it can show."""
PHASE = 1.2
"""Where in its cycle a drawn action is caught."""
SIZE = 0.64
"""Height of a figure's body in a sheet, as a share of the picture's height (hats and ears reach above)."""
GROUND = 0.95
PAPER = "plain background"
SHEET_YAWS = (0.0, 90.0, 180.0)
ALONE_YAWS = (0.0, 35.0, -35.0, *(90.0, -90.0) * 3, 180.0)
ALONE_BOX = (1 / 3, 0.0, 2 / 3, 1.0)
"""Where a subject is drawn alone: as large as in a sheet, in the middle."""


class Use(Enum):
    """What a picture shows."""

    ALONE = "alone"
    SHEET = "sheet"
    PANEL = "panel"
    PLATE = "plate"


@dataclass(frozen=True)
class StoryShares:
    """How often a condition is given; the rest is left out, so that each works alone. ``moved`` is that of a reference
    brought into pose as the draft of a figure alone, where the reference is told."""

    uses: tuple[float, float, float, float] = (0.64, 0.08, 0.22, 0.06)
    plate: float = 0.85
    cast: float = 0.75
    sketch: float = 0.65
    keypoints: float = 0.25
    edges: float = 0.5
    crops: float = 0.5
    words: float = 0.92
    scenery: float = 0.88
    moved: float = 0.9


@dataclass(frozen=True)
class StoryPicture:
    """A picture and its conditions; H x W pixels, at most :data:`SLOTS` subjects.

    Attributes:
        picture: (H, W, 3) uint8.
        subjects: (H, W) bool, where subjects and their shadows lie.
        plate: (H, W, 3) uint8, the place without them; None where it is not told.
        cast: (H, W, 3) uint8, the characters from the front, a third of the width each; white where not told.
        cast_known: which thirds are told.
        condition: (H, W, 3) uint8, sketch or skeletons on black.
        boxes: (SLOTS, 4) float32, NaN without a subject.
        background: the global prompt. prompts: one local prompt a subject, "" where not told.
        crops: (H, W, 3) uint8, the plate with rough pictures of the subjects pasted into it; None where not told.
    """

    picture: Images
    subjects: np.ndarray
    plate: Images | None
    cast: Images
    cast_known: tuple[bool, ...]
    condition: Images
    boxes: Floats
    background: str
    prompts: tuple[str, ...]
    crops: Images | None = None

    @property
    def draft(self) -> Images | None:
        """(H, W, 3) uint8 what the model corrects: the plate with pasted crops or the sketch; None without."""
        if self.crops is not None or self.plate is None:
            return self.crops
        return lined(self.plate, self.condition)


def paper(rng: np.random.Generator, height: int, width: int) -> Images:
    """A plain background, light or, so that white figures can stand out, of any tone."""
    if rng.random() < 0.5:
        colour = np.clip(rng.uniform(238, 252) + rng.uniform(-5, 5, 3), 0, 255)
    else:
        colour = np.clip(rng.uniform(120, 225) + rng.uniform(-30, 30, 3), 0, 255)
    return np.broadcast_to(np.round(colour).astype(np.uint8), (height, width, 3)).copy()


def canonical_place(height: int, centre: float, size: float, yaw: float, action: Action, frame: Frame) -> Place:
    """Where a figure without a scene stands; ``centre`` in pixels, ``size`` as a share of the height."""
    tall, pose = size * height, posed(action, PHASE, frame)
    # a sitting body is lowered; it sits on the ground line instead of below it
    middle = GROUND * height - 0.5 * tall + min(pose.bob, 0.0) * tall
    return Place(centre, middle, tall, 0.0, yaw, pose)


def skeleton_points(place: Place, height: int, width: int, action: Action) -> Floats:
    """(17, 3) normalised x, y and visibility of the average body in an action at a place."""
    body = rotate(joints(Frame(), posed(action, PHASE, Frame())), place.yaw)
    points = (body[:, :2] * (1, -1) + (0, 0.5)) * place.size + (place.x, place.y)
    seen = np.ones((len(body), 1))
    seen[:3, 0] = body[:3, 2] > 0
    return np.concatenate([points / (width, height), seen], axis=1).astype(np.float32)


def canonical_points(height: int, width: int, centre: float, yaw: float, action: Action) -> Floats:
    """(17, 3) the skeleton of a figure alone; ``centre`` as a share of the width."""
    return skeleton_points(canonical_place(height, centre * width, SIZE, yaw, action, Frame()), height, width, action)


def draw_alone(design: Design, place: Place, background: Images) -> Images:
    """A character on a background, without shadow."""
    height, width = background.shape[:2]
    picture = background.astype(np.float32)
    layer = CharacterActor(design).draw(place, Canvas(height, width, 0))
    if layer is not None:
        blend(picture, layer)
    return cv2.convertScaleAbs(picture)


def draw_cast(designs: list[Design], background: Images) -> Images:
    """Every character from the front in its third, as the model gets its references."""
    height, width = background.shape[:2]
    picture = background
    for index, design in enumerate(designs[:SLOTS]):
        place = canonical_place(height, (index + 0.5) * width / SLOTS, SIZE, 0.0, Action.STANDS, design.frame)
        picture = draw_alone(design, place, picture)
    return picture


def pasted_roughly(rng: np.random.Generator, picture: Images, plate: Images, mask: np.ndarray) -> Images:
    """Figures cut out and pasted as a small model draws them: noisy, blurred, off in colour from block to block."""
    height, width = mask.shape
    cell = int(rng.integers(7, 18))
    tint = rng.normal(0, rng.uniform(0, 20), (-(-height // cell), -(-width // cell), 3)).astype(np.float32)
    tint = cv2.resize(tint, (width, height), interpolation=cv2.INTER_NEAREST)
    rough = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 1.5)).astype(np.float32)
    rough += tint + rng.normal(0, rng.uniform(0, 24), picture.shape)
    shape = mask.astype(np.uint8)
    if rng.random() < 0.6:
        change = cv2.dilate if rng.random() < 0.7 else cv2.erode
        shape = change(shape, np.ones((3, 3), np.uint8), iterations=int(rng.integers(1, 3)))
    share = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 0.6)[..., None]
    return np.clip(plate * (1 - share) + rough * share, 0, 255).astype(np.uint8)


def moved_reference(slot: Images, mask: np.ndarray, ground: Images, points: Floats, yaw: float) -> Images:
    """A front view brought into a pose on a plain ground: the draft of a figure alone.

    Args:
        slot: (h, w, 3) uint8, the character as :func:`draw_cast` draws it. mask: (h, w) bool, where it is.
        ground: (h, w, 3) uint8. points: (17, 3) joints to be, normalised. yaw: the view, degrees.
    """
    height, width = mask.shape
    standing = canonical_points(height, width, 0.5, 0.0, Action.STANDS)
    colours, cover = reposed(slot, mask, standing, points, yaw, SIZE * height)
    share = cover[..., None]
    return np.asarray(np.round(ground * (1 - share) + colours * share), np.uint8)


def random_picture(rng: np.random.Generator, height: int, width: int, shares: StoryShares) -> StoryPicture:
    """One training example of any use; the same generator state gives the same bytes."""
    weights = np.asarray(shares.uses) / sum(shares.uses)
    use = list(Use)[int(rng.choice(len(Use), p=weights))]
    match use:
        case Use.ALONE:
            return _alone(rng, height, width, shares)
        case Use.SHEET:
            return _sheet(rng, height, width, shares)
        case Use.PANEL:
            return _panel(rng, height, width, shares)
        case Use.PLATE:
            return _plate(rng, height, width, shares)
        case _:
            assert_never(use)


def _object(design: Design, place: Place) -> ObjectPlan:
    return ObjectPlan(
        design.phrase, "stands", design.colour, design.kind, CharacterActor(design), design, (place,), NoShadow()
    )


def _rendered(height: int, width: int, background: Images, placed: list[tuple[Design, Place]]) -> SceneClip:
    settings = SceneSettings(frames=1, height=height, width=width)
    objects = tuple(_object(design, place) for design, place in placed)
    return render_scene(ScenePlan(settings, objects, Background(background, 0.0, PAPER), None, np.ones(1)))


def _alone(rng: np.random.Generator, height: int, width: int, shares: StoryShares) -> StoryPicture:
    """Characters alone, each in a third of its own: three lessons in one picture."""
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.1, 0.7]))
    thirds = [1] if count == 1 else sorted(rng.permutation(SLOTS)[:count].tolist())
    placed, boxes, prompts, points, yaws = [], [], [], [], []
    for third in thirds:
        design = random_design(rng)
        action, yaw = TOLD[int(rng.integers(len(TOLD)))], float(rng.choice(ALONE_YAWS))
        yaws.append(yaw)
        place = canonical_place(height, (third + 0.5) * width / SLOTS, SIZE, yaw, action, design.frame)
        placed.append((design, place))
        boxes.append((third / SLOTS, 0.0, (third + 1) / SLOTS, 1.0))
        prompts.append(Figure(design, boxes[-1], action, yaw).prompt)
        points.append(skeleton_points(place, height, width, action))
    clip = _rendered(height, width, paper(rng, height, width), placed)
    told = _told(rng, clip, boxes, prompts, [design for design, _ in placed], points, shares, PAPER, skeletons=0.88)
    return _drafted(rng, told, points, yaws, shares)


def _sheet(rng: np.random.Generator, height: int, width: int, shares: StoryShares) -> StoryPicture:
    design = random_design(rng)
    placed, boxes, prompts, points = [], [], [], []
    for index, yaw in enumerate(SHEET_YAWS):
        place = canonical_place(height, (index + 0.5) * width / SLOTS, SIZE, yaw, Action.STANDS, design.frame)
        placed.append((design, place))
        boxes.append((index / SLOTS, 0.0, (index + 1) / SLOTS, 1.0))
        prompts.append(Figure(design, boxes[-1], Action.STANDS, yaw).prompt)
        points.append(skeleton_points(place, height, width, Action.STANDS))
    clip = _rendered(height, width, paper(rng, height, width), placed)
    told = replace(shares, cast=0.2)
    given = _told(rng, clip, boxes, prompts, [design] * SLOTS, points, told, PAPER, skeletons=0.95)
    return _drafted(rng, given, points, list(SHEET_YAWS), shares)


def _drafted(
    rng: np.random.Generator, told: StoryPicture, points: list[Floats], yaws: list[float], shares: StoryShares
) -> StoryPicture:
    """Figures in thirds whose references are told, mostly with these brought into pose as the draft."""
    if told.plate is None:
        return told
    draft, third = told.plate.copy(), told.plate.shape[1] // SLOTS
    for index, (wanted, yaw) in enumerate(zip(points, yaws, strict=True)):
        if not told.cast_known[index] or rng.random() >= shares.moved:
            continue
        slot = told.cast[:, index * third : (index + 1) * third]
        place = round(float(told.boxes[index, 0]) * SLOTS)
        window = slice(place * third, (place + 1) * third)
        local = wanted * np.array((SLOTS, 1, 1), np.float32) - np.array((place, 0, 0), np.float32)
        mask = drawn_figure(np.ascontiguousarray(slot))
        seen = worn_down(rng, slot) if rng.random() < 0.5 else slot
        draft[:, window] = moved_reference(seen, mask, draft[:, window], local, yaw)
    return replace(told, crops=draft)


def worn_down(rng: np.random.Generator, picture: Images) -> Images:
    """A picture with the blur and the grain of one that a small model drew."""
    blurred = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 1.0)).astype(np.float32)
    return np.clip(blurred + rng.normal(0, rng.uniform(0, 14), picture.shape), 0, 255).astype(np.uint8)


def _panel(rng: np.random.Generator, height: int, width: int, shares: StoryShares) -> StoryPicture:
    panel = random_story(rng, 1, SLOTS, aspect=width / height).panels[0]
    settings = SceneSettings(frames=1, height=height, width=width)
    clip = panel_scene(panel, settings)
    places = [fitted(figure, settings, PHASE) for figure in panel.figures]
    points = [
        skeleton_points(place, height, width, figure.action)
        for place, figure in zip(places, panel.figures, strict=True)
    ]
    words = place_words(panel.place, panel.time)
    prompts = [figure.prompt for figure in panel.figures]
    designs = [figure.design for figure in panel.figures]
    boxes = [figure.box for figure in panel.figures]
    told = _told(rng, clip, boxes, prompts, designs, points, shares, words, skeletons=shares.keypoints)
    if told.plate is None or rng.random() >= shares.crops or clip.tracks.masks is None:
        return told
    return replace(told, crops=pasted_roughly(rng, clip.video[0], told.plate, np.any(clip.tracks.masks[:, 0], axis=0)))


def _plate(rng: np.random.Generator, height: int, width: int, shares: StoryShares) -> StoryPicture:
    """An empty place, mostly with its lines and a draft: its parts in the colours of other such places."""
    place, time = str(rng.choice(list(PLACES))), str(rng.choice(list(TIMES)))
    painted = paint_place(rng, height, width, place, time)
    lines = place_lines(painted)
    condition, draft = np.zeros((height, width, 3), np.uint8), None
    if rng.random() < shares.scenery:
        condition = cv2.cvtColor(lines, cv2.COLOR_GRAY2RGB)
        draft = filled_parts(lines, usual_colours(rng, height, width, place, time)) if rng.random() < 0.9 else None
    return StoryPicture(
        picture=grained(rng, painted),
        subjects=cv2.dilate(lines, np.ones((5, 5), np.uint8)) > 0,  # where a place has something to show
        plate=draft,
        cast=np.full((height, width, 3), 255, np.uint8),
        cast_known=(False,) * SLOTS,
        condition=condition,
        boxes=np.full((SLOTS, 4), np.nan, np.float32),
        background=place_words(place, time),
        prompts=("",) * SLOTS,
        crops=draft,
    )


def usual_colours(rng: np.random.Generator, height: int, width: int, place: str, time: str) -> Images:
    """(H, W, 3) uint8 the colours that a place mostly has at each height: what words alone say of it."""
    rows = [paint_place(rng, height, width, place, time).mean(axis=1) for _ in range(int(rng.integers(1, 4)))]
    bands = np.broadcast_to(np.stack(rows).mean(axis=0)[:, None], (height, width, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(bands, (0, 0), rng.uniform(2, 8)), 0, 255).astype(np.uint8)


def _told(
    rng: np.random.Generator,
    clip: SceneClip,
    boxes: list[tuple[float, float, float, float]],
    prompts: list[str],
    designs: list[Design],
    points: list[Floats],
    shares: StoryShares,
    background: str,
    skeletons: float,
) -> StoryPicture:
    """The example with some of its conditions left out."""
    height, width = clip.video.shape[1:3]
    kind = rng.random()
    condition = np.zeros((height, width, 3), np.uint8)
    alone = background == PAPER
    if kind < skeletons:
        condition = draw_keypoints(np.stack(points), height, width)
    elif kind < skeletons + (0.08 if alone else shares.sketch):
        condition = cv2.cvtColor(_lines(rng, clip, shares.edges), cv2.COLOR_GRAY2RGB)
    known = tuple(bool(rng.random() < shares.cast) for _ in designs) + (False,) * (SLOTS - len(designs))
    drawn = draw_cast(designs, paper(rng, height, width))
    cast = np.full_like(drawn, 255)
    for index in np.flatnonzero(known):
        columns = slice(index * width // SLOTS, (index + 1) * width // SLOTS)
        cast[:, columns] = drawn[:, columns]
    placed = np.full((SLOTS, 4), np.nan, np.float32)
    placed[: len(boxes)] = boxes
    spoken = [prompt if rng.random() < shares.words else "" for prompt in prompts]
    masks = (
        np.any(clip.tracks.masks[:, 0], axis=0) if clip.tracks.masks is not None else np.zeros((height, width), bool)
    )
    return StoryPicture(
        picture=clip.video[0],
        subjects=masks | (clip.shadows[0] > 8),
        plate=clip.background[0] if rng.random() < shares.plate or alone else None,
        cast=cast,
        cast_known=known,
        condition=condition,
        boxes=placed,
        background=background,
        prompts=tuple(spoken) + ("",) * (SLOTS - len(spoken)),
    )


def _lines(rng: np.random.Generator, clip: SceneClip, edges: float) -> np.ndarray:
    """Exact outlines, or what OpenCV finds, as it will at inference."""
    if rng.random() >= edges or clip.tracks.masks is None:
        return clip.sketches[0]
    lines = np.zeros(clip.sketches.shape[1:], np.uint8)
    for mask in clip.tracks.masks[:, 0]:
        if mask.any():
            lines = np.maximum(lines, edge_lines(clip.video[0], mask))
    return lines
