"""Image files and bicubic resampling, against Pillow, hand-computed rows and MATLAB's algorithm."""

import errno
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from qsr.errors import ImageError
from qsr.images import (
    MAX_FACTOR,
    crop_to_multiple,
    downscale_bicubic,
    image_size,
    list_images,
    read_rgb,
    upscale_bicubic,
    write_rgb,
)

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
GREY = RGB[:, :, 0]

small_images = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def png_bytes(width, height, bit_depth, colour_type, rows):
    """Encode rows of raw bytes as a PNG, following its specification."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        ]
    )


def cubic(x):
    """Keys' kernel with a = -1/2, in floating point."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def matlab_rows(image, length, scale):
    """Resample columns of pixels one by one, in doubles, with MATLAB's 1-based coordinates."""
    shrink = min(scale, 1.0)
    count = image.shape[0]
    mirrored = [*range(count), *reversed(range(count))]
    rows = []
    for index in range(1, length + 1):
        centre = index / scale + 0.5 * (1 - 1 / scale)
        taps = np.arange(np.floor(centre - 2 / shrink), np.ceil(centre + 2 / shrink) + 1)
        weights = cubic(shrink * (centre - taps))
        pixels = image[[mirrored[int(tap - 1) % len(mirrored)] for tap in taps]]
        rows.append(np.tensordot(weights / weights.sum(), pixels, axes=1))
    return np.clip(np.floor(np.array(rows) + 0.5), 0, 255).astype(np.uint8)


def matlab_imresize(image, scale):
    """Resample as ``imresize(image, scale, "bicubic")`` does: rows, then columns."""
    height, width = (round(side * scale) for side in image.shape[:2])
    tall = matlab_rows(image, height, scale)
    return matlab_rows(tall.swapaxes(0, 1), width, scale).swapaxes(0, 1)


def row_image(values):
    """Make an image that varies along its rows only."""
    return np.repeat(np.array(values, np.uint8)[:, None], 27, axis=1)[:, :9, None].repeat(3, axis=2)


