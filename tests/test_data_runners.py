"""Worker processes that hang, crash and are killed; builds that are killed; the Ray engine; models as annotators."""

import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("scenedetect")

from data_tools.annotators.grounded import (
    Detection,
    GroundedAnnotator,
    GroundingDino,
    Sam2Tracker,
    box_iou,
    nearest_phrase,
)
from data_tools.build import BuildRequest, build
from data_tools.inline import InlineEngine
from data_tools.pool import Pool, PoolSettings
from data_tools.settings import DataSettings, GroundedAnnotation
from data_tools.validate import validate
from data_tools.work import Done, Failed, IdentifyFile, Outcome, Task, Work
from magicgen.config import check_config
from magicgen.errors import GenerationFailed, WeightsError
from tests.data_clips import save_clip

GIVEN = ("--set", "build.annotation.kind=given", "--set", "build.clips.min_frames=9")


class Fragile:
    """Work that does what the name of its file says."""

    def __init__(self, setup_error: str = "") -> None:
        self.setup_error = setup_error

    def setup(self) -> None:
        if self.setup_error:
            raise WeightsError(self.setup_error)

    def __call__(self, task: Task) -> Outcome:
        assert isinstance(task, IdentifyFile)
        match task.path.name:
            case "hang":
                time.sleep(60)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "once":
                marker = task.path.with_name("seen")
                if not marker.exists():
                    marker.touch()
                    os._exit(3)
            case "full":
                return Failed(task, "the disk is full.", fatal=True)
        return Done(task, sha256=task.path.name)


def outcomes(pool: Pool, *paths: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}

    def done(outcome: Outcome) -> Iterable[Task]:
        assert isinstance(outcome.task, IdentifyFile)
        found[outcome.task.path.name] = outcome
        return [IdentifyFile(outcome.task.path.with_name("further"))] if outcome.task.path.name == "first" else ()

    try:
        pool.run([IdentifyFile(path) for path in paths], done)
    finally:
        pool.close()
    return found


