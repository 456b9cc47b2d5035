"""What a random scene shows: which objects, where, how they move, before which background."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.synthetic.actors import Actor, Canvas, CharacterActor, Place, SpriteActor
from magicgen.synthetic.characters import Design, random_design
from magicgen.synthetic.colours import Images, nearest_name, random_colour
from magicgen.synthetic.compose import DropShadow, GroundShadow, NoShadow, Shadow, blend
from magicgen.synthetic.landscapes import PLACES, TIMES, draw_place
from magicgen.synthetic.motion import Doubles, Motion, Wish, random_motion, standing
from magicgen.synthetic.poses import Action, posed, walking
from magicgen.synthetic.shapes import OUTLINES, cutout, sprite
from magicgen.synthetic.skeleton import Frame, Pose
from magicgen.synthetic.textures import random_texture


@dataclass(frozen=True)
class SceneSettings:
    """Size of the clip and how often each ingredient appears (probabilities in [0, 1]).

    Attributes:
        frames, height, width: size of the clip.
        min_objects, max_objects: how many objects, uniformly.
        characters, cutouts: shares of the objects; the rest are textured shapes.
        storybook: share of scenes that show a drawn place with characters alone.
        photo_backgrounds: share of the other scenes' backgrounds that are parts of photos.
        furniture: share of those backgrounds with still things in front of them that are no tracked objects.
        camera: a moving camera. shadows: shadows under the objects. light: exposure that drifts over the clip.
        still: an object that stands still. leaving: an object that leaves the picture (some return).
        spinning: an object that turns in the plane. turning: a character that turns around. scaling: one that comes
            or goes.
        min_area: least visible share of the picture per object on frame 0.
        held_out: photos and combinations of accessories kept for evaluation instead of the training ones.
    """

    frames: int = 17
    height: int = 128
    width: int = 192
    min_objects: int = 1
    max_objects: int = 3
    characters: float = 0.45
    cutouts: float = 0.25
    storybook: float = 0.3
    photo_backgrounds: float = 0.4
    furniture: float = 0.35
    camera: float = 0.25
    shadows: float = 0.6
    light: float = 0.25
    still: float = 0.12
    leaving: float = 0.12
    spinning: float = 0.4
    turning: float = 0.4
    scaling: float = 0.35
    min_area: float = 0.005
    held_out: bool = False


@dataclass(frozen=True)
class ObjectPlan:
    """One object: what it is and where it is in every frame."""

    phrase: str
    verb: str
    colour: str
    label: str
    actor: Actor
    design: Design | None
    places: tuple[Place, ...]
    shadow: Shadow


@dataclass(frozen=True)
class Camera:
    """Zoom and pan per frame: picture = (world - 1/2 - pan) * zoom + 1/2, in units of the picture's sides."""

    zoom: Doubles
    pan: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Background:
    """A picture larger than the frame by ``margin`` of each side, and the caption's words for it."""

    image: Images
    margin: float
    words: str


@dataclass(frozen=True)
class ScenePlan:
    """Everything needed to draw the clip; objects from back to front."""

    settings: SceneSettings
    objects: tuple[ObjectPlan, ...]
    background: Background
    camera: Camera | None
    gain: Doubles


def place_words(place: str, time: str) -> str:
    """``in the meadow at night``."""
    joint = {"beach": "at", "sea": "at", "mountains": "near", "castle": "near"}.get(place, "in")
    return f"{joint} the {place} {'at' if time == 'night' else 'in the'} {time}"


def furnished(rng: np.random.Generator, image: Images, held_out: bool) -> Images:
    """The picture with a few textured shapes and characters painted into it, which stay where they are."""
    height, width = image.shape[:2]
    short, canvas = min(height, width), Canvas(height, width, 0)
    picture = image.astype(np.float32)
    for _ in range(int(rng.integers(1, 6))):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), short * rng.uniform(0.15, 0.5)
        actor: Actor
        if rng.random() < 0.3:
            actor, angle = CharacterActor(random_design(rng, held_out)), 0.0
        else:
            side = int(np.clip(size * 1.2, 24, 256))
            outline = cutout(rng) if rng.random() < 0.4 else OUTLINES[str(rng.choice(list(OUTLINES)))](rng)
            texture = random_texture(rng, side, side, 0.4, held_out)[1]
            actor, angle = SpriteActor(sprite(rng, outline, texture, None), outline), rng.uniform(0, 360)
        place = Place(x, y, size, angle, float(rng.choice([0.0, 40.0, -40.0, 90.0, -90.0, 180.0])))
        layer = actor.draw(place, canvas)
        if layer is not None:
            blend(picture, layer)
    return cv2.convertScaleAbs(picture)