class TestReadRgb:
    """Every kind of file becomes uint8 RGB, or a one-line error."""

    def test_rgb_as_is(self, tmp_path):
        """RGB pixels come back unchanged."""
        Image.fromarray(RGB).save(tmp_path / "a.png")
        assert np.array_equal(read_rgb(tmp_path / "a.png"), RGB)

    @pytest.mark.parametrize("mode", ["L", "LA", "1"])
    def test_grey_replicated(self, tmp_path, mode):
        """Greyscale is the same in all three channels, whatever its transparency."""
        grey = GREY if mode != "1" else (GREY > 100) * np.uint8(255)
        picture = Image.fromarray(grey).convert(mode)
        if mode == "LA":
            picture.putalpha(0)
        picture.save(tmp_path / "a.png")
        assert np.array_equal(read_rgb(tmp_path / "a.png"), np.stack([grey] * 3, axis=2))

    @pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
    def test_palette_looked_up(self, tmp_path, transparency):
        """A palette's colours are kept, also those that the file calls transparent."""
        picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
        picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        options = {} if transparency is None else {"transparency": transparency}
        picture.save(tmp_path / "a.png", **options)
        expected = [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
        assert read_rgb(tmp_path / "a.png").tolist() == expected

    def test_alpha_dropped(self, tmp_path):
        """Colours under full transparency are kept rather than blended with a background."""
        picture = Image.fromarray(RGB)
        picture.putalpha(0)
        picture.save(tmp_path / "a.png")
        assert np.array_equal(read_rgb(tmp_path / "a.png"), RGB)

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_16_bit_grey_rounded(self, tmp_path, name):
        """16-bit greyscale v becomes v / 257, rounded to nearest."""
        deep = np.array([[0, 128, 129, 257 * 7 + 128, 257 * 7 + 129, 65535]], np.uint16)
        Image.fromarray(deep).save(tmp_path / name)
        assert read_rgb(tmp_path / name)[0, :, 1].tolist() == [0, 0, 1, 7, 8, 255]

    def test_16_bit_colour_truncated(self, tmp_path):
        """16-bit colour keeps its upper 8 bits, as Pillow decodes it."""
        deep = np.array([255, 256, 65535], ">u2")
        (tmp_path / "a.png").write_bytes(png_bytes(1, 1, 16, 2, [deep.tobytes()]))
        assert read_rgb(tmp_path / "a.png").tolist() == [[[0, 1, 255]]]

    def test_cmyk_converted(self, tmp_path):
        """CMYK comes back as Pillow's own conversion."""
        cmyk = Image.fromarray(RGB).convert("CMYK")
        cmyk.save(tmp_path / "a.tif")
        assert np.array_equal(read_rgb(tmp_path / "a.tif"), np.array(cmyk.convert("RGB")))

    @pytest.mark.parametrize(
        ("orientation", "upright"),
        [
            (1, RGB),
            (2, RGB[:, ::-1]),
            (3, RGB[::-1, ::-1]),
            (4, RGB[::-1]),
            (5, RGB.swapaxes(0, 1)),
            (6, np.rot90(RGB, -1)),
            (7, np.rot90(RGB.swapaxes(0, 1), 2)),
            (8, np.rot90(RGB)),
        ],
    )
    def test_exif_orientation_applied(self, tmp_path, orientation, upright):
        """A photograph stands as its EXIF tag says, for all eight orientations."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
        assert np.array_equal(read_rgb(tmp_path / "a.png"), upright)

    @pytest.mark.parametrize("name", ["a.webp", "a.tif", "a.png"])
    def test_first_frame(self, tmp_path, name):
        """Of several frames the first is read."""
        frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (0, 255)]
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert not read_rgb(tmp_path / name).any()

    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.ppm"])
    def test_truncated(self, tmp_path, name, kept):
        """A truncated file of any format is an error that names it and says what to do."""
        path = tmp_path / name
        Image.fromarray(skimage.data.astronaut()[:64, :64]).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(ImageError, match=rf"{name}: .*replace or remove the file\.$"):
            read_rgb(path)

    def test_not_an_image(self, tmp_path):
        """Text under an image's name is an error of one line."""
        (tmp_path / "a.png").write_text("hello")
        with pytest.raises(
            ImageError, match=r"a\.png: not an image; replace or remove the file\.$"
        ):
            read_rgb(tmp_path / "a.png")

    def test_missing(self, tmp_path):
        """A missing file is an error that says so."""
        with pytest.raises(ImageError, match=r"a\.png: no such file\.$"):
            read_rgb(tmp_path / "a.png")

    def test_folder(self, tmp_path):
        """A folder under an image's name is an error."""
        with pytest.raises(ImageError, match="directory"):
            read_rgb(tmp_path)

    @pytest.mark.parametrize("pixels", [np.float32(0.5), np.int32(-1), np.int32(65536)])
    def test_no_8_bit_equivalent(self, tmp_path, pixels):
        """Floating-point pixels, and integers outside 16 bits, are errors rather than guesses."""
        Image.fromarray(np.full((2, 2), pixels)).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match="pixels"):
            read_rgb(tmp_path / "a.tif")

    def test_absurd_size(self, tmp_path):
        """A file that claims 900 megapixels is an error before it is decoded."""
        (tmp_path / "a.png").write_bytes(png_bytes(30000, 30000, 8, 2, [b"\0"]))
        with pytest.raises(ImageError, match="megapixels"):
            read_rgb(tmp_path / "a.png")

    def test_large_photograph_without_warning(self, tmp_path, monkeypatch):
        """A size at which Pillow warns of a bomb is read without a warning."""
        Image.fromarray(RGB).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB.shape[0] * RGB.shape[1] - 1)
        assert np.array_equal(read_rgb(tmp_path / "a.png"), RGB)


class TestWriteRgb:
    """Files are written completely or not at all."""

    @given(image=small_images)
    def test_round_trip(self, tmp_path_factory, image):
        """What is written is read back exactly, by us and by Pillow."""
        path = tmp_path_factory.mktemp("out") / "a.png"
        write_rgb(path, image)
        assert np.array_equal(read_rgb(path), image)
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGB")

    def test_failure_keeps_the_old_file(self, tmp_path, monkeypatch):
        """With no space left, the old file stays whole and nothing else is left behind."""

        def full_disk(_picture, path, **_options):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        path = tmp_path / "a.png"
        write_rgb(path, RGB)
        monkeypatch.setattr(Image.Image, "save", full_disk)
        with pytest.raises(ImageError, match=r"a\.png: cannot be written \(No space left"):
            write_rgb(path, RGB[::-1])
        assert np.array_equal(read_rgb(path), RGB)
        assert list(tmp_path.iterdir()) == [path]

    def test_missing_folder(self, tmp_path):
        """A missing folder is an error that names the file."""
        with pytest.raises(ImageError, match=r"a\.png: cannot be written \(No such file"):
            write_rgb(tmp_path / "missing" / "a.png", RGB)

    def test_only_png(self, tmp_path):
        """A name of another format is refused, as the file would not be what it says."""
        with pytest.raises(ImageError, match=r"a\.jpg: .* ends in \.png"):
            write_rgb(tmp_path / "a.jpg", RGB)

    @pytest.mark.parametrize("image", [RGB / 255, GREY, RGB[:, :, :2]])
    def test_only_rgb(self, tmp_path, image):
        """Anything but uint8 (H, W, 3) is a ValueError."""
        with pytest.raises(ValueError, match="uint8"):
            write_rgb(tmp_path / "a.png", image)