class TestPool:
    def pool(self, limit: float = 60.0, **arguments: str) -> Pool:
        return Pool(functools.partial(Fragile, **arguments), PoolSettings(2, limit, 2))

    def test_one_crash_costs_one_item(self, tmp_path: Path) -> None:
        names = ("a", "crash", "once", "b", "first")
        found = outcomes(self.pool(), *(tmp_path / name for name in names))
        assert {name for name, outcome in found.items() if isinstance(outcome, Done)} == {
            "a", "b", "once", "first", "further",
        }  # fmt: skip
        crashed = found["crash"]
        assert isinstance(crashed, Failed)
        assert crashed.reason == "its worker process ended with SIGSEGV, 2 times"

    def test_a_hanging_item_is_given_up(self, tmp_path: Path) -> None:
        found = outcomes(self.pool(limit=4.0), tmp_path / "hang", tmp_path / "a")
        assert isinstance(found["a"], Done)
        hanging = found["hang"]
        assert isinstance(hanging, Failed)
        assert "longer than the limit of 4 s" in hanging.reason

    def test_a_full_disk_ends_everything(self, tmp_path: Path) -> None:
        with pytest.raises(GenerationFailed, match="disk is full"):
            outcomes(self.pool(), tmp_path / "full", tmp_path / "a")

    def test_missing_weights_are_said_once(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such weights"):
            outcomes(self.pool(setup_error="no such weights"), tmp_path / "a")


def command(out: Path, videos: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "data_tools.cli", "build", str(videos), "--out", str(out), *GIVEN, *more]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for seed in range(4):
        save_clip(root / f"clip{seed}", seed)
    return root


@pytest.fixture(scope="module")
def content(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    values = {"build": {"annotation": {"kind": "given"}, "clips": {"min_frames": 9}}}
    chosen = check_config(values, DataSettings, source="test")
    out = tmp_path_factory.mktemp("whole") / "set"
    return build(BuildRequest([videos], out, chosen), InlineEngine(Work(chosen.build, out))).index.content


@pytest.mark.slow
def test_a_killed_build_ends_as_an_undisturbed_one(videos: Path, content: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    out = tmp_path / "set"
    for _ in range(4):
        process = subprocess.Popen(command(out, videos, "--workers", "2"), stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 6.0))
        process.kill()
        process.wait()
    finished = subprocess.run(command(out, videos, "--workers", "2"), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    found = validate(out)
    assert found.faults == ()
    assert found.clips == 4
    assert found.content == content
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_ray_builds_the_same(videos: Path, content: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    broken = tmp_path / "in"
    shutil.copytree(videos, broken)
    (broken / "bad.mp4").write_text("no video")
    out = tmp_path / "set"
    finished = subprocess.run(  # one core: a stage that waits for a core of its own would wait for ever
        command(out, broken, "--engine", "ray", "--workers", "1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert finished.returncode == 1, finished.stderr
    assert "bad.mp4" in finished.stderr
    assert "quarantined 1" in finished.stderr
    found = validate(out)
    assert (found.faults, found.clips) == ((), 4)


class Seeing:
    """A detector that sees a fixed set of boxes on every frame."""

    def __init__(self, boxes: dict[int, list[Detection]]) -> None:
        self.boxes = boxes

    def detect(self, frame: np.ndarray, phrases: list[str]) -> list[Detection]:
        return self.boxes[int(frame[0, 0, 0])]


class Standing:
    """A tracker of objects that do not move, seen from their frame on."""

    def follow(self, video: np.ndarray, frame: int, boxes: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
        masks = np.zeros((len(boxes), *video.shape[:3]), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
            mask[frame:, int(y0) : int(y1), int(x0) : int(x1)] = True
        return masks, np.full(masks.shape[:2], 0.5, np.float32)


def test_objects_that_come_later_are_found_once() -> None:
    dog, cat = Detection((2, 2, 12, 12), "dog", 0.9), Detection((20, 4, 30, 14), "cat", 0.6)
    twin = Detection((2, 2, 12, 13), "dog", 0.4)
    settings = GroundedAnnotation(kind="grounded", redetect_every=4)
    annotator = GroundedAnnotator(settings, Seeing({0: [dog, twin], 4: [dog, cat], 8: [cat]}), Standing())
    video = np.zeros((10, 24, 40, 3), np.uint8)
    video += np.arange(10, dtype=np.uint8)[:, None, None, None]
    found = annotator.annotate(video, None, ())  # type: ignore[arg-type]
    assert [track.phrase for track in found] == ["dog", "cat"]
    assert not found[1].masks[3].any()
    assert found[1].masks[4].sum() == 100


def test_boxes_overlap() -> None:
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 2, 2), (float("nan"),) * 4) == 0.0
    assert box_iou((0, 0, 1, 1), (1, 1, 2, 2)) == 0.0


@pytest.mark.parametrize(("kind", "field"), [(GroundingDino, "detector"), (Sam2Tracker, "tracker")])
def test_missing_models_are_named(tmp_path: Path, kind: type, field: str) -> None:
    pytest.importorskip("transformers")
    settings = GroundedAnnotation(kind="grounded", **{field: str(tmp_path)})  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=f"annotation.{field}"):
        kind(settings)


def test_answers_of_the_detector_are_the_phrases_asked_for() -> None:
    phrases = ["brown dog", "dog", "red ball"]
    assert nearest_phrase("brown dog", phrases) == "brown dog"
    assert nearest_phrase("dog.", phrases) == "dog"
    assert nearest_phrase("ball [SEP]", phrases) == "red ball"


@pytest.mark.slow
def test_grounding_dino_runs_with_random_weights(tmp_path: Path) -> None:
    t = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "red", "square", "dog"]
    tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in (
        ("layers", 2), ("attention_heads", 2), ("ffn_dim", 32),
    )}  # fmt: skip
    config = t.GroundingDinoConfig(
        backbone_config=t.SwinConfig(
            embed_dim=12, depths=[1] * 4, num_heads=[1, 2, 3, 4], out_features=["stage2", "stage3", "stage4"]
        ),
        text_config=t.BertConfig(vocab_size=len(words), **tiny),
        d_model=32,
        num_queries=10,
        **sides,
    )
    t.GroundingDinoForObjectDetection(config).save_pretrained(tmp_path)
    tokenizer = t.BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    t.GroundingDinoProcessor(images, tokenizer).save_pretrained(tmp_path)
    settings = GroundedAnnotation(kind="grounded", detector=str(tmp_path), box_threshold=0.0)
    frame = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    found = GroundingDino(settings).detect(frame, ["Red square", "dog"])
    assert len(found) == 10
    assert {one.phrase for one in found} <= {"Red square", "dog"}
    assert all(-64 < value < 128 for one in found for value in one.box)


@pytest.mark.slow
def test_sam2_runs_with_random_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    vision = transformers.Sam2VideoConfig().vision_config
    transformers.Sam2VideoModel(transformers.Sam2VideoConfig(vision_config=vision)).save_pretrained(tmp_path)
    processor = transformers.Sam2VideoProcessor(
        transformers.Sam2ImageProcessor(), transformers.Sam2VideoVideoProcessor()
    )
    processor.save_pretrained(tmp_path)
    tracker = Sam2Tracker(GroundedAnnotation(kind="grounded", tracker=str(tmp_path)))
    video = np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3), dtype=np.uint8)
    masks, confidence = tracker.follow(video, 1, [(5, 5, 20, 20), (30, 10, 50, 40)])
    assert masks.shape == (2, 3, 48, 64)
    assert ((confidence > 0) & (confidence < 1)).all()


class Bright:
    """A segmenter that takes the bright pixels of the box."""

    def set_image(self, image: np.ndarray) -> None:
        self.image = image

    def predict(self, points=(), labels=(), box=None, mask=None):  # type: ignore[no-untyped-def]
        from magicgen.segmentation.protocol import Segment

        height, width = self.image.shape[:2]
        found = np.zeros((height, width), np.bool_)
        rows = slice(int(box.y0 * height), int(np.ceil(box.y1 * height)))
        columns = slice(int(box.x0 * width), int(np.ceil(box.x1 * width)))
        found[rows, columns] = self.image[rows, columns, 0] > 200
        return Segment(found, 1.0)


def test_a_segmenter_redraws_the_outlines() -> None:
    from data_tools.annotators.found import FoundTrack
    from data_tools.annotators.sam import SamAnnotator
    from data_tools.settings import SamPrompts

    video = np.full((6, 40, 60, 3), 40, np.uint8)
    truth = np.zeros((6, 40, 60), np.bool_)
    for t in range(6):
        truth[t, 10:26, 8 + 2 * t : 28 + 2 * t] = True
    video[truth] = (240, 200, 60)
    rough = truth.copy()
    rough[:, 10:14] = False
    rough[:, 25:28, 20:24] = True
    annotator = SamAnnotator(SamPrompts(kind="sam", checkpoint=Path("unused"), every=1), Bright())
    annotator.discovery.annotate = lambda *_: [FoundTrack(rough, "flow", score=0.5)]  # type: ignore[method-assign]
    found = annotator.annotate(video, None, ())  # type: ignore[arg-type]
    assert found[0].source == "flow+sam"
    before, after = ((mask & truth).sum() / (mask | truth).sum() for mask in (rough, found[0].masks))
    assert after > before


def test_high_dynamic_range_becomes_ordinary() -> None:
    from data_tools.hdr import tone_mapped

    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    for curve in ("pq", "hlg"):
        mapped = tone_mapped(np.repeat(ramp[None, :, None], 3, axis=2), curve)[0, :, 1].astype(int)
        assert mapped[0] == 0
        assert mapped[-1] > 230
        assert (np.diff(mapped) >= 0).all()


@pytest.mark.slow
def test_sam_builds_with_random_weights(tmp_path: Path) -> None:
    registry = pytest.importorskip("segment_anything").sam_model_registry
    import torch

    torch.manual_seed(0)
    torch.save(registry["vit_b"]().state_dict(), tmp_path / "sam.pth")
    save_clip(tmp_path / "in", 0, frames=12)
    annotation = {"kind": "sam", "checkpoint": str(tmp_path / "sam.pth"), "every": 12}
    values = {"build": {"annotation": annotation, "clips": {"min_frames": 9}}}
    chosen = check_config(values, DataSettings, source="test")
    out = tmp_path / "set"
    result = build(BuildRequest([tmp_path / "in"], out, chosen), InlineEngine(Work(chosen.build, out)))
    assert result.problems == []
    assert result.index.counts["clips"] == 1
    assert validate(out).faults == ()


def test_a_missing_checkpoint_stops_the_build(tmp_path: Path) -> None:
    save_clip(tmp_path / "in", 0, frames=12)
    annotation = {"kind": "sam", "checkpoint": str(tmp_path / "none.pth")}
    chosen = check_config({"build": {"annotation": annotation}}, DataSettings, source="test")
    with pytest.raises(WeightsError, match=r"none\.pth"):
        build(
            BuildRequest([tmp_path / "in"], tmp_path / "set", chosen),
            InlineEngine(Work(chosen.build, tmp_path / "set")),
        )
