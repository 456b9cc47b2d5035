"""Which clips a configuration names."""

from magicgen.synthetic.scene import SceneSettings
from magicgen.training.clips import ClipSource, SyntheticClips
from magicgen.training.examples import TrajectoryExamples
from magicgen.training.folder_clips import FolderClips
from magicgen.training.magic_data import MagicDataClips
from magicgen.training.options import DataOptions, FolderData, MagicData, SyntheticData, TrainingOptions


def clip_source(options: DataOptions, seed: int) -> ClipSource:
    """The source that a configuration names."""
    match options.source:
        case SyntheticData() as synthetic:
            settings = SceneSettings(
                frames=options.frames,
                height=options.height,
                width=options.width,
                min_objects=synthetic.min_objects,
                max_objects=synthetic.max_objects,
                camera=synthetic.camera,
                light=synthetic.light,
            )
            return SyntheticClips(seed, settings)
        case FolderData(path=path):
            return FolderClips(path, options.frames, options.height, options.width, seed)
        case MagicData(path=path) as data:
            sizes = tuple(dict.fromkeys([(options.height, options.width), *data.sizes]))
            return MagicDataClips(
                path, options.frames, sizes, options.batch_size, seed, data.largest_stride, data.lengths
            )


def training_examples(options: TrainingOptions) -> TrajectoryExamples:
    """The examples of a run, by number."""
    source = options.data.source
    per_scene = source.levels_per_scene if isinstance(source, SyntheticData) else 1
    return TrajectoryExamples(clip_source(options.data, options.seed), options.data, options.seed, per_scene)
