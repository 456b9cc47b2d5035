"""The cast: which features make a fox a fox. Every kind is a body and a tuple of features drawn on a Puppet."""

from collections.abc import Callable
from dataclasses import dataclass

from magicgen.synthetic.bodies import Paint, animal, bird, gowned, person, robot_body
from magicgen.synthetic.features import (
    beak,
    beard,
    bird_eyes,
    bushy_tail,
    cat_snout,
    dark_round_ears,
    dog_snout,
    flap_ears,
    flat_beak,
    floppy_ears,
    fox_snout,
    frog_body,
    frog_eyes,
    gold_crown,
    huge_round_ears,
    knight_helmet,
    long_ears,
    long_hair,
    mane,
    mouse_tail,
    owl_eyes,
    panda_patches,
    pig_snout,
    pigtails,
    pointed_ears,
    puff_tail,
    rabbit_snout,
    round_ears,
    short_hair,
    short_snout,
    side_ears,
    thin_tail,
    trunk,
    tuft_tail,
    tufts,
    white_face,
    witch_hat,
    wizard_hat,
    wool,
)
from magicgen.synthetic.puppet import Puppet
from magicgen.synthetic.skeleton import Frame

Feature = Callable[[Puppet, Paint], None]


_USUAL = Frame()


@dataclass(frozen=True)
class Kind:
    """One member of the cast. ``colours`` are its natural colours, any other may be asked for."""

    name: str
    body: Feature
    features: tuple[Feature, ...]
    colours: tuple[str, ...]
    frame: Frame = _USUAL
    human: bool = False


_BIRD = Frame(
    head_y=0.68, torso_y=0.32, leg=0.12, hip_y=0.15, shoulder_y=0.44, shoulder_x=0.17, torso_radii=(0.19, 0.22, 0.17)
)
_PERSON = Frame(head_radii=(0.195, 0.195, 0.19), torso_radii=(0.135, 0.185, 0.1))
_ADULT = Frame(
    head_y=0.8,
    head_radii=(0.15, 0.16, 0.15),
    torso_y=0.46,
    torso_radii=(0.14, 0.2, 0.1),
    hip_y=0.3,
    leg=0.27,
    shoulder_y=0.58,
    shoulder_x=0.13,
    arm=0.28,
)
_FAT = Frame(torso_radii=(0.2, 0.21, 0.18), shoulder_x=0.165)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("fox", animal, (pointed_ears, fox_snout, bushy_tail), ("orange", "red", "brown", "white", "gray")),
        Kind("bear", animal, (round_ears, short_snout, puff_tail), ("brown", "black", "white", "golden"), _FAT),
        Kind("rabbit", animal, (long_ears, rabbit_snout, puff_tail), ("white", "gray", "brown", "pink")),
        Kind("cat", animal, (pointed_ears, cat_snout, thin_tail), ("black", "gray", "orange", "white", "brown")),
        Kind("dog", animal, (floppy_ears, dog_snout, thin_tail), ("brown", "golden", "white", "gray", "black")),
        Kind("mouse", animal, (huge_round_ears, rabbit_snout, mouse_tail), ("gray", "brown", "white")),
        Kind("pig", animal, (pointed_ears, pig_snout, puff_tail), ("pink",), _FAT),
        Kind("lion", animal, (mane, short_snout, tuft_tail), ("golden", "orange", "yellow")),
        Kind("panda", animal, (dark_round_ears, panda_patches, short_snout), ("white",), _FAT),
        Kind("frog", frog_body, (frog_eyes,), ("green", "teal", "blue"), Frame(torso_radii=(0.17, 0.18, 0.15))),
        Kind("monkey", animal, (side_ears, dog_snout, thin_tail), ("brown", "golden", "gray")),
        Kind("elephant", animal, (flap_ears, trunk, mouse_tail), ("gray", "blue", "pink"), _FAT),
        Kind("sheep", animal, (floppy_ears, wool), ("white", "black", "gray")),
        Kind("owl", bird, (tufts, owl_eyes, beak), ("brown", "gray", "purple", "white"), _BIRD),
        Kind("penguin", bird, (white_face, beak), ("black", "blue"), _BIRD),
        Kind("duck", bird, (bird_eyes, flat_beak), ("yellow", "white", "green"), _BIRD),
        Kind("robot", robot_body, (), ("silver", "blue", "red", "yellow", "teal"), Frame(head_radii=(0.2, 0.16, 0.18))),
        Kind("girl", gowned, (pigtails,), ("red", "blue", "pink", "yellow", "green"), _PERSON, True),
        Kind("boy", person, (short_hair,), ("blue", "green", "red", "orange", "teal"), _PERSON, True),
        Kind("woman", gowned, (long_hair,), ("purple", "teal", "red", "blue"), _ADULT, True),
        Kind("man", person, (short_hair,), ("brown", "blue", "gray", "green"), _ADULT, True),
        Kind("king", gowned, (short_hair, beard, gold_crown), ("red", "purple", "blue"), _ADULT, True),
        Kind("queen", gowned, (long_hair, gold_crown), ("purple", "pink", "blue"), _ADULT, True),
        Kind("princess", gowned, (long_hair, gold_crown), ("pink", "yellow", "blue"), _PERSON, True),
        Kind("wizard", gowned, (short_hair, beard, wizard_hat), ("blue", "purple", "green"), _ADULT, True),
        Kind("knight", person, (knight_helmet,), ("silver", "red", "blue"), _PERSON, True),
        Kind("witch", gowned, (long_hair, witch_hat), ("black", "purple", "green"), _PERSON, True),
    )
}
