"""Which clips a configuration names."""

from magicgen.synthetic.scene import SceneSettings
from magicgen.training.clips import ClipSource, SyntheticClips
from magicgen.training.folder_clips import FolderClips
from magicgen.training.magic_data import MagicDataClips
from magicgen.training.options import DataOptions, FolderData, MagicData, SyntheticData


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
            return MagicDataClips(path, options.frames, sizes, options.batch_size, seed, data.largest_stride)
