"""Networks: the backbone, the control branch, the segmentation head, the autoencoder and the closed-vocabulary text
encoder, all diffusers ``ModelMixin`` classes that save to and load from safetensors folders."""

from magicgen.models.autoencoder import BlockTransformAutoencoder
from magicgen.models.control_branch import ControlBranch
from magicgen.models.segmentation_head import LatentSegmentationHead
from magicgen.models.text_encoder import WordTextEncoder
from magicgen.models.transformer import VideoTransformer

__all__ = [
    "BlockTransformAutoencoder",
    "ControlBranch",
    "LatentSegmentationHead",
    "VideoTransformer",
    "WordTextEncoder",
]
