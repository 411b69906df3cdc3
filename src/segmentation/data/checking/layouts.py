"""Which source reads a folder: by the names of its folders and files, and where they say nothing by the pixels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from segmentation.data.checking.listing import Listing, is_below, join, list_files, shown
from segmentation.data.checking.named_layouts import find_named
from segmentation.data.checking.pairs import Pair, find_pairs
from segmentation.data.class_tables import read_class_table
from segmentation.data.pairing import Pattern
from segmentation.data.reading import TIFF_SUFFIXES
from segmentation.data.splits import NAMES
from segmentation.data.spreading import spread
from segmentation.data.words import VIEW_WORDS, names_channel, role, says, tokens
from segmentation.errors import InputError

_TABLES = ("classes", "classnames", "labels", "labelmap", "labelcolors", "classdict", "classlabels", "categories")
_TABLE_SUFFIXES = (".txt", ".csv", ".json")

_STACKS = 20
"""TIFF files among which one volume and its labels are looked for by name."""

_SMALL = 0.1
"""Share of the largest layout below which another one beside it is only noted."""


@dataclass(frozen=True)
class Layout:
    """A way to read a folder.

    Attributes:
        source: Name of the source's class.
        arguments: Of that class, plain values, without ``root``.
        seen: One sentence for a person: what was recognised.
        notes: What else is there and is not read.
        table: File that names the classes.
        below: Folder below the root that is the source's root; empty for the root itself.
        count: Images with labels.
    """

    source: str
    arguments: dict[str, Any]
    seen: str
    notes: tuple[str, ...] = ()
    table: Path | None = None
    below: str = ""
    count: int = 0


def find(root: Path) -> list[Layout]:
    """Recognise a folder.

    Args:
        root: Of the data set.

    Returns:
        Nothing when it is not recognised, one layout when it is clear, several when a person must decide.

    Raises:
        InputError: When there is no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(
            f"{root.absolute()} {'is no folder' if root.exists() else 'does not exist'}; "
            "give the folder that holds the images and masks"
        )
    listing = list_files(root)
    layouts: list[Layout] = []
    taken: list[str] = []
    for named in find_named(listing):
        if any(is_below(folder, other) for folder in named.folders for other in taken):
            continue
        taken += named.folders
        layouts.append(Layout(named.source, named.arguments, named.seen, named.notes, None, named.below, named.count))
    if "" not in taken:
        stack = _one_stack(listing, taken)
        layouts += [stack] if stack else []
        taken += [str(stack.arguments["images"]).rpartition("/")[0]] if stack else []
        layouts += [] if "" in taken else _general(listing, taken)
    most = max((layout.count for layout in layouts), default=0)
    small = [layout for layout in layouts if layout.count < _SMALL * most]
    notes = tuple(f"also there, not read: {layout.seen}" for layout in small)
    return [_with_table(listing, layout, notes) for layout in layouts if layout not in small]


def _one_stack(listing: Listing, taken: Sequence[str]) -> Layout | None:
    """A volume and its labels, two multi-page TIFF files, by what their names say or else by their values."""
    files = [
        join(folder, name)
        for folder, names in listing.images.items()
        if not any(is_below(folder, other) for other in taken)
        for name in names
        if name.lower().endswith(TIFF_SUFFIXES)
    ]
    if not 2 <= len(files) <= _STACKS:
        return None
    counts = {file: look.planes for file in files if (look := listing.look(file)) is not None and look.planes > 1}
    masks = [file for file in counts if _stack_role(file) == "mask"]
    volumes = [file for file in counts if file not in masks]
    if not masks and len(volumes) == 2:
        likeliest = min(volumes, key=lambda file: _distinct(listing, file))
        look = listing.look(likeliest)
        if look is not None and look.mask_like:
            masks = [likeliest]
            volumes.remove(likeliest)
    pairs = [(volume, mask) for mask in masks for volume in volumes if _key(volume) == _key(mask)]
    if not pairs and len(masks) == 1:
        pairs = [(volume, masks[0]) for volume in volumes if counts[volume] == counts[masks[0]]]
    if len(pairs) != 1:
        return None
    volume, mask = pairs[0]
    notes = tuple(
        f"{shown(other)} holds {counts[other]} slices without labels: give it to predict"
        for other in volumes
        if other != volume
    )
    seen = f"a stack of {counts[volume]} slices, {shown(volume)}, and its labels {shown(mask)}"
    return Layout("TiffStackSource", {"images": volume, "masks": mask}, seen, notes, count=counts[volume])


def _stack_role(file: str) -> str | None:
    path = PurePosixPath(file)
    return role(path.stem) or next((said for part in reversed(path.parts[:-1]) if (said := role(part))), None)