def _background(rng: np.random.Generator, settings: SceneSettings, storybook: bool, margin: float) -> Background:
    height, width = round(settings.height * (1 + 2 * margin)), round(settings.width * (1 + 2 * margin))
    if storybook or rng.random() < 0.15:
        place, time = str(rng.choice(list(PLACES))), str(rng.choice(list(TIMES), p=[0.5, 0.15, 0.15, 0.2]))
        return Background(draw_place(rng, height, width, place, time), margin, place_words(place, time))
    name, image = random_texture(rng, height, width, settings.photo_backgrounds, settings.held_out)
    if rng.random() < settings.furniture:
        image = furnished(rng, image, settings.held_out)
    return Background(image, margin, f"in front of a {name} background")


def _camera(rng: np.random.Generator, times: Doubles, margin: float) -> Camera:
    progress = times * times * (3 - 2 * times) if rng.random() < 0.5 else times
    zoom = np.exp(progress * rng.choice([0.0, 1.0]) * rng.uniform(-0.12, 0.3))
    room = np.maximum(margin + 0.5 - 0.5 / zoom, 0) * 0.98
    goal = rng.uniform(-1, 1, 2)
    return Camera(zoom, progress[:, None] * goal * room[:, None])


def _shadow(rng: np.random.Generator, settings: SceneSettings, upright: bool, direction: tuple[float, float]) -> Shadow:
    if rng.random() >= settings.shadows:
        return NoShadow()
    strength = float(rng.uniform(0.2, 0.55))
    if upright and rng.random() < 0.75:
        return GroundShadow(strength)
    reach = float(rng.uniform(0.05, 0.2))
    return DropShadow(direction[0] * reach, direction[1] * reach, float(rng.uniform(0.06, 0.2)), strength)


def _starts(
    rng: np.random.Generator, sizes: npt.NDArray[np.float64], aspect: float, grounded: bool
) -> list[tuple[float, float]]:
    """Centres that keep the objects apart on frame 0 as far as there is room."""
    chosen: list[tuple[float, float]] = []
    for size in sizes:
        half = 0.5 * size
        best, best_gap = (0.5, 0.5), -np.inf
        for _ in range(12):
            x = rng.uniform(0.75 * half / aspect, 1 - 0.75 * half / aspect)
            y = (
                rng.uniform(max(0.62, size * 0.95), 0.99) - half
                if grounded
                else rng.uniform(0.8 * half, 1 - 0.8 * half)
            )
            gap = min(
                (
                    np.hypot((x - cx) * aspect, y - cy) - 0.4 * (size + sizes[other])
                    for other, (cx, cy) in enumerate(chosen)
                ),
                default=0.0,
            )
            if gap > best_gap:
                best, best_gap = (float(x), float(y)), gap
            if gap >= 0:
                break
        chosen.append(best)
    return chosen


def _views(rng: np.random.Generator, settings: SceneSettings, motion: Motion, times: Doubles) -> tuple[Doubles, str]:
    """View angle per frame, and whether it walks or turns."""
    if rng.random() < settings.turning:
        start = rng.choice([0.0, 35.0, -35.0, 90.0, -90.0, 180.0])
        turn = rng.choice([-1, 1]) * rng.choice([45.0, 90.0, 90.0, 180.0])
        begin = rng.uniform(0, 0.3)
        progress = np.clip((times - begin) / rng.uniform(0.4, 0.7), 0, 1)
        return start + turn * progress * progress * (3 - 2 * progress), "turns"
    drift = motion.x[-1] - motion.x[0]
    if abs(drift) > 0.1:
        return np.full_like(times, np.sign(drift) * rng.choice([90.0, 60.0, 40.0])), "walks"
    return np.full_like(times, rng.choice([0.0, 0.0, 30.0, -30.0, 180.0])), ""


def _poses(
    rng: np.random.Generator, motion: Motion, times: Doubles, height: float, frame: Frame
) -> tuple[list[Pose], str]:
    """Limbs that fit the way: steps as long as the path, jumps in bounces, otherwise idling or waving."""
    if motion.verb == "bounces":
        return [posed(Action.JUMPS, 3 * np.pi * t, frame) for t in times], "jumps"
    if motion.distance > 0.08:
        steps = np.clip(motion.distance / (0.45 * height), 1.0, 4.5)
        phase, stride = rng.uniform(0, 2 * np.pi), rng.uniform(24, 40)
        return [walking(phase + np.pi * steps * t, stride) for t in times], "runs" if steps > 3.4 else "walks"
    still = (Action.STANDS, Action.STANDS, Action.WAVES, Action.WAVES, Action.SITS, Action.DANCES, Action.TALKS)
    action = still[int(rng.integers(len(still)))]
    return [posed(action, 2 * np.pi * t, frame) for t in times], action.value


def _direction(motion: Motion) -> str:
    dx, dy = motion.x[-1] - motion.x[0], motion.y[-1] - motion.y[0]
    if max(abs(dx), abs(dy)) < 0.1:
        return ""
    if abs(dx) >= abs(dy):
        return " to the right" if dx > 0 else " to the left"
    return " down" if dy > 0 else " up"


