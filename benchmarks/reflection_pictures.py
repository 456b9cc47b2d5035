"""Pictures for docs/reflection.md, composed from scikit-image's freely licensed photos, which no training sees.

``python -m benchmarks.reflection_pictures OUT.jpg [--seeds 2 3 4]`` draws a row for each seed: the photo through glass,
the automatic result, the result of a click on the reflection (in the middle of the circle), the result with the
reflection and the scene painted as masks, and the truth.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from magicgen.control.guide import Layer, MaskMark, RemovalGuide
from magicgen.evaluation.reflection import psnr
from magicgen.media import write_image
from magicgen.synthetic.photos import photo_crop
from magicgen.synthetic.reflection_guides import centre_click, regions
from magicgen.synthetic.reflections import MixtureSettings, compose
from pipelines.reflection_removal import ReflectionRemovalPipeline

UInt8 = npt.NDArray[np.uint8]
SIZE = (300, 400)
SHOWN = 232


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sheet; returns the exit code."""
    package = Path(__file__).resolve().parents[1] / "magicgen" / "presets"
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--adapter", type=Path, default=package / "reflection_tiny")
    options = parser.parse_args(arguments)
    pipeline = ReflectionRemovalPipeline.from_adapter(options.adapter, package / "tiny")
    rows = [row(pipeline, seed) for seed in options.seeds]
    write_image(options.out, np.concatenate(rows))
    return 0


def composed_pair(seed: int) -> tuple[UInt8, UInt8]:
    """A photo through glass and its scene, (300, 400, 3) each, from pictures that no training sees."""
    rng = np.random.default_rng(seed)
    scene, other = (photo_crop(rng, *SIZE, held_out=True).astype(np.float32) / np.float32(255) for _ in range(2))
    mixed = compose(rng, scene, other, MixtureSettings(clean=0.0))
    photo, truth = (np.round(part * 255).astype(np.uint8) for part in (mixed.mixture, mixed.transmission))
    return photo, truth


def row(pipeline: ReflectionRemovalPipeline, seed: int) -> UInt8:
    """Photo, automatic, clicked, painted, truth, side by side."""
    photo, truth = composed_pair(seed)
    apart = np.abs(photo.astype(np.float32) - truth).mean(axis=2) / 255
    found = [each for each in (regions(apart, layer) for layer in Layer) if each.parts]
    marks = tuple(MaskMark(each.whole, each.layer) for each in found)
    click = centre_click(found[0].parts[0], found[0].layer)
    pipeline.set_image(photo)
    automatic = np.asarray(pipeline().transmission, np.uint8)
    clicked, painted = (
        np.asarray(pipeline(guide=RemovalGuide(guide)).transmission, np.uint8).copy() for guide in ((click,), marks)
    )
    values = ", ".join(f"{psnr(part, truth):.1f}" for part in (photo, automatic, clicked, painted))
    print(f"seed {seed}: photo, automatic, clicked, painted: {values} dB")
    cv2.circle(clicked, (round(click.x * SIZE[1]), round(click.y * SIZE[0])), 9, (255, 255, 255), 2, cv2.LINE_AA)
    parts = (photo, automatic, clicked, painted, truth)
    shown = [cv2.resize(part, (SHOWN, SHOWN * 3 // 4), interpolation=cv2.INTER_AREA) for part in parts]
    return np.asarray(np.concatenate(shown, axis=1), np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())
