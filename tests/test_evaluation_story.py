"""Measures of stories on the drawn world itself: real drawings score, wrong ones do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magicgen.evaluation.story import PanelScore, Wanted, score_panel, summary
from magicgen.models.storybook_reader import StorybookReader
from magicgen.synthetic.layout import held_out_stories, panel_scene
from magicgen.synthetic.plan import SceneSettings
from magicgen.training.storybook_reader import parts_of, tints_of
from magicgen.weights.sources import preset_folder

TOLERANCE = 20.0


@pytest.fixture(scope="module")
def reader() -> StorybookReader:
    return StorybookReader.from_pretrained(preset_folder("tiny").parent / "storybook_reader").float().eval()


def told(reader: StorybookReader, count: int = 4) -> tuple[list[list[PanelScore]], list[list[list[Wanted]]]]:
    scores, wanted = [], []
    for story in held_out_stories(count, 5):
        scores.append([])
        wanted.append([])
        for panel in story.panels:
            clip = panel_scene(panel, SceneSettings(frames=1, height=128, width=192))
            asked = [
                Wanted(
                    figure.design.phrase,
                    tuple(float(np.clip(value, 0, 1)) for value in figure.box),  # type: ignore[arg-type]
                    figure.design.kind,
                    figure.design.colour,
                    tints_of(figure.design),
                    parts_of(figure.design),
                )
                for figure in panel.figures
            ]
            scores[-1].append(score_panel(clip.video[0], clip.background[0], asked, clip.sketches[0], reader))
            wanted[-1].append(asked)
    return scores, wanted


def test_real_drawings_score_high(reader: StorybookReader) -> None:
    found = summary(*told(reader), TOLERANCE)
    assert found.layout > 0.7
    assert found.count > 0.9
    assert found.identity > 0.6
    assert found.look > 0.7
    assert found.sketch > 0.9
    assert found.plate > 0.9


def test_an_empty_place_scores_nothing(reader: StorybookReader) -> None:
    story = held_out_stories(1, 5)[0]
    clip = panel_scene(story.panels[0], SceneSettings(frames=1, height=128, width=192))
    figure = story.panels[0].figures[0]
    asked = [Wanted("it", tuple(figure.box), figure.design.kind, figure.design.colour)]
    score = score_panel(clip.background[0], clip.background[0], asked, None, reader)
    assert score.found == 0
    assert not score.subjects[0].right


def test_other_tints_are_another_look(reader: StorybookReader) -> None:
    scores, wanted = told(reader, 1)
    far = [
        [replace(score, subjects=tuple(replace(each, off=each.off + 60) for each in score.subjects)) for score in story]
        for story in scores
    ]
    assert summary(far, wanted, TOLERANCE).look == 0.0
    assert np.isnan(summary(scores, wanted).look)


def test_the_reader_states_its_accuracy() -> None:
    assert (Path(preset_folder("tiny")).parent / "storybook_reader" / "scores.json").is_file()