def _key(file: str) -> tuple[str, ...]:
    """What is left of a path without the words for image and mask."""
    words = [word for part in PurePosixPath(file).with_suffix("").parts for word in _words(part)]
    return tuple(word for word in words if role(word) is None)


def _words(name: str) -> list[str]:
    digits = "".join(letter if letter.isdigit() else " " for letter in name).split()
    return tokens(name) + digits


def _distinct(listing: Listing, file: str) -> int:
    look = listing.look(file)
    return 2**31 if look is None else look.distinct


def _general(listing: Listing, taken: Sequence[str]) -> list[Layout]:
    pairs = find_pairs(listing, taken)
    pairs.sort(key=lambda pair: _unlikely(listing, pair))
    chosen: list[Pair] = []
    copies: dict[int, list[str]] = {}
    doubles: dict[int, list[str]] = {}
    used: set[str] = set()
    alternatives: list[Pair] = []
    for pair in pairs:
        images, masks = set(pair.image_files), set(pair.mask_files)
        if not (images | masks) & used:
            chosen.append(pair)
            used |= images | masks
            continue
        at = next((at for at, other in enumerate(chosen) if images & set(other.image_files)), None)
        if at is not None and not masks & used and not _is_of(listing, pair, chosen[at]):
            used |= masks
            ties = pair.rank == chosen[at].rank and len(images) >= 0.5 * len(chosen[at].image_files)
            if ties:
                alternatives.append(pair)
            else:
                copies.setdefault(at, []).append(pair.masks)
            continue
        at = next((at for at, other in enumerate(chosen) if _same_masks(pair, other)), None)
        if at is not None and not images & used and _is_of_size(listing, pair, chosen[at]):
            used |= images
            if _is_part(pair, chosen[at]):
                chosen[at] = _with_part(chosen[at], pair)
            else:
                doubles.setdefault(at, []).append(pair.images[0])
    everything = [*chosen, *alternatives]
    return [
        _layout(listing, pair, copies.get(at, []), doubles.get(at, []), taken, alone=len(everything) == 1)
        for at, pair in enumerate(everything)
    ]


def _unlikely(listing: Listing, pair: Pair) -> tuple[Any, ...]:
    """Smaller for what is likelier meant."""
    several = len(pair.classes) > 1
    look = listing.typical(pair.image_files)
    return (
        -len(pair.image_files),
        not several,
        *pair.rank,
        look is None or look.mask_like,  # a painted mask, not an image
        pair.distance,
        _unlike_images(pair),
        len(pair.masks),
        pair.masks,
    )


def _unlike_images(pair: Pair) -> int:
    text = pair.images[0]
    return 2 * says(text, VIEW_WORDS) + (role(text.partition("{stem}")[0]) != "image")


def _is_of(listing: Listing, pair: Pair, other: Pair) -> bool:
    """Whether the masks of one are among those of the other: one class of several."""
    pattern = Pattern(listing.root, other.masks, "masks")
    return all(pattern.key(listing.root / file) is not None for file in spread(list(pair.mask_files), 5))


def _same_masks(pair: Pair, other: Pair) -> bool:
    """Whether both have the same masks by the same stems."""
    first, second = set(pair.mask_files), set(other.mask_files)
    return pair.masks == other.masks and len(first & second) >= 0.9 * max(len(first), len(second))


def _is_of_size(listing: Listing, pair: Pair, other: Pair) -> bool:
    """Whether the images of a second folder are images, as large as the first's."""
    first, second = listing.typical(other.image_files), listing.typical(pair.image_files)
    return first is not None and second is not None and first.size == second.size and not second.mask_like


def _is_part(pair: Pair, other: Pair) -> bool:
    """Whether the images of a second folder are channels of the first's: by their names, and no copies for viewing."""
    telling = [word for word in VIEW_WORDS if word not in ("color", "colour")]
    second, *firsts = (text.rpartition("/")[0] for text in (pair.images[0], *other.images))
    return (
        pair.distance // 10 == other.distance // 10
        and not says(pair.images[0], telling)
        and (second in firsts or any(map(names_channel, (second, *firsts))))
    )


def _with_part(pair: Pair, part: Pair) -> Pair:
    ordered = sorted([*pair.images, *part.images], key=lambda text: (role(text) != "image", text))
    return replace(pair, images=tuple(ordered))