def _places(
    settings: SceneSettings, motion: Motion, size: float, views: Doubles, poses: list[Pose], camera: Camera | None
) -> tuple[Place, ...]:
    x, y, scale = motion.x, motion.y, motion.scale * size
    if camera is not None:
        x = (x - 0.5 - camera.pan[:, 0]) * camera.zoom + 0.5
        y = (y - 0.5 - camera.pan[:, 1]) * camera.zoom + 0.5
        scale = scale * camera.zoom
    short = min(settings.height, settings.width)
    return tuple(
        Place(
            float(x[i] * settings.width),
            float(y[i] * settings.height),
            float(scale[i] * short),
            float(motion.angle[i]),
            float(views[i]),
            poses[i],
            (float(motion.stretch[i, 0]), float(motion.stretch[i, 1])),
        )
        for i in range(settings.frames)
    )


@dataclass(frozen=True)
class _Slot:
    """The place of one object in the composition."""

    start: tuple[float, float]
    size: float
    times: Doubles
    camera: Camera | None
    sun: tuple[float, float]


def _motion(rng: np.random.Generator, settings: SceneSettings, slot: _Slot, upright: bool) -> Motion:
    if rng.random() < settings.still:
        return standing(slot.start, slot.times)
    turns = rng.random() < (0.25 if upright else settings.spinning)
    wish = Wish(
        slot.start,
        0.5 * slot.size,
        settings.width / settings.height,
        upright,
        rng.random() < settings.leaving,
        turns,
        rng.random() < settings.scaling,
    )
    return random_motion(rng, wish, slot.times)


def _character(rng: np.random.Generator, settings: SceneSettings, slot: _Slot) -> ObjectPlan:
    look = random_design(rng, settings.held_out)
    motion = _motion(rng, settings, slot, True)
    views, view_verb = _views(rng, settings, motion, slot.times)
    poses, verb = _poses(rng, motion, slot.times, slot.size, look.frame)
    places = _places(settings, motion, slot.size, views, poses, slot.camera)
    shadow = _shadow(rng, settings, motion.verb != "bounces", slot.sun)
    action = f"{verb}{_direction(motion)}" + (" and turns" if view_verb == "turns" else "")
    return ObjectPlan(look.phrase, action, look.colour, look.kind, CharacterActor(look), look, places, shadow)


def _shape(rng: np.random.Generator, settings: SceneSettings, slot: _Slot, photo: bool) -> ObjectPlan:
    name = str(rng.choice(list(OUTLINES)))
    outline = cutout(rng) if photo and rng.random() < 0.6 else OUTLINES[name](rng)
    motion = _motion(rng, settings, slot, False)
    largest = slot.size * float(motion.scale.max()) * min(settings.height, settings.width)
    side = int(np.clip(largest * 1.3, 32, 320))
    texture_name, texture = random_texture(rng, side, side, 1.0 if photo else 0.1, settings.held_out)
    ink = random_colour(rng) if rng.random() < 0.25 else None
    image = sprite(rng, outline, texture, ink)
    mean = image[..., :3].sum(axis=(0, 1)) / max(float(image[..., 3].sum()), 1e-3)
    colour = nearest_name((float(mean[0]), float(mean[1]), float(mean[2])))
    still = np.zeros_like(slot.times)
    places = _places(settings, motion, slot.size, still, [Pose()] * settings.frames, slot.camera)
    shadow = _shadow(rng, settings, False, slot.sun)
    verb = "stays" if motion.verb == "stands" else motion.verb
    label = "photo" if photo else name
    phrase = f"photo {name}" if photo else f"{colour} {texture_name} {name}"
    return ObjectPlan(
        phrase, f"{verb}{_direction(motion)}", colour, label, SpriteActor(image, outline), None, places, shadow
    )


def plan_scene(rng: np.random.Generator, settings: SceneSettings) -> ScenePlan:
    """Draw all random numbers of a scene."""
    times = np.linspace(0, 1, settings.frames)
    storybook = bool(rng.random() < settings.storybook)
    margin = 0.14 if rng.random() < settings.camera else 0.0
    camera = _camera(rng, times, margin) if margin else None
    background = _background(rng, settings, storybook, margin)
    count = int(rng.integers(settings.min_objects, settings.max_objects + 1))
    sizes = rng.uniform(0.28, 0.66, count) * (1.0 if count < 3 else (3.0 / count) ** 0.4)
    aspect = settings.width / settings.height
    starts = _starts(rng, sizes, aspect, storybook)
    sun = (float(rng.choice([-1, 1])), float(rng.uniform(0.3, 1.0)))
    objects = []
    order = np.argsort([start[1] + 0.5 * size for start, size in zip(starts, sizes, strict=True)])
    for index in order if storybook else range(count):
        slot = _Slot(starts[index], float(sizes[index]), times, camera, sun)
        pick = rng.random()
        if storybook or pick < settings.characters:
            objects.append(_character(rng, settings, slot))
        else:
            objects.append(_shape(rng, settings, slot, pick < settings.characters + settings.cutouts))
    gain = np.ones(settings.frames)
    if rng.random() < settings.light:
        gain = 1 + rng.uniform(-0.2, 0.12) * times
    return ScenePlan(settings, tuple(objects), background, camera, gain)
