"""What the names of folders and files say: image or mask, train or test."""

import re
from collections.abc import Sequence

from segmentation.data.pairing import SPLIT_WORDS

IMAGE_WORDS = ("image", "photo", "picture", "input", "frame", "slice", "volume", "original")
MASK_WORDS = ("mask", "label", "annot", "truth", "segm", "target", "matte")
VIEW_WORDS = ("visual", "overlay", "color", "colour", "preview", "blend", "painted", "thumb")
OBJECT_WORDS = ("instance", "object", "panoptic", "contour", "boundary", "edges", "weight")

CHANNEL_WORDS = (
    *(
        "rgb",
        "irrg",
        "nir",
        "swir",
        "infrared",
        "thermal",
        "depth",
        "disparity",
        "height",
        "elevation",
        "lidar",
        "dsm",
        "dtm",
    ),
    *("channel", "band", "dapi", "gfp", "rfp", "bright", "phase", "fluor", "stain", "flair", "polar", "radar"),
)

_SHORT = {
    "image": ("img", "imgs", "im", "rgb", "raw", "sat", "scan", "scans", "vol"),
    "mask": ("gt", "gts", "seg", "segs", "lbl", "lbls", "anno", "annos"),
}
_CHANNELS = ("ir", "dem", "sar", "vv", "vh", "hh", "hv", "he", "ihc", "ch", "pan", "adc", "dwi", "cy")
"""Short names of channels, alone or with a number behind them."""

_NOT_ROLES = re.compile(r"(un)?(labell?ed|annotated|masked|segmented)", re.IGNORECASE)


def role(name: str) -> str | None:
    """``image`` or ``mask`` when a folder's or file's name says so; ``image_masks`` are masks."""
    plain = _NOT_ROLES.sub("", name)
    lowered, parts = plain.lower(), tokens(plain)
    if any(word in lowered for word in MASK_WORDS) or any(part in _SHORT["mask"] for part in parts):
        return "mask"
    if any(word in lowered for word in IMAGE_WORDS) or any(part in _SHORT["image"] for part in parts):
        return "image"
    return None


def tokens(name: str) -> list[str]:
    """``gtFine_2 labels`` -> gt, fine, labels."""
    return [token.lower() for token in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def says(name: str, words: Sequence[str]) -> bool:
    """Whether any of the words is in the name."""
    return any(word in name.lower() for word in words)


def names_channel(folder: str) -> bool:
    """Whether a folder's name says that its images are some channels of others: depth, dapi, ch1, b04, t2."""
    words = tokens(folder)
    numbered = re.search(r"(?<![a-z])(?:c|b|t|w|m)_?\d+(?!\d*[a-z])", folder.lower()) is not None
    return says(folder, CHANNEL_WORDS) or any(word in _CHANNELS for word in words) or numbered


def split_word(name: str) -> tuple[str, str, str] | None:
    """(before, word, after) when a folder's name holds a word for train, val or test; ``trainannot`` does."""
    for word in (word for words in SPLIT_WORDS.values() for word in words):
        for found in re.finditer(word, name, re.IGNORECASE):
            before, text, after = name[: found.start()], found[0], name[found.end() :]
            if _ends(before, text) and _begins(after):
                return before, text, after
            if len(word) > 2 and ((not before and role(after)) or (not after and role(before))):
                return before, text, after
    return None


def split_template(folder: str) -> tuple[str, str | None]:
    """``train/images`` -> ``{split}/images`` and train; a folder without such a word as it is, and None."""
    parts = folder.split("/")
    found = [split_word(part) for part in parts]
    lists = {split_of(word[1]) for word in found if word}
    if len(lists) != 1:
        return folder, None
    templated = [
        part if word is None else f"{word[0]}{{split}}{word[2]}" for part, word in zip(parts, found, strict=True)
    ]
    return "/".join(templated), lists.pop()


def split_of(word: str) -> str:
    """``Tr`` -> train."""
    return next(name for name, words in SPLIT_WORDS.items() if word.lower() in words)


def _ends(before: str, text: str) -> bool:
    return not before or not before[-1].isalpha() or (before[-1].islower() and text[0].isupper())


def _begins(after: str) -> bool:
    return not after or not after[0].isalpha() or after[0].isupper()
