"""Procedural storybook scenes with exact ground truth (numpy and OpenCV alone)."""

from magicgen.synthetic.plan import SceneSettings
from magicgen.synthetic.scene import SceneClip, held_out_scenes, random_scene
from magicgen.synthetic.vocabulary import VOCABULARY

__all__ = ["VOCABULARY", "SceneClip", "SceneSettings", "held_out_scenes", "random_scene"]
