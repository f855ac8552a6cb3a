"""Audits of folders of photographs, against the integer models that they lead to."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from qsr import calibration as cal
from qsr.analysis.compare import compare
from qsr.calibration.quantize import picture_ranges
from qsr.data.pairs import find_pairs, lr_images
from qsr.errors import ImageError, ModelError, UsageError
from qsr.jobs.audit_repdata import audit_repdata
from qsr.jobs.integer_grids import integer_grids
from qsr.jobs.quantize import quantize_model
from qsr.tflite.graph import Graph


@pytest.fixture(scope="module")
def report(network, images):
    """The candidates against the validation images."""
    return audit_repdata(
        str(network), images=images / "candidates", against=images / "validation", workers=1
    )


@pytest.fixture(scope="module")
def dark(tmp_path_factory, images):
    """A folder of one image without any bright pixel."""
    folder = tmp_path_factory.mktemp("dark")
    picture = np.asarray(Image.open(images / "candidates/coffee.png"))
    Image.fromarray(picture // 4 + 20).save(folder / "night.png")
    return folder


@pytest.fixture(scope="module")
def narrow(network, images, dark):
    """The dark image against the validation images, which reach further."""
    return audit_repdata(str(network), images=dark, against=images / "validation", workers=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory, network):
    """Make an integer model from a folder: ``(folder, scheme="uint8", pin_io=True) -> path``."""

    def make(folder, *, scheme="uint8", pin_io=True):
        out = tmp_path_factory.mktemp("made") / "integer.tflite"
        quantize_model(str(network), [folder], out, scheme=scheme, pin_io=pin_io)
        return out

    return make


class TestSaturation:
    """What held-out images lose."""

    def test_as_compared(self, narrow, network, images, dark, made):
        """Every share is the one that ``compare`` finds in the real integer model."""
        held_out = find_pairs(images / "validation", 3)
        layers = compare(
            network.read_bytes(),
            made(dark).read_bytes(),
            ((name, lr, None) for name, lr in lr_images(held_out)),
        ).layers
        expected = {layer.name: layer for layer in layers}
        judged = narrow.audit.judged
        assert max(tensor.saturation.share for tensor in judged) > 0.01
        for tensor in judged:
            layer = expected[tensor.name]
            assert tensor.saturation.share == pytest.approx(
                layer.accumulated.saturated_share, abs=1e-5
            )
            assert tensor.grid_minimum == pytest.approx(layer.grid_minimum, rel=1e-5, abs=1e-7)
            assert tensor.grid_maximum == pytest.approx(layer.grid_maximum, rel=1e-5, abs=1e-7)

    def test_summary(self, narrow, images):
        """The summary is the worst of the tensors, and the images that have any share."""
        held_out = narrow.audit.held_out
        worst = max(narrow.audit.judged, key=lambda tensor: tensor.saturation.share)
        assert (held_out.worst_tensor, held_out.worst_share) == (worst.name, worst.saturation.share)
        shares = [tensor.saturation.worst_share for tensor in narrow.audit.judged]
        assert held_out.worst_image_share == max(shares)
        count = len(list((images / "validation").iterdir()))
        assert (held_out.images, held_out.saturating_images) == (count, count)

    def test_workers(self, narrow, network, images, dark):
        """Two processes find the same."""
        again = audit_repdata(str(network), images=dark, against=images / "validation", workers=2)
        assert again.audit == narrow.audit
        assert (again.workers, narrow.workers) == (2, 1)


class TestAdvice:
    """Which image to drop and which to add."""

    def test_drop(self, report, network, images, made, tmp_path):
        """Without the image named, the real grids are narrower by what is said; others less."""
        drop = report.audit.drop
        leads = {tensor.name for tensor in report.audit.tensors if tensor.leads}
        before = widths(made(images / "candidates"), network)
        narrower = {}
        for path in (images / "candidates").iterdir():
            folder = tmp_path / path.stem
            shutil.copytree(images / "candidates", folder)
            (folder / path.name).unlink()
            after = widths(made(folder), network)
            shares = {name: 1 - after[name] / before[name] for name in leads}
            narrower[path.stem] = np.mean(list(shares.values()))
            if path.stem == drop.image:
                assert drop.tensor == max(shares, key=shares.get)
                assert drop.tensor_narrower == pytest.approx(max(shares.values()), rel=1e-4)
        assert drop.image == max(narrower, key=narrower.get)
        assert drop.narrower == pytest.approx(max(narrower.values()), rel=1e-4)
        rest = audit_repdata(
            str(network),
            images=tmp_path / drop.image,
            against=images / "validation",
            workers=1,
        )
        assert drop.held_out_share == pytest.approx(rest.audit.held_out.worst_share, abs=1e-9)

    def test_dropped_itself(self, report, network, images, tmp_path):
        """What the dropped image would lose is what it loses as the only held-out image."""
        drop = report.audit.drop
        shutil.copytree(images / "candidates", tmp_path / "rest")
        (tmp_path / "itself").mkdir()
        name = f"{drop.image}.png"
        shutil.move(tmp_path / "rest" / name, tmp_path / "itself" / name)
        rest = audit_repdata(
            str(network), images=tmp_path / "rest", against=tmp_path / "itself", workers=1
        )
        assert drop.own_share == pytest.approx(rest.audit.held_out.worst_share, abs=1e-9)
        assert drop.own_share > 0

    def test_add(self, narrow, network, images, dark, tmp_path):
        """With the image named in the set, the others lose what is said."""
        add = narrow.audit.held_out.add
        shutil.copytree(dark, tmp_path / "set")
        shutil.copytree(images / "validation", tmp_path / "others")
        name = f"{add.image}.png"
        before = audit_repdata(
            str(network), images=dark, against=without(tmp_path / "others", name), workers=1
        )
        shutil.copy(images / "validation" / name, tmp_path / "set" / name)
        after = audit_repdata(
            str(network), images=tmp_path / "set", against=tmp_path / "others", workers=1
        )
        assert add.share_before == pytest.approx(before.audit.held_out.worst_share, abs=1e-9)
        assert add.share_after == pytest.approx(after.audit.held_out.worst_share, abs=1e-9)
        assert add.share_after < add.share_before
        assert add.error_change_db < 0

    def test_one_image(self, narrow):
        """One image has no halves, nothing to drop and no runner-up."""
        audit = narrow.audit
        assert (audit.images, audit.splits, audit.drop) == (1, 0, None)
        for tensor in audit.tensors:
            assert tensor.halves_median is None
            assert tensor.maximum.runner_up is None


class TestGrids:
    """What follows from ranges."""

    @pytest.mark.parametrize("scheme", ["uint8", "int8"])
    def test_ends(self, scheme, network, dark, made):
        """The images' own I/O grids are those of the real model without pinned ends."""
        audit = audit_repdata(str(network), images=dark, scheme=scheme, workers=1).audit
        interpreter = Interpreter(str(made(dark, scheme=scheme, pin_io=False)))
        details = (*interpreter.get_input_details(), *interpreter.get_output_details())
        for grid, end in zip(audit.io_grids, details, strict=True):
            assert (grid.scale, grid.zero_point) == end["quantization"]
            assert np.dtype(grid.dtype) == end["dtype"]
            assert grid.pinned
            byte = np.array(range(256), np.uint8)
            stored = byte if scheme == "uint8" else (byte ^ np.uint8(128)).view(np.int8)
            means = (stored.astype(np.float64) - grid.zero_point) * grid.scale * 255
            assert grid.byte_128_means == pytest.approx(means[128])
            assert grid.largest_error == pytest.approx(np.abs(means - np.arange(256)).max())
        assert audit.io_grids[0].byte_128_means < 60

    def test_roles(self, network, images, report):
        """Pinned ends are not judged; with ends from the images the outermost tensors are."""
        graph = Graph(network.read_bytes())
        known = picture_ranges(graph)
        pinned = {tensor.name for tensor in report.audit.tensors if tensor.role == "pinned"}
        assert pinned == set(known)
        loose = audit_repdata(
            str(network), images=images / "candidates", pin_io=False, workers=1
        ).audit
        roles = {tensor.name: tensor.role for tensor in loose.tensors}
        assert roles[graph.input.name] == roles[graph.output.name] == "judged"
        assert {name for name, role in roles.items() if role == "tied"} == set(known) - {
            graph.input.name,
            graph.output.name,
        }

    def test_loose_ends(self, network, images, dark):
        """An input grid from a dark image cuts off what is brighter, exactly counted."""
        report = audit_repdata(
            str(network), images=dark, against=images / "validation", pin_io=False, workers=1
        )
        tensor = report.audit.tensors[0]
        step = (tensor.grid_maximum - tensor.grid_minimum) / 255
        pictures = [lr for _, lr in lr_images(find_pairs(images / "validation", 3))]
        values = np.concatenate([picture.ravel() for picture in pictures]) / 255
        expected = (values > tensor.grid_maximum + step / 2).mean()
        assert tensor.saturation.above_share == pytest.approx(expected, abs=1e-9)
        assert expected > 0.1
        assert report.verdict.kind == "wrong brightness"

    def test_beyond_white(self, espcn, tmp_path):
        """What a network without a clip gives beyond black and white is clipped in any case."""
        (tmp_path / "espcn.tflite").write_bytes(espcn)
        rows = np.arange(60)
        soft = np.broadcast_to(rows[:, None, None] * 255 // 59, (60, 60, 3)).astype(np.uint8)
        hard = np.where(rows[:, None, None] // 10 % 2, 255, 0) * np.ones((60, 60, 3))
        for name, picture in (("soft", soft), ("hard", hard.astype(np.uint8))):
            (tmp_path / name).mkdir()
            Image.fromarray(picture).save(tmp_path / name / "picture.png")
        audit = audit_repdata(
            str(tmp_path / "espcn.tflite"),
            images=tmp_path / "soft",
            against=tmp_path / "hard",
            pin_io=False,
            workers=1,
        ).audit
        output = audit.tensors[-1]
        table = cal.collect(espcn, lr_images(find_pairs(tmp_path / "hard", 2)))
        assert output.grid_maximum > 0.999
        assert table.maximum[0, -1] > output.grid_maximum + 0.01
        assert output.saturation.above_share == 0

    def test_shared(self, report):
        """Of the tensors that share a grid one leads, and its own range fills the grid."""
        for tensors in report.audit.grids:
            assert [tensor.leads for tensor in tensors] == [True] + [False] * (len(tensors) - 1)
            leader = tensors[0]
            assert max(leader.maximum.value, 0) == pytest.approx(leader.grid_maximum, rel=0.02)
        assert any(len(tensors) > 1 for tensors in report.audit.grids)

    def test_all_pinned(self, nearest_neighbour, images):
        """A network all of whose ranges are known is good with any images."""
        report = audit_repdata(
            str(nearest_neighbour),
            images=images / "candidates",
            against=images / "validation",
            workers=1,
        )
        assert (report.verdict.kind, report.audit.judged) == ("good", ())

    def test_integer_grids(self, trained_xcat, photographs):
        """A tensor that the integer model lacks has its own range and 0 for a grid."""
        merged = cal.collect(trained_xcat, photographs).merged()
        found = integer_grids(trained_xcat, cal.Scheme())(
            merged.with_known({"made up": (1.0, 2.0)})
        )
        place = found.tensors.index("made up")
        assert (found.minimum[place], found.maximum[place]) == (0, 2)


class TestImages:
    """The two folders."""

    def test_overlap(self, network, images, report, tmp_path):
        """Held-out images that the set has, under any name, are left out and named."""
        shutil.copytree(images / "validation", tmp_path / "more")
        shutil.copy(images / "candidates/rocket.png", tmp_path / "more/another.png")
        again = audit_repdata(
            str(network), images=images / "candidates", against=tmp_path / "more", workers=1
        )
        assert again.audit.held_out.shared == ("another",)
        assert again.audit.held_out == dataclasses.replace(
            report.audit.held_out, shared=("another",)
        )

    def test_same(self, network, images):
        """When the set has every held-out image, that is said."""
        folder = images / "candidates"
        with pytest.raises(UsageError, match="every image of --against is in --images"):
            audit_repdata(str(network), images=folder, against=folder, workers=1)

    @pytest.mark.parametrize("side", ["images", "against"])
    def test_bad(self, side, network, images, tmp_path):
        """A bad image is named; or left out on request, on either side."""
        folders = {"images": images / "candidates", "against": images / "validation"}
        shutil.copytree(folders[side], tmp_path / "bad")
        (tmp_path / "bad/broken.png").write_bytes(b"none")
        folders[side] = tmp_path / "bad"
        with pytest.raises(ImageError, match=r"broken.png: .*--skip-bad-images"):
            audit_repdata(str(network), **folders, workers=1)
        report = audit_repdata(str(network), **folders, workers=1, skip_bad_images=True)
        (line,) = report.skipped
        assert "broken.png" in line

    def test_fixed_size(self, abpn, images, tmp_path):
        """A model of one size and of 0..255 is audited on tiles, and its size is told."""
        (tmp_path / "abpn.tflite").write_bytes(abpn)
        (tmp_path / "large").mkdir()
        Image.fromarray(skimage.data.chelsea()[:180, :210]).save(tmp_path / "large/cat.png")
        audit = audit_repdata(
            str(tmp_path / "abpn.tflite"),
            images=tmp_path / "large",
            against=images / "validation",
            workers=1,
        ).audit
        assert audit.fixed_size == (40, 48)
        assert 100 < audit.highest_byte <= 255
        for grid in audit.io_grids:
            assert abs(grid.byte_128_means - 128) < 128

    def test_progress(self, network, images, progress):
        """Each stage is told until its end."""
        audit_repdata(
            str(network),
            images=images / "candidates",
            against=images / "validation",
            workers=1,
            on_progress=progress,
        )
        ends = {stage: total for stage, done, total, _ in progress.stages if done == total}
        counts = [len(list((images / side).iterdir())) for side in ("candidates", "validation")]
        assert [ends["measure ranges"], ends["measure held-out ranges"]] == counts
        assert {stage for stage, *_ in progress.stages} == set(ends)


class TestRefused:
    """Requests that cannot be met."""

    def test_integer_model(self, made, images):
        """An integer model has no ranges to be audited."""
        folder = images / "candidates"
        with pytest.raises(ModelError, match="already quantized"):
            audit_repdata(str(made(folder)), images=folder, workers=1)

    def test_arguments(self, network, images):
        """A missing folder, an unknown scheme and no workers are named before any work."""
        folder = images / "candidates"
        with pytest.raises(ImageError, match="nowhere: no such"):
            audit_repdata(str(network), images=folder, against=Path("nowhere"))
        with pytest.raises(UsageError, match="no scheme named 'four'"):
            audit_repdata(str(network), images=folder, scheme="four")
        with pytest.raises(UsageError, match="at least 1"):
            audit_repdata(str(network), images=folder, workers=0)


def widths(integer, network):
    """Return the width of each activation's grid in an integer model, by the float model's name."""
    ranges = {}
    for layer in compare(
        network.read_bytes(),
        integer.read_bytes(),
        [("one", skimage.data.coffee()[:40, :40], None)],
    ).layers:
        ranges[layer.name] = layer.grid_maximum - layer.grid_minimum
    return ranges


def without(folder, name):
    """Delete an image from a folder; return the folder."""
    (folder / name).unlink()
    return folder
