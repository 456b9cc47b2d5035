"""Pictures to order: figures fill their boxes, stories keep their cast, held-out stories stay apart."""

import re
from dataclasses import replace

import numpy as np
import pytest

from magicgen.errors import ConfigError
from magicgen.synthetic import VOCABULARY, SceneSettings
from magicgen.synthetic.characters import design, is_held_out
from magicgen.synthetic.layout import (
    TOLD,
    Figure,
    Panel,
    Story,
    held_out_stories,
    panel_scene,
    random_story,
    tightened,
)
from magicgen.synthetic.poses import Action

PICTURE = SceneSettings(frames=1, height=96, width=144)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(sides.prod() / (sum(areas) - sides.prod()))


@pytest.mark.parametrize("action", TOLD)
@pytest.mark.parametrize("yaw", [0.0, 90.0, -140.0])
def test_a_figure_fills_its_tight_box(action: Action, yaw: float) -> None:
    look = design(np.random.default_rng(0), "fox", "orange", "hat", "green")
    figure = tightened(Figure(look, (0.2, 0.1, 0.7, 0.95), action, yaw), 1.5)
    clip = panel_scene(Panel("meadow", "day", (figure,), 1), PICTURE)
    assert iou(clip.tracks.boxes[0, 0], np.array(figure.box)) > 0.85
    assert clip.classes == ("fox",)
    assert clip.colours == ("orange",)


def words(story: Story) -> set[str]:
    return set(re.findall(r"[a-z]+", " ".join(panel.caption for panel in story.panels)))


def test_stories_keep_their_cast_and_words() -> None:
    for seed in range(30):
        story = random_story(np.random.default_rng(seed))
        shown = {figure.design for panel in story.panels for figure in panel.figures}
        assert shown == set(story.cast)
        assert len({look.kind for look in story.cast}) == len(story.cast)
        assert words(story) <= set(VOCABULARY)
        assert all(panel.figures for panel in story.panels)


def test_panels_of_one_place_share_its_background() -> None:
    story = random_story(np.random.default_rng(5), panels=4)
    clips = [panel_scene(panel, PICTURE) for panel in story.panels]
    for first, second, a, b in zip(story.panels, story.panels[1:], clips, clips[1:], strict=False):
        assert (first.ground == second.ground) == np.array_equal(a.background, b.background)


def test_moving_one_box_changes_that_figure_alone() -> None:
    rng = np.random.default_rng(1)
    fox = Figure(design(rng, "fox", "red"), (0.05, 0.4, 0.3, 0.9))
    bear = Figure(design(rng, "bear", "brown"), (0.6, 0.3, 0.95, 0.95))
    panel = Panel("beach", "evening", (fox, bear), 3)
    moved = replace(panel, figures=(fox, replace(bear, box=(0.4, 0.3, 0.75, 0.95))))
    first, second = panel_scene(panel, PICTURE), panel_scene(moved, PICTURE)
    assert np.array_equal(first.video[0, :, :50], second.video[0, :, :50])
    assert not np.array_equal(first.video, second.video)


def test_held_out_stories_use_held_out_combinations() -> None:
    stories = held_out_stories(8, 0)
    assert stories == held_out_stories(8, 0)
    for story in stories:
        for look in story.cast:
            assert look.accessory is None or is_held_out(look.kind, look.accessory, look.accessory_colour)


def test_nobody_and_nonsense() -> None:
    assert panel_scene(Panel("room", "night", (), 0), PICTURE).caption == "nobody in the room at night"
    with pytest.raises(ConfigError, match="Places"):
        panel_scene(Panel("volcano", "day", (), 0), PICTURE)
    fox = Figure(design(np.random.default_rng(0), "fox", "red"), (0.5, 0.5, 0.5, 0.9))
    with pytest.raises(ConfigError, match="x1 > x0"):
        panel_scene(Panel("room", "day", (fox,), 0), PICTURE)
