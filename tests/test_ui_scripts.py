"""The drawing area's own script against the library that it must agree with; run by Node where there is one."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magicgen.control.geometry import Box, Linear, Smooth, interpolate_boxes
from magicgen.control.rle import encode_rle, rle_from_json
from magicgen.control.tracks import boxes_from_masks

NODE = shutil.which("node")
ASSETS = Path(__file__).resolve().parents[1] / "magicgen" / "ui" / "assets"
SCRIPTS = ("rle", "motion", "model", "guide", "view", "tools", "keys", "panel", "story", "main")

pytestmark = pytest.mark.skipif(NODE is None, reason="no node here")


def node(code: str, value: Any = None) -> Any:
    sources = "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in ("rle", "motion"))
    script = f"{sources}\nconst input = {json.dumps(value)};\nconsole.log(JSON.stringify((() => {{ {code} }})()));"
    assert NODE is not None
    answer = subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(answer.stdout)


def test_the_whole_script_can_be_read() -> None:
    whole = "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    assert node("new Function('element', 'trigger', 'props', 'server', 'upload', 'watch', input); return true;", whole)
    for name in ("canvas.html", "canvas.css"):
        text = (ASSETS / name).read_text(encoding="utf-8")
        assert not any(mark in text for mark in ("`", "${", "{{")), f"{name} goes through gradio's template language"


@pytest.mark.parametrize("how", [Linear(), Smooth()])
def test_boxes_between_keyframes_are_those_of_the_library(how: Linear | Smooth) -> None:
    rng = np.random.default_rng(3)
    frames = [0, 3, 4, 11, 16]
    corners = np.concatenate([rng.random((5, 2)) * 0.5, 0.55 + rng.random((5, 2)) * 0.4], axis=1)
    expected = interpolate_boxes(frames, [Box(*map(float, row)) for row in corners], 20, how)
    keys = [{"frame": frame, "box": row.tolist()} for frame, row in zip(frames, corners, strict=True)]
    item = {"keys": keys, "masks": None, "interpolation": type(how).__name__.lower()}
    found = node("return [...Array(20).keys()].map(frame => boxAt(input, frame));", item)
    assert np.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_masks_go_both_ways(share: float) -> None:
    mask = np.random.default_rng(1).random((37, 53)) < share
    known = encode_rle(mask)
    decoded = node("const m = decodeRle(input); return [m, encodeRle(m), maskBox(m)];", known.to_json())
    pixels = [decoded[0]["data"][str(index)] for index in range(mask.size)]
    assert np.array_equal(np.reshape(pixels, mask.shape).astype(bool), mask)
    assert np.array_equal(rle_from_json(decoded[1]).decode(), mask)
    if mask.any():
        assert decoded[2] == pytest.approx(boxes_from_masks(mask).tolist(), abs=1e-6)
    else:
        assert decoded[2] is None


def test_a_drawn_way_keeps_an_even_pace() -> None:
    boxes = [[x, 0.1, x + 0.1, 0.2] for x in (0.0, 0.1, 0.1, 0.5)]
    keys = node(
        "const keys = input.map(box => ({box, frame: 0})); retime(keys, 25); return keys.map(key => key.frame);", boxes
    )
    assert keys[0] == 0
    assert keys[-1] == 24
    assert keys == sorted(set(keys))
    assert keys[2] - keys[1] >= 3  # the rest
    crowded = node(
        "const keys = input.map(box => ({box, frame: 0})); retime(keys, 4); return keys.map(key => key.frame);", boxes
    )
    assert crowded == [0, 1, 2, 3]
