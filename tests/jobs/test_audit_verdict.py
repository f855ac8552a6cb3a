"""What an audit is said to mean, at and around every threshold."""

from dataclasses import replace

import pytest

from qsr.calibration.audit import Extreme, TensorSaturation
from qsr.calibration.scheme import Scheme
from qsr.jobs.audit_records import AddAdvice, Audit, DropAdvice, HeldOut, IoGrid, TensorAudit
from qsr.jobs.audit_verdict import judge, percent

FITS = TensorSaturation(
    below_share=0.0,
    above_share=0.0002,
    worst_image="lamp",
    worst_share=0.002,
    clipped_to_rounding=1.5,
    best_width=0.9,
    gain_db=0.3,
)
END = Extreme(value=2.0, image="cat", runner_up=1.9, median=1.0)


def tensor(name, **changes):
    """Return a judged tensor that nothing is wrong with."""
    good = TensorAudit(
        name=f"net/{name}/Relu",
        operator="CONV_2D",
        role="judged",
        leads=True,
        state="varies",
        minimum=replace(END, value=0.0),
        maximum=END,
        grid_minimum=0.0,
        grid_maximum=2.0,
        halves_median=0.05,
        halves_worst=0.2,
        saturation=FITS,
    )
    return replace(good, **changes)


def end(role, **changes):
    """Return an exact grid of the input or output."""
    return replace(IoGrid(role, True, "uint8", 1 / 255, 0, 128.0, 0.0), **changes)


HELD_OUT = HeldOut(
    images=40,
    worst_share=0.0002,
    worst_tensor="net/body/Relu",
    saturating_images=3,
    worst_image="lamp",
    worst_image_share=0.002,
    gain_db=0.3,
    add=None,
    shared=(),
)
DROP = DropAdvice(
    image="cat",
    narrower=0.02,
    tensor="net/body/Relu",
    tensor_narrower=0.05,
    own_share=0.0001,
    held_out_share=0.0003,
    error_change_db=0.1,
)
GOOD = Audit(
    model="xcat",
    images_folder="set",
    against_folder="others",
    scheme=Scheme(),
    reader="exact",
    images=20,
    fixed_size=None,
    lowest_byte=0,
    highest_byte=255,
    io_grids=(end("input"), end("output")),
    tensors=(tensor("body"), tensor("tail", grid_maximum=1.0)),
    splits=16,
    drop=DROP,
    held_out=HELD_OUT,
)
UNMEASURED = replace(
    GOOD,
    against_folder=None,
    held_out=None,
    tensors=tuple(replace(one, saturation=None) for one in GOOD.tensors),
    drop=replace(DROP, held_out_share=None, error_change_db=None),
)


