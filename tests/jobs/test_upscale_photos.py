"""Photographs through a model, without the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qsr.errors import ImageError, UsageError
from qsr.jobs.upscale import upscale_photos


@pytest.fixture
def photographs_folder(photographs, tmp_path):
    """A folder of four small photographs."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, pixels in photographs.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


class TestResults:
    """What is written."""

    def test_integer(self, run, photographs_folder, photographs, run_bare, tmp_path):
        """The PNG holds the bytes that TFLite gives for the photograph's bytes."""
        upscale_photos(run.integer_model, [photographs_folder], tmp_path / "out")
        model = Path(run.integer_model).read_bytes()
        for name, pixels in photographs.items():
            written = np.asarray(Image.open(tmp_path / f"out/{name}_x3.png")).astype(int)
            assert np.abs(written - run_bare(model, pixels[None])[0]).max() <= 2  # other kernels

    def test_float(
        self, *, network, photographs_folder, photographs, trained_xcat, run_bare, tmp_path
    ):
        """A float model's picture is clipped and rounded."""
        report = upscale_photos(str(network), [photographs_folder / "coffee.png"], tmp_path / "out")
        values = run_bare(trained_xcat, photographs["coffee"][None].astype(np.float32) / 255)[0]
        written = np.asarray(Image.open(report.photos[0].result)).astype(np.float32)
        assert np.abs(written - 255 * np.clip(values, 0, 1)).max() < 0.501
        assert (report.photos[0].width, report.photos[0].height) == (120, 144)

    def test_fixed_size(self, abpn, photographs_folder, tmp_path):
        """A model of one input size enlarges photographs of any, smaller ones too."""
        (tmp_path / "abpn.tflite").write_bytes(abpn)
        Image.new("RGB", (2, 3), "red").save(photographs_folder / "tiny.png")
        model = str(tmp_path / "abpn.tflite")
        report = upscale_photos(model, [photographs_folder], tmp_path / "out")
        sizes = {
            photo.source.rsplit("/")[-1]: (photo.width, photo.height) for photo in report.photos
        }
        assert sizes["tiny.png"] == (6, 9)
        assert sizes["chelsea.png"] == (171, 99)


class TestRefused:
    """Nothing is written unless everything can be, and no photograph is lost."""

    def test_bad_photograph(self, network, photographs_folder, tmp_path):
        """A bad photograph is named before any result is written, or left out on request."""
        whole = (photographs_folder / "coffee.png").read_bytes()
        (photographs_folder / "zz.png").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ImageError, match=r"zz.png: .*--skip-bad-images"):
            upscale_photos(str(network), [photographs_folder], tmp_path / "out")
        assert not (tmp_path / "out").exists()
        report = upscale_photos(
            str(network), [photographs_folder], tmp_path / "out", skip_bad_images=True
        )
        assert len(report.photos) == 4
        assert report.skipped[0].startswith(str(photographs_folder / "zz.png"))

    def test_replaced(self, network, photographs_folder):
        """A result never replaces a photograph."""
        (photographs_folder / "coffee.png").rename(photographs_folder / "rocket_x3.png")
        before = (photographs_folder / "rocket_x3.png").read_bytes()
        with pytest.raises(UsageError, match=r"rocket_x3.png: would replace a photograph"):
            upscale_photos(str(network), [photographs_folder], photographs_folder)
        assert (photographs_folder / "rocket_x3.png").read_bytes() == before
        assert len(list(photographs_folder.iterdir())) == 4

    def test_one_name(self, network, photographs_folder, tmp_path):
        """Photographs that differ in their ending alone keep it; one given twice is refused."""
        Image.new("RGB", (20, 20)).save(photographs_folder / "coffee.bmp")
        report = upscale_photos(str(network), [photographs_folder], tmp_path / "out")
        results = {Path(photo.result).name for photo in report.photos}
        assert {"coffee.bmp_x3.png", "coffee.png_x3.png"} <= results
        twice = [photographs_folder, photographs_folder / "coffee.bmp"]
        with pytest.raises(UsageError, match=r"two photographs named coffee\.bmp"):
            upscale_photos(str(network), twice, tmp_path / "out")

    @pytest.mark.parametrize("photos", [["missing.png"], []])
    def test_nothing(self, photos, tmp_path, monkeypatch):
        """A missing photograph, or none, is told before the model is loaded."""
        monkeypatch.setattr("qsr.jobs.upscale.load_any", None)
        with pytest.raises((ImageError, UsageError), match=r"missing.png: no such|at least one"):
            upscale_photos("xcat", [tmp_path / photo for photo in photos], tmp_path / "out")

    def test_out_is_a_file(self, network, photographs_folder):
        """A file in the place of the folder is named."""
        photo = photographs_folder / "coffee.png"
        with pytest.raises(UsageError, match=r"coffee.png: cannot be made"):
            upscale_photos(str(network), [photo], photo)
