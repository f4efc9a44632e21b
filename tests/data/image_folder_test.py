"""Tests of nas_keras.data.image_folder: what is read, turned and refused."""

import logging
import struct
import zlib

import numpy as np
import pytest

from nas_keras.data import image_folder
from nas_keras.data import image_sources
from tests.raising import raises

Image = pytest.importorskip("PIL.Image")


def _pixels(seed, shape=(4, 5, 3)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def _write(folder, files):
    for name, pixels in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(pixels, bytes):
            path.write_bytes(pixels)
        else:
            Image.fromarray(pixels).save(path)
    return folder


def _png(depth, colour, samples, *chunks):
    """Returns a PNG file of 4 rows of 5 points; `colour` is its colour type."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    width = len(samples) // 4
    rows = (samples[k * width : (k + 1) * width] for k in range(4))
    header = struct.pack(">IIBBBBB", 5, 4, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(*each) for each in chunks)
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


def _transparent(kind):
    """Returns an image, its pixels [4, 5, 3], and its alpha [4, 5]."""
    alpha = _pixels(10, (4, 5))
    alpha[0], alpha[1] = 0, 255
    pixels = _pixels(9)
    if kind in ("LA", "grey"):
        pixels[...] = pixels[..., :1]
    if kind in ("RGBA", "LA"):
        layers = np.dstack([pixels, alpha])
        layers = layers[..., 2:] if kind == "LA" else layers
        return Image.fromarray(layers), pixels, alpha
    if kind in ("key", "grey"):  # One colour is transparent.
        key = pixels[2, 3]
        image = Image.fromarray(pixels[..., 0] if kind == "grey" else pixels)
        image.info["transparency"] = (
            int(key[0]) if kind == "grey" else tuple(map(int, key))
        )
        return image, pixels, 255 * (pixels != key).any(-1)
    palette = _pixels(11, (20, 3))
    image = Image.frombytes("P", (5, 4), bytes(range(20)))
    image.putpalette(palette.tobytes())
    if kind == "P":
        image.info["transparency"] = alpha.tobytes()
    else:
        image.info["transparency"] = 7
        alpha = np.full((4, 5), 255)
        alpha[1, 2] = 0
    return image, palette.reshape(4, 5, 3), alpha


_FILES = {
    "train/dog/1.png": _pixels(1),
    "train/dog/2.PNG": _pixels(2),
    "train/cat/b.png": _pixels(3),
    "train/cat/a.bmp": _pixels(4),
    "test/cat/1.png": _pixels(5),
    "test/dog/1.png": _pixels(6),
}


def test_folders_are_classes_and_files_their_images(tmp_path, caplog):
    others = {
        "train/cat/about.txt": b"no image",
        "train/cat/.hidden.png": b"nor this",
        "train/.git/x.png": b"",
        "README.md": b"",
    }
    _write(tmp_path, _FILES | others)
    found = image_sources.open_images(image_dir=tmp_path)
    assert not caplog.records
    assert found.name == tmp_path.name
    assert found.class_names == ("cat", "dog")
    wanted = [_pixels(k) for k in (4, 3, 1, 2)]
    np.testing.assert_array_equal(found.train.pixels, wanted)
    assert found.train.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(found.test.pixels, [_pixels(5), _pixels(6)])
    assert len(found.validation.labels) == 0


def test_images_that_are_passed_over_are_counted(tmp_path, caplog):
    others = {
        "train/cat/3.webp": b"",
        "train/dog/more/3.png": _pixels(7),
        "train/dog/more/4.png": _pixels(7),
        "test/dog/3.TIF": b"",
        "test/dog/about.txt": b"",
        "test/dog/.thumbnails/3.png": b"",
        "test/dog/.3.gif": b"",
    }
    _write(tmp_path / "pets", _FILES | others)
    with caplog.at_level(logging.WARNING):
        found = image_sources.open_images(image_dir=tmp_path / "pets")
    assert len(found.train.labels) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/pets: images of other endings than ('.bmp', '.jpeg', "
        "'.jpg', '.png') and folders within classes are passed over: 3, "
        "such as train/cat/3.webp."
    ]


@pytest.mark.parametrize("name", ["validation", "val", "Valid"])
def test_a_folder_may_have_a_validation_part(tmp_path, name):
    more = {
        f"{name}/cat/1.png": _pixels(7),
        f"{name}/dog/1.png": _pixels(8),
    }
    _write(tmp_path, _FILES | more)
    found = image_sources.open_images("folder", str(tmp_path))
    np.testing.assert_array_equal(
        found.validation.pixels, [_pixels(7), _pixels(8)]
    )


def test_grey_images_have_one_channel_if_all_are_grey(tmp_path):
    grey = {name: _pixels(0, (4, 5)) for name in _FILES}
    _write(tmp_path / "grey", grey)
    found = image_sources.open_images(image_dir=tmp_path / "grey")
    assert found.image_shape == (4, 5, 1)
    np.testing.assert_array_equal(
        found.train.pixels[0, ..., 0], _pixels(0, (4, 5))
    )
    _write(tmp_path / "mixed", grey | {"train/dog/1.png": _pixels(1)})
    found = image_sources.open_images(image_dir=tmp_path / "mixed")
    assert found.image_shape == (4, 5, 3)
    np.testing.assert_array_equal(
        found.train.pixels[0], np.stack([_pixels(0, (4, 5))] * 3, -1)
    )


def test_jpeg_images_are_read(tmp_path):
    flat = np.full((4, 5, 3), 90, np.uint8)
    files = _FILES | {"train/dog/3.jpg": flat, "train/dog/4.jpeg": flat}
    _write(tmp_path, files)
    found = image_sources.open_images(image_dir=tmp_path).train.pixels
    np.testing.assert_allclose(found[4:6], 90, atol=2)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "index", "key", "grey"])
def test_transparent_images_are_over_white(tmp_path, kind):
    image, pixels, alpha = _transparent(kind)
    (tmp_path / "train" / "ant").mkdir(parents=True)
    (tmp_path / "test" / "ant").mkdir(parents=True)
    for part in ("train", "test"):
        image.save(tmp_path / part / "ant" / "1.png")
    _write(tmp_path, _FILES)
    found = image_sources.open_images(image_dir=tmp_path).train.pixels[0]
    share = alpha[..., None] / 255
    wanted = share * pixels + (1 - share) * 255
    np.testing.assert_allclose(found, wanted, atol=0.51)
    is_opaque = alpha == 255
    assert is_opaque.any() and (alpha == 0).any()
    np.testing.assert_array_equal(found[is_opaque], pixels[is_opaque])
    assert (found[alpha == 0] == 255).all()


def test_an_alpha_of_opaque_images_changes_nothing(tmp_path):
    every = np.arange(4 * 64 * 3, dtype=np.uint8).reshape(4, 64, 3)
    opaque = np.dstack([every, np.full((4, 64, 1), 255, np.uint8)])
    files = dict.fromkeys(_FILES, every)
    _write(tmp_path, files | {"train/cat/0.png": opaque})
    found = image_sources.open_images(image_dir=tmp_path).train.pixels[0]
    np.testing.assert_array_equal(found, every)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda seen: seen),
        (2, lambda seen: seen[:, ::-1]),
        (3, lambda seen: seen[::-1, ::-1]),
        (4, lambda seen: seen[::-1]),
        (5, lambda seen: seen.swapaxes(0, 1)),
        (6, lambda seen: np.rot90(seen)),
        (7, lambda seen: seen[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda seen: np.rot90(seen, -1)),
        (9, lambda seen: seen),
    ],
)
def test_images_are_turned_as_exif_says(tmp_path, orientation, stored):
    _write(tmp_path, _FILES)
    seen = _pixels(7)
    tags = Image.Exif()
    tags[274] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored(seen)))
    image.save(tmp_path / "train/cat/0.png", exif=tags.tobytes())
    image.save(tmp_path / "train/dog/0.jpg", exif=tags.tobytes())
    found = image_sources.open_images(image_dir=tmp_path).train.pixels
    assert found.shape == (6, 4, 5, 3)  # The JPEG file too.
    np.testing.assert_array_equal(found[0], seen)


@pytest.mark.parametrize(
    ("tags", "is_turned"),
    [
        (b"no tags", False),
        (b"MM\0*\0\0\0", False),
        # Upside down, and a maker that is no text: Pillow cannot write it.
        (b"MM\0*\0\0\0\x08\0\2"
         b"\1\x0f\0\5\0\0\0\1\0\0\0\x26"
         b"\1\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"
         b"\0\0\0\1\0\0\0\2", True),
    ],
    ids=["none", "short", "maker"],
)  # fmt: skip
def test_exif_data_need_not_be_sound(tmp_path, tags, is_turned):
    samples = _pixels(7)
    chunks = [(b"eXIf", tags)]
    files = {"train/cat/0.png": _png(8, 2, samples.tobytes(), *chunks)}
    _write(tmp_path, _FILES | files)
    found = image_sources.open_images(image_dir=tmp_path).train.pixels
    wanted = samples[::-1, ::-1] if is_turned else samples
    np.testing.assert_array_equal(found[0], wanted)


def test_validation_is_split_off(tmp_path):
    _write(tmp_path, _FILES)
    found = image_sources.open_images(image_dir=tmp_path, num_validation=2)
    assert sorted(found.validation.labels) == [0, 1]
    assert sorted(found.train.labels) == [0, 1]


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ({"train/dog/9.png": _pixels(1, (5, 5, 3))},
         ["image_dir must have images of one size. Received: 4x5 in",
          "a.bmp', 5x5 in", "train/dog/9.png' (rows by columns)."]),
        ({"train/dog/9.png": b"text"},
         ["must have images that can be read", "train/dog/9.png', which "
          "is no image that Pillow knows."]),
        ({"train/dog/9.png": b""}, ["which is no image that Pillow"]),
        ({"train/cow/x.txt": b"", "test/cow/x.png": _pixels(1)},
         ["must have an image in the folder of each class",
          "Received: none in", "train/cow'."]),
        ({"train/cow/x.png": _pixels(1)},
         ["image_dir must be a folder whose 'test' has the classes of "
          "'train', ['cat', 'cow', 'dog']. Received: image_dir='",
          "/pets', with ['cat', 'dog']."]),
        ({"train/caf\udce9/x.png": _pixels(1)},
         ["whose classes have printable names.", "train/caf\\udce9'"]),
        ({"val/cat/x.png": _pixels(1), "dev/cat/x.png": _pixels(1)},
         ["must have one folder of the validation images", "['val', 'dev"]),
        ({"train/dog/9.png": _pixels(1, (4, 5)).astype(np.uint16)},
         ["train/dog/9.png', which has more than eight bits a channel"]),
    ],
)  # fmt: skip
def test_a_folder_is_checked(tmp_path, files, parts):
    _write(tmp_path / "pets", _FILES | files)
    with pytest.raises(ValueError) as error:
        image_sources.open_images(image_dir=tmp_path / "pets")
    for part in parts:
        assert part in str(error.value)


def test_one_class_alone_is_refused(tmp_path):
    pixels = _pixels(1)
    _write(tmp_path, {"train/cat/1.png": pixels, "test/cat/1.png": pixels})
    with raises("image_dir must be a folder whose 'train' has two classes at "
                f"least. Received: image_dir={str(tmp_path)!r}, with "
                "['cat']."):  # fmt: skip
        image_sources.open_images(image_dir=tmp_path)


@pytest.mark.parametrize(
    ("colour", "num_channels"), [(0, 1), (2, 3), (4, 2), (6, 4)]
)
def test_a_png_of_sixteen_bits_is_refused(tmp_path, colour, num_channels):
    files = {"train/dog/9.png": _png(16, colour, bytes(40 * num_channels))}
    _write(tmp_path, _FILES | files)
    with raises("train/dog/9.png', which has more than eight bits a "
                "channel, mode '"):  # fmt: skip
        image_sources.open_images(image_dir=tmp_path)


def test_a_file_that_is_cut_short_is_named(tmp_path):
    _write(tmp_path, _FILES)
    path = tmp_path / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"test/dog/1.png', which cannot"):
        image_sources.open_images(image_dir=tmp_path)


def test_a_file_of_too_many_points_is_named(tmp_path, monkeypatch):
    _write(tmp_path, _FILES | {"train/dog/9.png": _pixels(1, (9, 9, 3))})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with raises("train/dog/9.png', which cannot be read: Image size (81"):
        image_sources.open_images(image_dir=tmp_path)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    _write(tmp_path, _FILES)
    path = tmp_path / "test" / "dog" / "1.png"
    path.unlink()
    path.symlink_to("nowhere.png")
    with raises("1.png', which cannot be read: No such file or directory"):
        image_sources.open_images(image_dir=tmp_path)


def test_folders_that_are_not_there_are_errors(tmp_path):
    with raises("image_dir must be a folder. Received: image_dir='no'"):
        image_folder.read_image_folder("no")
    with raises("must have one folder of the train images, named one of "
                 "['train', 'training']"):  # fmt: skip
        image_sources.open_images(image_dir=tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with raises("a folder whose 'train' has a folder for each class"):
        image_sources.open_images(image_dir=tmp_path)