class TestListImages:
    """A folder's images, in a fixed order."""

    def test_link_to_nothing(self, tmp_path):
        """A link to a file that is gone is listed, so that reading it names it."""
        (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
        assert list_images(tmp_path) == (tmp_path / "a.png",)
        with pytest.raises(ImageError, match=r"a\.png: no such file"):
            read_rgb(tmp_path / "a.png")

    def test_sorted_images_only(self, tmp_path):
        """Images of every ending and case are listed by name; other and hidden files are not."""
        wanted = ["A.PNG", "b.Jpeg", "c.jpg", "d.bmp", "e.tif", "f.TIFF", "g.webp", "h.ppm"]
        for name in [*reversed(wanted), ".hidden.png", "notes.txt", "png"]:
            (tmp_path / name).touch()
        (tmp_path / "folder.png").mkdir()
        assert [path.name for path in list_images(tmp_path)] == wanted

    def test_missing(self, tmp_path):
        """A missing folder is an error that says so."""
        with pytest.raises(ImageError, match=r"gone: no such folder\.$"):
            list_images(tmp_path / "gone")

    def test_file(self, tmp_path):
        """A file where a folder is wanted is an error that says what to give."""
        (tmp_path / "a.png").touch()
        with pytest.raises(ImageError, match=r"a\.png: a file; give the folder"):
            list_images(tmp_path / "a.png")

    def test_unreadable(self, tmp_path, monkeypatch):
        """A folder that may not be listed is an error that gives the reason."""

        def refuse(_folder):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(ImageError, match=r"cannot be listed \(Permission denied\)"):
            list_images(tmp_path)

    def test_empty(self, tmp_path):
        """A folder without images is an error that lists the endings looked for."""
        with pytest.raises(ImageError, match=r"no images in this folder .*png"):
            list_images(tmp_path)


class TestCropToMultiple:
    """Sides become multiples of the factor."""

    def test_cuts_bottom_and_right(self):
        """The top left corner stays; what is over is cut from the bottom and the right."""
        image = skimage.data.chelsea()
        assert np.array_equal(crop_to_multiple(image, 7), image[:294, :448])

    def test_too_small(self):
        """An image smaller than the factor is a ValueError."""
        with pytest.raises(ValueError, match="3 x 2 has no multiple of 3"):
            crop_to_multiple(RGB, 3)


class TestDownscale:
    """Shrinking, as MATLAB does it."""

    @pytest.mark.parametrize(
        ("bright_row", "expected"),
        [(12, [100, 100, 99, 109, 121, 98, 100]), (13, [100, 100, 100, 100, 127, 100, 100])],
    )
    def test_one_bright_row(self, bright_row, expected):
        """A row 81 levels brighter spreads by the kernel's weights in 81sts, worked out by hand."""
        rows = [100] * 21
        rows[bright_row] = 181
        shrunk = downscale_bicubic(row_image(rows), 3)
        assert shrunk[:, 1, 0].tolist() == expected

    @pytest.mark.parametrize("factor", [2, 3, 4, 8])
    def test_as_matlab(self, factor):
        """Every pixel, borders included, equals a direct evaluation of MATLAB's algorithm."""
        image = skimage.data.coffee()[100:172, 200:320]
        assert np.array_equal(downscale_bicubic(image, factor), matlab_imresize(image, 1 / factor))

    @given(image=small_images, factor=st.sampled_from([2, 3, 4]))
    def test_tiny_as_matlab(self, image, factor):
        """Images smaller than the kernel mirror repeatedly, as MATLAB does."""
        image = image.repeat(factor, axis=0).repeat(factor, axis=1)[::-1]
        assert np.array_equal(downscale_bicubic(image, factor), matlab_imresize(image, 1 / factor))

    @pytest.mark.parametrize("factor", [2, 3, 4, 5])
    def test_near_pillow(self, factor):
        """Away from borders and saturation, Pillow's bicubic (columns first) is within 1 level."""
        image = crop_to_multiple(skimage.data.astronaut() // 2 + 64, factor)
        ours = downscale_bicubic(image, factor)
        height, width = ours.shape[:2]
        pillow = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        assert np.abs(ours.astype(int) - np.array(pillow))[2:-2, 2:-2].max() <= 1

    def test_indivisible(self):
        """Sides that the factor does not divide are a ValueError."""
        with pytest.raises(ValueError, match="3 x 2 pixels do not divide by 2"):
            downscale_bicubic(RGB, 2)


class TestUpscale:
    """Enlarging, as MATLAB does it."""

    def test_one_bright_row(self):
        """A row 27 levels brighter spreads by the kernel's weights in 27ths, worked out by hand."""
        enlarged = upscale_bicubic(row_image([100, 100, 100, 127, 100, 100, 100]), 3)
        expected = [100, 100, 99, 98, 100, 109, 121, 127, 121, 109, 100, 98, 99, 100, 100]
        assert enlarged[3:18, 1, 0].tolist() == expected

    @pytest.mark.parametrize("factor", [2, 3, 4, 8])
    def test_as_matlab(self, factor):
        """Every pixel, borders included, equals a direct evaluation of MATLAB's algorithm."""
        image = skimage.data.rocket()[200:230, 300:325]
        assert np.array_equal(upscale_bicubic(image, factor), matlab_imresize(image, factor))

    @given(image=small_images, factor=st.sampled_from([2, 3, 4]))
    def test_tiny_as_matlab(self, image, factor):
        """Images smaller than the kernel mirror repeatedly, as MATLAB does."""
        assert np.array_equal(upscale_bicubic(image, factor), matlab_imresize(image, factor))

    @given(image=small_images, factor=st.sampled_from([3, 5, 7]))
    def test_odd_factor_keeps_pixels(self, image, factor):
        """At an odd factor, the middle pixel of each block is the pixel it came from."""
        middle = factor // 2
        enlarged = upscale_bicubic(image, factor)
        assert np.array_equal(enlarged[middle::factor, middle::factor], image)


@pytest.mark.parametrize("resample", [downscale_bicubic, upscale_bicubic])
class TestBothWays:
    """What holds for shrinking and enlarging alike."""

    @given(value=st.integers(0, 255), factor=st.integers(1, MAX_FACTOR))
    def test_constant_stays(self, resample, value, factor):
        """An image of one colour keeps it exactly, at every factor allowed."""
        image = np.full((factor, 2 * factor, 3), value, np.uint8)
        assert np.array_equal(np.unique(resample(image, factor)), [value])

    @given(image=small_images, factor=st.integers(1, 6))
    def test_flips_commute(self, resample, image, factor):
        """Flipping before or after is the same, exactly."""
        image = image.repeat(factor, axis=0).repeat(factor, axis=1)
        image[0, 0] = 255 - image[0, 0]
        for flip in (np.s_[::-1], np.s_[:, ::-1]):
            assert np.array_equal(resample(image[flip], factor), resample(image, factor)[flip])

    @given(image=small_images, factor=st.integers(1, 4))
    def test_channels_apart(self, resample, image, factor):
        """Each channel is resampled by itself."""
        image = image.repeat(factor, axis=0).repeat(factor, axis=1)
        assert np.array_equal(
            resample(image[:, :, ::-1], factor), resample(image, factor)[:, :, ::-1]
        )

    def test_largest_factor(self, resample):
        """At the largest factor, where sums are widest, full-range noise comes out as MATLAB's."""
        noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (64, 64, 3))
        scale = MAX_FACTOR if resample is upscale_bicubic else 1 / MAX_FACTOR
        assert np.array_equal(resample(noise, MAX_FACTOR), matlab_imresize(noise, scale))

    @pytest.mark.parametrize("factor", [0, -1, MAX_FACTOR + 1])
    def test_factor_out_of_range(self, resample, factor):
        """A factor outside the range is a ValueError."""
        with pytest.raises(ValueError, match=f"factor {factor}"):
            resample(RGB, factor)

    def test_only_rgb(self, resample):
        """Anything but uint8 (H, W, 3) is a ValueError."""
        with pytest.raises(ValueError, match="uint8"):
            resample(RGB.astype(np.float32), 1)


def test_image_size(tmp_path):
    """Width and height come from the header alone; what has none is named."""
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    assert image_size(path) == (30, 20)
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a\.png: not an image"):
        image_size(path)