class TestKind:
    """The verdict in a word."""

    def test_good(self):
        """A set with nothing against it is good, and the next step is the model."""
        verdict = judge(GOOD)
        assert verdict.kind == "good"
        assert "at most 0.0200 % of a layer's values" in verdict.sentences[0]
        assert verdict.next_command == ("qsr", "quantize", "xcat", "--repdata", "set")

    @pytest.mark.parametrize(("share", "kind"), [(0.00099, "good"), (0.001, "too narrow")])
    def test_narrow(self, share, kind):
        """From the threshold on, a set is too narrow, and more images are searched."""
        verdict = judge(replace(GOOD, held_out=replace(HELD_OUT, worst_share=share)))
        assert verdict.kind == kind
        if kind == "too narrow":
            said = " ".join(verdict.sentences)
            assert "3 of 40 held-out images" in said
            assert "In body, the worst layer, 0.10 % of their values are cut off" in said
            assert "costs 2 times the error of rounding" in said
            assert "The reason" not in said
            words = ("--candidates", "DIR", "--validation", "others")
            assert verdict.next_command == ("qsr", "search-repdata", "xcat", *words)

    def test_narrow_because_dark(self):
        """A narrow set of dark images is told why, and what one image more would do."""
        add = AddAdvice("sun", 0.004, 0.0001, -5.0)
        dark = replace(
            GOOD,
            images=1,
            highest_byte=165,
            held_out=replace(HELD_OUT, worst_share=0.004, add=add),
        )
        said = " ".join(judge(dark).sentences)
        assert "its one image spans bytes 0 to 165 only" in said
        assert "sun of the held-out ones alone would take the worst layer to 0.0100 %" in said

    @pytest.mark.parametrize(
        ("highest", "kind"), [(199, "likely too narrow"), (200, "not measured")]
    )
    def test_dark_unmeasured(self, highest, kind):
        """Without held-out images, a dark set is a guess, and how to measure is said."""
        verdict = judge(replace(UNMEASURED, highest_byte=highest))
        assert verdict.kind == kind
        assert "--against" in verdict.sentences[-1]
        assert verdict.next_command[-2:] == ("--against", "DIR")

    @pytest.mark.parametrize(
        ("narrower", "kind"), [(0.099, "good"), (0.1, "stretched by one image")]
    )
    def test_stretched(self, narrower, kind):
        """An image for which all grids are coarser is named, with what it costs to drop it."""
        verdict = judge(replace(GOOD, drop=replace(DROP, narrower=narrower)))
        assert verdict.kind == kind
        if kind != "good":
            assert "for the sake of cat alone" in verdict.sentences[0]
            assert "0.0300 % of held-out values" in verdict.sentences[0]

    def test_stretched_for_a_reason(self):
        """An image without which held-out images lose much is not to be dropped."""
        drop = replace(DROP, narrower=0.3, held_out_share=0.01)
        assert judge(replace(GOOD, drop=drop)).kind == "good"

    def test_stretched_unmeasured(self):
        """Without held-out images, the image itself tells whether its extremes are rare."""
        drop = replace(UNMEASURED.drop, narrower=0.3)
        verdict = judge(replace(UNMEASURED, drop=drop))
        assert verdict.kind == "stretched by one image"
        assert "0.0100 % of its own values" in verdict.sentences[0]
        common = replace(drop, own_share=0.01)
        assert judge(replace(UNMEASURED, drop=common)).kind == "not measured"

    @pytest.mark.parametrize(("difference", "kind"), [(0.24, "good"), (0.25, "unstable")])
    def test_unstable(self, difference, kind):
        """Halves that differ much make a set unstable."""
        tensors = (GOOD.tensors[0], replace(GOOD.tensors[1], halves_median=difference))
        verdict = judge(replace(GOOD, tensors=tensors))
        assert verdict.kind == kind
        if kind == "unstable":
            assert (
                "give tail ranges that differ by 25% (median of 16 splits" in verdict.sentences[0]
            )

    @pytest.mark.parametrize(("gain", "kind"), [(0.99, "good"), (1.0, "coarse")])
    def test_coarse(self, gain, kind):
        """Grids that could be finer make a set coarse; the layer with most to gain is named."""
        wide = replace(GOOD.tensors[1], saturation=replace(FITS, gain_db=4.0, best_width=0.6))
        audit = replace(
            GOOD, tensors=(GOOD.tensors[0], wide), held_out=replace(HELD_OUT, gain_db=gain)
        )
        verdict = judge(audit)
        assert verdict.kind == kind
        if kind == "coarse":
            assert "(tail: 4.0 dB at 60% of its width)" in verdict.sentences[1]
            words = ("--candidates", "set", "--validation", "others")
            assert verdict.next_command == ("qsr", "search-repdata", "xcat", *words)

    @pytest.mark.parametrize(
        ("role", "means", "said"),
        [
            ("input", 80.0, "read darker than it is"),
            ("input", 150.0, "read brighter than it is"),
            ("output", 80.0, "shown brighter than the network made it"),
            ("output", 150.0, "shown darker than the network made it"),
        ],
    )
    def test_brightness(self, role, means, said):
        """A grid from the images that is off changes the brightness, in the direction said."""
        off = end(role, pinned=False, byte_128_means=means, largest_error=40.0)
        exact = end("output" if role == "input" else "input", pinned=False)
        verdict = judge(replace(GOOD, io_grids=(off, exact)))
        assert verdict.kind == "wrong brightness"
        assert said in verdict.sentences[0]
        assert "--io-from-images" in verdict.sentences[1]
        assert judge(replace(GOOD, io_grids=(replace(off, pinned=True), exact))).kind == "good"

    def test_options(self):
        """The next step has the options of the audit, but for those that were the mistake."""
        loose = Scheme(io="int8", per_channel=False, pin_io=False)
        audit = replace(GOOD, scheme=loose, reader="converter")
        words = ("--scheme", "int8-per-tensor", "--io-from-images", "--reader", "converter")
        assert judge(audit).next_command[-5:] == words
        off = end("input", pinned=False, byte_128_means=80.0, largest_error=40.0)
        command = judge(replace(audit, io_grids=(off, end("output")))).next_command
        assert "--io-from-images" not in command
        assert command[:3] == ("qsr", "audit-repdata", "xcat")
        assert "--scheme" in command

    def test_one_image(self):
        """What a single image's verdict rests on is said."""
        alone = replace(GOOD, images=1, drop=None, splits=0)
        assert "these 40 held-out images alone" in judge(alone).sentences[-1]
        assert (
            "one image has nothing to be compared with"
            in judge(replace(UNMEASURED, images=1, drop=None, splits=0)).sentences[0]
        )

    def test_nothing_to_judge(self):
        """Where all is pinned, any set is good."""
        tensors = tuple(replace(one, role="pinned", leads=False) for one in GOOD.tensors)
        audit = replace(GOOD, tensors=tensors, drop=None, held_out=None)
        assert judge(audit).kind == "good"
        assert len(judge(audit).sentences) == 1

    def test_several(self):
        """The gravest finding comes first and in full, the others in a sentence each."""
        audit = replace(
            GOOD,
            held_out=replace(HELD_OUT, worst_share=0.004),
            tensors=tuple(replace(one, halves_median=0.4) for one in GOOD.tensors),
        )
        verdict = judge(audit)
        assert verdict.kind == "too narrow"
        assert verdict.sentences[-1].startswith("Unstable")


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (1e-7, "under 0.0001 %"),
        (0.00002, "0.0020 %"),
        (0.001, "0.10 %"),
        (0.25, "25.00 %"),
    ],
)
def test_percent(share, said):
    """A share has digits where they matter."""
    assert percent(share) == said
