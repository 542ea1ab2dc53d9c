"""What the augmentation chains do, as data: one recipe for each view of an image.

Sources: the papers' appendices and, for ``_cifar``, solo-learn's recipes for 32 pixels.
"""

from typing import NamedTuple


class Recipe(NamedTuple):
    """What a chain does; static under ``jit``. Strength or probability 0 leaves out.

    Attributes:
        crop_area: Least and greatest share of the image's area in the box; a least
            share of 1 means no crop.
        crop_aspect: Least and greatest width over height of the box, log-uniform.
        flip_p: Probability of mirroring left and right.
        jitter_p: Probability of colour jitter, all of it at once.
        brightness: s, for a factor uniform in [max(0, 1 - s), 1 + s].
        contrast: Likewise.
        saturation: Likewise; nothing on grey images.
        hue: s <= 0.5, for a shift uniform in [-s, s] turns; nothing on grey images.
        grey_p: Probability of losing the colour.
        blur_p: Probability of a Gaussian blur.
        blur_sigma: Least and greatest standard deviation, pixels, uniform.
        blur_span: Length of the kernel as a share of the image's shorter side.
        solarise_p: Probability of inverting all values of 0.5 and above.
    """

    crop_area: tuple[float, float]
    crop_aspect: tuple[float, float]
    flip_p: float
    jitter_p: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey_p: float
    blur_p: float
    blur_sigma: tuple[float, float]
    blur_span: float
    solarise_p: float


# The pixels as they are.
_PLAIN = Recipe(
    crop_area=(1.0, 1.0),
    crop_aspect=(1.0, 1.0),
    flip_p=0.0,
    jitter_p=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grey_p=0.0,
    blur_p=0.0,
    blur_sigma=(1.0, 1.0),
    blur_span=0.0,
    solarise_p=0.0,
)
_CROP = _PLAIN._replace(crop_area=(0.08, 1.0), crop_aspect=(3 / 4, 4 / 3), flip_p=0.5)
_COLOUR = _CROP._replace(jitter_p=0.8, grey_p=0.2)


def _jitter(
    recipe: Recipe, brightness: float, contrast: float, saturation: float, hue: float
) -> Recipe:
    return recipe._replace(
        brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
    )


def _blur(recipe: Recipe, p: float, span: float) -> Recipe:
    return recipe._replace(blur_p=p, blur_sigma=(0.1, 2.0), blur_span=span)


# Spans: a tenth of the side is the papers' 23 taps at 224 pixels; at 32 the kernel of
# solo-learn is not cut, and 13 taps are three of the largest standard deviations.
_PAPER, _WHOLE = 0.1, 0.4
_STRONG = _jitter(_COLOUR, 0.8, 0.8, 0.8, 0.2)
_WEAK = _jitter(_COLOUR, 0.4, 0.4, 0.4, 0.1)
_BYOL = _jitter(_COLOUR, 0.4, 0.4, 0.2, 0.1)

_PAIR_32 = (_BYOL, _BYOL._replace(solarise_p=0.2))
_PAIR_224 = (
    _blur(_BYOL, 1.0, _PAPER),
    _blur(_BYOL, 0.1, _PAPER)._replace(solarise_p=0.2),
)
_MOCO_32 = _blur(_WEAK, 0.5, _WHOLE)
_MOCO_224 = _blur(_WEAK, 0.5, _PAPER)._replace(crop_area=(0.2, 1.0))
_RDA = _blur(_jitter(_COLOUR, 0.4, 0.4, 0.4, 0.2), 0.1, _WHOLE)._replace(
    crop_area=(0.75, 0.75), crop_aspect=(1.0, 1.0), solarise_p=0.1
)

# name -> a recipe a view
PRESETS: dict[str, tuple[Recipe, ...]] = {
    # Evaluation, and queries of untouched images.
    "none": (_PLAIN,),
    # One view for training on labels: the common crop and flip.
    "supervised": (_CROP,),
    # The ICML 2022 study, victims and stealers alike: full jitter strength and a blur
    # on every image, both stronger than SimCLR's own recipe for 32 pixels.
    "simclr": (_blur(_STRONG, 1.0, _PAPER),) * 2,
    # Small grey digits: a mirrored digit is another sign, and a twelfth of its area
    # is a blank.
    "mild": (
        _jitter(_PLAIN, 0.4, 0.4, 0.0, 0.0)._replace(
            crop_area=(0.4, 1.0), crop_aspect=(3 / 4, 4 / 3), jitter_p=0.8
        ),
    )
    * 2,
    # A grey value or a few apart: what lies between two steps of a rounding.
    "dither": (_jitter(_PLAIN, 0.04, 0.04, 0.0, 0.0)._replace(jitter_p=1.0),),
    # The next frame of a camera that hardly moves.
    "frame": (
        _jitter(_PLAIN, 0.1, 0.1, 0.0, 0.0)._replace(
            crop_area=(0.85, 1.0), crop_aspect=(0.95, 1.05), jitter_p=1.0
        ),
    ),
    # 32 pixels.
    "simclr_cifar": (_blur(_STRONG, 0.5, _WHOLE),) * 2,
    "simsiam_cifar": (_MOCO_32,) * 2,
    "moco_cifar": (_MOCO_32,) * 2,
    "barlow_cifar": _PAIR_32,
    "byol_cifar": _PAIR_32,
    "vicreg_cifar": (_BYOL._replace(crop_area=(0.2, 1.0), solarise_p=0.1),) * 2,
    # 224 pixels.
    "simclr_imagenet": (_blur(_STRONG, 0.5, _PAPER),) * 2,
    "simsiam_imagenet": (_MOCO_224,) * 2,
    "moco_imagenet": (_MOCO_224,) * 2,
    "barlow_imagenet": _PAIR_224,
    "byol_imagenet": _PAIR_224,
    "vicreg_imagenet": (_blur(_BYOL, 0.5, _PAPER)._replace(solarise_p=0.1),) * 2,
    # Stealers', one view at a time; numbers of the attacks' released code, 32 pixels.
    # StolenEncoder (Liu et al. 2022): the whole image.
    "stolen_encoder": (_WEAK._replace(crop_area=(1.0, 1.0)),),
    # RDA (Wu et al. 2024): a square of fixed area, smaller to train on than to ask.
    "rda": (_RDA,),
    "rda_prototype": (_RDA._replace(crop_area=(0.9, 0.9)),),
}
