"""``magicgen dereflect`` and folders in ``magicgen batch``, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicgen.media import write_image
from magicgen.photo.files import Photo, read_photo, write_photo
from tests.cli_runner import Run
from tests.reflection_tiny import save_small_reflection

RNG = np.random.default_rng(4)
PIXELS = np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((10, 10, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    base, adapter = save_small_reflection(tmp_path_factory.mktemp("models"))
    return ["--model", str(base), "--adapter", str(adapter), "--segmenter", "none"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_image(tmp_path / "photo.png", PIXELS)
    return tmp_path / "photo.png"


def test_a_photo_with_a_click(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.png"
    code, printed, _ = run("dereflect", photo, "--point", "0.6,0.3,+", "--layers", "--out", out, *models)
    assert code == 0
    written = ["clean.png", "clean.reflection.png", "clean.mask.png", "clean.guide.png"]
    assert printed.split() == [str(tmp_path / name) for name in written]
    assert read_photo(tmp_path / "clean.guide.png").pixels.shape == PIXELS.shape
    sidecar = json.loads((tmp_path / "clean.json").read_text())
    assert 0 < sidecar["measured"]["followed"] <= 1
    assert sidecar["guide"]["marks"] == [{"kind": "point", "layer": "reflection", "at": [0.6, 0.3]}]
    assert np.array_equal(read_photo(photo).pixels, PIXELS)
    again = tmp_path / "again.png"
    code, _, _ = run("dereflect", "--from-sidecar", tmp_path / "clean.json", "--out", again)
    assert code == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_automatic_result_has_no_picture_of_marks(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    code, printed, _ = run("dereflect", photo, "--layers", "--out", tmp_path / "a.png", "--json", *models)
    assert code == 0
    assert json.loads(printed)["guide"] is None
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.json", "a.mask.png", "a.png", "a.reflection.png"]
    assert list(json.loads((tmp_path / "a.json").read_text())["measured"]) == ["changed_share"]
    code, _, _ = run("dereflect", photo, "--point", "0.6,0.3,+", "--out", tmp_path / "b.png", *models)
    assert code == 0
    assert not (tmp_path / "b.guide.png").exists()
    assert "followed" in json.loads((tmp_path / "b.json").read_text())["measured"]


def test_sixteen_bits_and_transparency_stay(run: Run, models: list[str], tmp_path: Path) -> None:
    deep = Photo(PIXELS.astype(np.uint16) * 257, np.full(PIXELS.shape[:2], 40000, np.uint16))
    write_photo(tmp_path / "deep.png", deep)
    code, _, _ = run("dereflect", tmp_path / "deep.png", "--out", tmp_path / "out.png", *models)
    assert code == 0
    again = read_photo(tmp_path / "out.png")
    assert again.depth == 65535
    assert np.array_equal(again.alpha, deep.alpha)


def test_json(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    code, printed, _ = run("dereflect", photo, "--out", tmp_path / "a.png", "--json", *models)
    assert code == 0
    assert json.loads(printed)["image"] == str(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--point", "1.6,0.3,+"], "outside the picture"),
        (["--point", "0.5,0.5,*"], "X,Y,+"),
        (["--point", "a,b,+"], "expected numbers"),
        (["--point", "0.5,0.5,+", "--point", "0.5,0.5,-"], "contradict"),
        (["--box", "0.2,0.2,0.2,0.5"], "0.2"),
        (["--box", "0.1,0.2"], "four numbers"),
        (["--stroke", "0.1,0.2,0.3,+"], "X0,Y0,X1,Y1"),
        (["--stroke", "0.1,0.2,0.3,1.4,-"], "outside the picture"),
        (["--stroke", "0.1,0.2,0.3,0.4", "--brush", "0"], "width"),
        (["--text", "the lamp"], "text segmenter"),
        (["--strength", "2"], "strength"),
        (["--segmenter", "magic"], "Unknown segmenter"),
        (["--guide", "none.json"], "There is no guide file"),
        (["--adapter", "nowhere"], "no reflection adapter"),
    ],
)
def test_mistakes_end_with_2_before_anything_is_loaded(
    run: Run, models: list[str], photo: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, _, err = run("dereflect", photo, "--out", tmp_path / "a.png", *models, *arguments)
    assert code == 2
    assert words in err
    assert not (tmp_path / "a.png").exists()


def test_masks_have_the_photo_s_size(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "mask.png", np.ones((20, 20), np.bool_))
    code, _, err = run("dereflect", photo, "--mask", tmp_path / "mask.png", "--out", tmp_path / "a.png", *models)
    assert code == 2
    assert "20x20" in err


def test_the_photo_itself_is_overwritten_only_when_asked(run: Run, models: list[str], photo: Path) -> None:
    before = photo.read_bytes()
    code, _, err = run("dereflect", photo, "--out", photo, *models)
    assert code == 2
    assert "--overwrite" in err
    assert photo.read_bytes() == before
    code, _, _ = run("dereflect", photo, "--out", photo, "--overwrite", *models)
    assert code == 0


@pytest.mark.parametrize("layer", ["reflection", "mask", "guide"])
def test_layers_never_land_on_the_photo(run: Run, models: list[str], photo: Path, tmp_path: Path, layer: str) -> None:
    named = photo.rename(tmp_path / f"house.{layer}.png")
    before = named.read_bytes()
    arguments = ["--point", "0.6,0.3,+", "--out", tmp_path / "house.png", "--layers", *models]
    code, _, err = run("dereflect", named, *arguments)
    assert code == 2
    assert "the photo itself" in err
    assert named.read_bytes() == before
    code, _, _ = run("dereflect", named, *arguments[2:])
    assert code == (0 if layer == "guide" else 2), "without marks nothing is drawn of them"
    assert named.read_bytes() == before


def test_strokes_are_marks(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    strokes = ["--stroke", "0.1,0.2,0.4,0.3,+", "--stroke", "0.7,0.7,-", "--brush", "0.1"]
    code, _, _ = run("dereflect", photo, *strokes, "--out", tmp_path / "a.png", *models)
    assert code == 0
    assert json.loads((tmp_path / "a.json").read_text())["guide"]["marks"] == [
        {"kind": "stroke", "layer": "reflection", "points": [[0.1, 0.2], [0.4, 0.3]], "width": 0.1},
        {"kind": "stroke", "layer": "transmission", "points": [[0.7, 0.7]], "width": 0.1},
    ]


def test_a_dry_run_writes_nothing(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    code, printed, err = run("dereflect", photo, "--out", tmp_path / "a.png", "--dry-run", *models)
    assert code == 0
    assert printed == ""
    assert "80x60" in err
    assert not (tmp_path / "a.png").exists()


def test_no_photo_and_tiny_photo(run: Run, models: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    for image, words in ((tmp_path / "none.png", "There is no image"), (tmp_path / "one.png", "1x1")):
        code, _, err = run("dereflect", image, "--out", tmp_path / "a.png", *models)
        assert code == 2
        assert words in err


def test_jobs_in_a_batch(run: Run, models: list[str], photo: Path, tmp_path: Path) -> None:
    job = {"kind": "dereflect", "image": photo.name, "out": "a.png", "model": models[1], "adapter": models[3]}
    broken = {**job, "image": "none.png", "out": "b.png"}
    (tmp_path / "jobs.jsonl").write_text("\n".join(json.dumps(line) for line in (job, broken)))
    code, printed, _ = run("batch", tmp_path / "jobs.jsonl", "--out", tmp_path / "done")
    assert code == 1
    assert printed.split() == [str(tmp_path / "done" / "a.png")]
    marks = [{"kind": "point", "layer": "transmission", "at": [0.5, 0.5]}]
    (tmp_path / "marks.json").write_text(json.dumps({"version": 1, "marks": marks}))
    marked = {**job, "guide": "marks.json", "layers": True, "segmenter": "none", "out": "c.png"}
    (tmp_path / "marked.jsonl").write_text(json.dumps(marked))
    assert run("batch", tmp_path / "marked.jsonl", "--out", tmp_path / "more")[0] == 0
    assert (tmp_path / "more" / "c.guide.png").is_file()
    report = json.loads((tmp_path / "done" / "batch.json").read_text())
    assert [each["status"] for each in report["jobs"]] == ["done", "failed"]