def _layout(
    listing: Listing,
    pair: Pair,
    copies: Sequence[str],
    doubles: Sequence[str],
    taken: Sequence[str],
    *,
    alone: bool,
) -> Layout:
    first, mask = listing.typical(pair.image_files[:1]), listing.typical(pair.mask_files[:1])
    # pages that a file calls channels are slices where there are masks for them
    stacks = first is not None and (first.pages > 1 or (mask is not None and 1 < first.planes == mask.planes))
    images: str | list[str] = pair.images[0] if len(pair.images) == 1 else list(pair.images)
    lone = _lone(listing, pair) if alone else []
    paired = {str(PurePosixPath(file).parent) for file in pair.image_files}
    elsewhere = [file for file in lone if str(PurePosixPath(file).parent) not in paired]
    if isinstance(images, str) and elsewhere and "{split}" not in images and images.startswith("{stem}"):
        images = "(?P<stem>[^/]+)" + _escaped(images.removeprefix("{stem}"))  # not the images of every folder below
        lone = [file for file in lone if "/" not in file]
        elsewhere = []
    arguments: dict[str, Any] = {"images": images, "masks": pair.masks}
    if pair.classes:
        arguments["classes"] = ["background", *pair.classes]
    notes = [f"{shown(text)}: other masks of the same images, for viewing or of objects, not read" for text in copies]
    both = ", ".join([*pair.images, *doubles])
    notes += [
        f"{shown(text)}: other images of the same names, not read; if they are channels of one image, set "
        f"data.source.images: [{shown(both)}]"
        for text in doubles
    ]
    count = len(pair.image_files)
    if lone and not stacks and (elsewhere or len(lone) > count):
        arguments["unlabelled"] = True
        notes.append(f"{len(lone)} images have no mask ({shown(lone[0])}, ...): they are left out of training")
    notes += [
        f"{text}: not read; if it lists the samples, set data.source.lists: {text}" for text in _list_files(listing)
    ]
    if alone:
        notes += _without_masks(listing, pair, [*copies, *doubles, pair.masks], set(lone), taken)
    what = "stacks" if stacks else "images"
    lists = f" for {', '.join(pair.lists)}" if pair.lists else ""
    classes = f", one for each of {', '.join(map(shown, pair.classes))}" if pair.classes else ""
    seen = f"{count} {what} {shown(' + '.join(pair.images))} with masks {shown(pair.masks)}{lists}{classes}"
    source = "TiffStackSource" if stacks and mask is not None else "FolderSource"
    return Layout(source, arguments, seen, tuple(notes), count=count)


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r".^$*+?{}[]\|()" else letter for letter in text)


def _lone(listing: Listing, pair: Pair) -> list[str]:
    """Images of a pair's pattern that have no mask."""
    pattern, masks = Pattern(listing.root, pair.images[0], "images"), Pattern(listing.root, pair.masks, "masks")
    others = [masks] if masks.weight > pattern.weight else []
    known = {*pair.image_files, *pair.mask_files}
    files = [join(folder, name) for folder, names in listing.images.items() for name in names]
    return [
        file
        for file in files
        if file not in known
        and pattern.key(listing.root / file) is not None
        and not any(other.key(listing.root / file) for other in others)
    ]


def _list_files(listing: Listing) -> list[str]:
    """``{split}.txt`` of each folder with such files for more than one split."""
    found = Counter(
        join(folder, f"{{split}}{PurePosixPath(name).suffix}")
        for folder, names in listing.others.items()
        for name in names
        if name.lower().endswith(".txt") and PurePosixPath(name).stem in NAMES
    )
    return [text for text, count in found.items() if count > 1]


def _without_masks(
    listing: Listing, pair: Pair, masks: Sequence[str], lone: set[str], taken: Sequence[str]
) -> list[str]:
    """Folders of images that no mask goes with."""
    patterns = [Pattern(listing.root, text, "masks") for text in (*masks, *pair.images)]
    notes = []
    for folder, names in listing.images.items():
        files = [join(folder, name) for name in names]
        if any(is_below(folder, other) for other in taken) or any(file in lone for file in files):
            continue
        if not any(pattern.key(listing.root / file) for pattern in patterns for file in files):
            notes.append(
                f"{shown(folder) or 'the folder'}/ holds {len(files)} images without masks: give them to predict"
            )
    return notes[:10]


def _with_table(listing: Listing, layout: Layout, notes: tuple[str, ...]) -> Layout:
    """With the nearest readable table of classes: in the source's folder, or else near the root."""
    below = layout.below
    found = [
        join(folder, name)
        for folder, names in listing.others.items()
        if folder.count("/") <= 1 or is_below(folder, below)
        for name in names
        if name.lower().endswith(_TABLE_SUFFIXES) and _plain(name) in _TABLES
    ]
    found.sort(key=lambda file: (not is_below(file.rpartition("/")[0], below), file.count("/"), file))
    faults = []
    for file in found:
        try:
            read_class_table(listing.root / file)
        except InputError as error:
            faults.append(f"not read: {error}")
            continue
        return replace(layout, notes=layout.notes + notes, table=listing.root / file)
    return replace(layout, notes=(*layout.notes, *notes, *faults))


def _plain(name: str) -> str:
    return "".join(letter for letter in PurePosixPath(name).stem.lower() if letter.isalpha())
