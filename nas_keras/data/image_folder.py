"""Images from a folder of files, `PART/CLASS/*.png`, as TFDS' ImageFolder.

Every file is decoded once, by Pillow, which is imported when a folder is read.
Nothing is resized. Axes: N images, H rows, W columns, C channels.
"""

import concurrent.futures
import os
import pathlib
import struct
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from nas_keras import libraries
from nas_keras.data.checks import check
from nas_keras.data.images import Images
from nas_keras.data.sources import PART_NAMES

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
_OTHER_SUFFIXES = (
    *(".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pbm"),
    *(".pgm", ".pnm", ".ppm", ".svg", ".tga", ".tif", ".tiff", ".webp"),
)
# Of Pillow, with at most eight bits a channel: what RGB or grey can hold.
_GREY = ("1", "L", "LA")
_COLOURED = ("CMYK", "HSV", "LAB", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
# What Pillow calls that which undoes an orientation of EXIF.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# Where a PNG file has its bits a channel: in IHDR, which is its first chunk.
_PNG_DEPTH = 24
_Path = str | os.PathLike


def read_image_folder(
    folder: _Path,
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """Returns the parts of a folder of images, and the names of its classes.

    The folder has folders `train` and `test`, perhaps `validation` (see
    `PART_NAMES` for other names), each with a folder of images for each class.
    Classes and files come in the order of their names. Images are RGB, or grey
    if all are; what is transparent is over white, and they are turned as their
    EXIF data say. Hidden files, and those that do not end in one of `SUFFIXES`,
    are passed over; a warning counts those that may be images, and the folders
    within classes.

    Raises:
        ValueError: If a part or a class is missing, there is one class only, a
            class has no image, an image cannot be read or has more than eight
            bits a channel, or they are not of one size; the message names the
            file.
        ImportError: If Pillow is not installed.
    """
    with libraries.needed("A folder of images needs Pillow", "images"):
        import PIL.Image  # noqa: F401
    folder = pathlib.Path(folder)
    check(folder.is_dir(), "image_dir", "a folder", str(folder))
    parts = _part_folders(folder)
    class_names = _same_classes(folder, parts)
    paths: list[pathlib.Path] = []
    counts = {}
    labels: list[int] = []
    passed_over: list[pathlib.Path] = []
    for part, its in parts.items():
        before = len(paths)
        for label, name in enumerate(class_names):
            files, others = _image_files(its / name)
            paths += files
            labels += [label] * len(files)
            passed_over += others
        counts[part] = len(paths) - before
    if passed_over:
        logging.warning(
            "%s: images of other endings than %s and folders within classes "
            "are passed over: %d, such as %s.",
            folder,
            SUFFIXES,
            len(passed_over),
            passed_over[0].relative_to(folder),
        )
    pixels = _decode_all(paths)
    return _cut(pixels, np.array(labels, np.int32), counts), class_names


def _cut(
    pixels: np.ndarray, labels: np.ndarray, counts: Mapping[str, int]
) -> dict[str, Images]:
    """Returns what stands one after the other, by part."""
    parts, begin = {}, 0
    for part, count in counts.items():
        end = begin + count
        parts[part] = Images(pixels[begin:end], labels[begin:end])
        begin = end
    return parts


def _part_folders(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folder of each part; validation may have none."""
    there = {path.name.lower(): path for path in _folders(folder)}
    parts = {}
    for part, names in PART_NAMES.items():
        found = [there[name] for name in names if name in there]
        if len(found) == 1:
            parts[part] = found[0]
        elif found or part != "validation":
            raise ValueError(
                f"image_dir must have one folder of the {part} images, "
                f"named one of {list(names)}. Received: "
                f"image_dir={str(folder)!r}, with "
                f"{[path.name for path in found]} of {sorted(there)[:10]}."
            )
    return parts


def _same_classes(
    folder: pathlib.Path, parts: Mapping[str, pathlib.Path]
) -> tuple[str, ...]:
    """Returns the names of the classes, which are the same in all parts."""
    train = parts["train"].name
    names = _class_names(parts["train"])
    _check_names(len(names) > 1, folder, train, "two classes at least", names)
    rule = f"the classes of {train!r}, {list(names)[:10]}"
    for its in parts.values():
        found = _class_names(its)
        _check_names(found == names, folder, its.name, rule, found)
    return names


def _check_names(
    good: bool,
    folder: pathlib.Path,
    part: str,
    rule: str,
    names: tuple[str, ...],
) -> None:
    if not good:
        raise ValueError(
            f"image_dir must be a folder whose {part!r} has {rule}. "
            f"Received: image_dir={str(folder)!r}, with {list(names)[:10]}."
        )


def _class_names(folder: pathlib.Path) -> tuple[str, ...]:
    names = tuple(path.name for path in _folders(folder))
    rule = f"a folder whose {folder.name!r} has a folder for each class"
    check(names, "image_dir", rule, str(folder.parent))
    for name in names:
        rule = "a folder whose classes have printable names"
        check(name.isprintable(), "image_dir", rule, str(folder / name))
    return names


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    ]


def _image_files(
    folder: pathlib.Path,
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Returns the images of a class, of which there must be one.

    And what else may have images in it, which is not read.
    """
    names, others = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.lower()
            if name.startswith("."):
                continue
            if name.endswith(SUFFIXES):
                names.append(entry.name)
            elif name.endswith(_OTHER_SUFFIXES) or entry.is_dir():
                others.append(entry.name)
    if not names:
        raise ValueError(
            "image_dir must have an image in the folder of each class, with "
            f"a name that ends in one of {SUFFIXES}. Received: none in "
            f"{str(folder)!r}."
        )
    return (
        [folder / name for name in sorted(names)],
        [folder / name for name in sorted(others)],
    )


def _decode_all(paths: Sequence[pathlib.Path]) -> np.ndarray:
    """Returns images of one size as uint8 [N, H, W, C]."""
    first = _decode(paths[0])
    pixels = np.empty((len(paths), *first.shape[:2], 3), np.uint8)

    def put(place: int) -> bool:
        """Returns whether the image is a grey one."""
        image = _decode(paths[place])
        if image.shape[:2] != first.shape[:2]:
            raise ValueError(
                "image_dir must have images of one size. Received: "
                f"{_size(first)} in {str(paths[0])!r}, {_size(image)} in "
                f"{str(paths[place])!r} (rows by columns)."
            )
        pixels[place] = image
        return image.shape[2] == 1

    # Pillow decodes while Python runs another thread.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            is_grey = all(list(pool.map(put, range(len(paths)))))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return pixels[..., :1].copy() if is_grey else pixels


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"


def _decode(path: pathlib.Path) -> np.ndarray:
    """Returns an image as uint8 [H, W, 1 or 3]."""
    import PIL.Image

    try:
        with path.open("rb") as file:
            head = file.read(_PNG_DEPTH + 1)
            file.seek(0)
            with PIL.Image.open(file) as image:
                # Pillow cuts the 16 bits of a colour to eight in silence.
                is_deep = image.format == "PNG" and head[_PNG_DEPTH] > 8
                if not is_deep and image.mode in _GREY + _COLOURED:
                    return _pixels(image)
                problem = (
                    f"has more than eight bits a channel, mode {image.mode!r}"
                )
    except PIL.UnidentifiedImageError:
        problem = "is no image that Pillow knows"
    except (
        OSError,
        SyntaxError,
        ValueError,
        PIL.Image.DecompressionBombError,
    ) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    raise ValueError(
        "image_dir must have images that can be read. Received: "
        f"{str(path)!r}, which {problem}."
    )


def _pixels(image: Any) -> np.ndarray:
    """Returns an image of Pillow, upright, over white where transparent."""
    import PIL.Image

    turn = _TURNS.get(_orientation(image))
    if turn:
        image = image.transpose(PIL.Image.Transpose[turn])
    is_grey = image.mode in _GREY
    mode = "L" if is_grey else "RGB"
    if image.has_transparency_data:
        layers = image.convert("LA" if is_grey else "RGBA")
        white = PIL.Image.new(mode, image.size, "white")
        image = PIL.Image.composite(
            layers.convert(mode), white, layers.getchannel("A")
        )
    pixels = np.asarray(image.convert(mode))
    return pixels[..., None] if is_grey else pixels


def _orientation(image: Any) -> Any:
    """Returns what EXIF says of how an image lies; 1, upright, if nothing.

    As `PIL.ImageOps.exif_transpose`, which fails where it cannot write another
    tag, though, and where the data are cut short.
    """
    import PIL.ExifTags

    image.load()  # So that what fails below are the tags, not the points.
    try:
        return image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1
