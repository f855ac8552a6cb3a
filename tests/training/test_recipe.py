"""Recipes: those that ship, and what is said about a wrong one."""

import re
import tomllib
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest

import qsr.training.recipe_files
from qsr.errors import UsageError
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import build
from qsr.training.recipe import Stage, Training, smoke_size
from qsr.training.recipe_files import load_recipe, parse_recipe, shipped_recipes


def shipped_text(name):
    """Read a recipe that ships, as it lies there."""
    return (qsr.training.recipe_files._recipes_folder() / f"{name}.toml").read_text()


def opening(name):
    """Return the lines of the comment that a shipped recipe opens with."""
    return list(takewhile(lambda line: line.startswith("#"), shipped_text(name).splitlines()))


def parse(**sections):
    """Parse a recipe of these sections."""
    return parse_recipe({"name": "a", **sections}, source="a.toml")


class TestShipped:
    """The recipes in the package."""

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_opening(self, name):
        """A recipe opens with a comment that gives the command and what to expect of it."""
        comment = opening(name)
        assert any(line.split()[1:4] == ["qsr", "train", name] for line in comment)
        assert any("dB" in line and "xpected" in line for line in comment)

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_expected_time(self, name):
        """The comment gives the time that the recipe's own steps take at the rate beside it."""
        (said,) = re.findall(
            r"Expected time: about ([\d.]+) h on 2 CPU cores, for ([\d,]+) steps at (\d+)/s "
            r"\((?:measured|as xcat_x3|estimated: .*)\)\.",
            " ".join(line.removeprefix("# ") for line in opening(name)),
        )
        hours, steps, rate = (float(number.replace(",", "")) for number in said)
        assert steps == load_recipe(name).steps
        assert hours == pytest.approx(steps / rate / 3600, rel=0.05)

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_loads(self, name):
        """A recipe loads, and is named as its file."""
        assert load_recipe(name).name == name

    def test_paper(self):
        """xcat_x3 is the paper's network and both its stages, number by number (section 3.2)."""
        recipe = load_recipe("xcat_x3")
        assert recipe.network == "xcat"
        assert recipe.model == XcatConfig()
        training = recipe.training
        assert training.lr_patch_px == 96 / 3
        assert training.batch_size == 16
        assert training.epochs == 50
        assert training.steps_per_epoch == 10_000
        assert training.schedule == "warmup_then_linear"
        assert training.warmup_epochs == 5
        assert training.final_rate == 0.0001
        assert training.adam_beta_1 == 0.9
        assert training.adam_beta_2 == 0.999
        assert training.adam_epsilon == 1e-8
        first, second = recipe.stages
        assert (first.loss, first.charbonnier_epsilon) == ("charbonnier", 0.1)
        assert (first.initial_rate, first.peak_rate) == (0.001, 0.0025)
        assert not first.added_data
        assert second.loss == "mse"
        assert (second.initial_rate, second.peak_rate) == (0.0001, 0.00125)
        assert second.added_data
        assert {stage.precision for stage in recipe.stages} == {"float32"}
        assert recipe.steps == 1_000_000
        assert recipe.stage_ends == (500_000, 1_000_000)
        assert recipe.augmentation.flips
        assert recipe.augmentation.rotations
        assert recipe.augmentation.intensities == (1.0, 0.7, 0.5)

    def test_paper_written_out(self):
        """Every number of the paper's training stands in the file, none is left to a default."""
        written = tomllib.loads(shipped_text("xcat_x3"))
        unused = {"halving_epochs"}
        assert set(written["training"]) == set(Training.__dataclass_fields__) - unused

    @pytest.mark.parametrize(
        ("name", "parameters"), [("xlsr_x3", 21_947), ("abpn_x3", 42_539), ("espcn_x3", 31_131)]
    )
    def test_published(self, name, parameters):
        """The recipe of another network configures that network as published."""
        recipe = load_recipe(name)
        assert build(recipe.network, recipe.model).count_params() == parameters

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_smoke(self, name):
        """The smoke size has the network and the stages of the recipe, and takes ten steps each."""
        recipe = load_recipe(name)
        smoke = smoke_size(recipe)
        assert (smoke.model, smoke.stages) == (recipe.model, recipe.stages)
        assert smoke.steps == 10 * len(recipe.stages)
        assert smoke.name == f"{name}-smoke"


class TestBase:
    """Recipes that say only what differs from another."""

    def test_merged(self, tmp_path):
        """Sections are merged field by field, stages are replaced, and the rest is the base's."""
        path = tmp_path / "mine.toml"
        path.write_text(
            'base = "xcat_x3"\nname = "mine"\n[model]\nblocks = 4\n[[stages]]\nloss = "mae"\n'
        )
        recipe, base = load_recipe(str(path)), load_recipe("xcat_x3")
        assert recipe == replace(
            base, name="mine", model=XcatConfig(blocks=4), stages=(Stage(loss="mae"),)
        )

    def test_chain(self, tmp_path):
        """A base may have a base, given by a path beside it; the file itself comes first."""
        (tmp_path / "a.toml").write_text('base = "b.toml"\nname = "a"\n')
        (tmp_path / "b.toml").write_text(
            'base = "xcat_x3"\nname = "b"\n[training]\nseed = 7\nepochs = 9\n'
        )
        recipe = load_recipe(str(tmp_path / "a.toml"), ["training.seed=8"])
        training = (recipe.training.seed, recipe.training.epochs, recipe.training.batch_size)
        assert (recipe.name, *training) == ("a", 8, 9, 16)

    @pytest.mark.parametrize(
        ("base", "message"),
        [
            ('"a.toml"', "its bases go in a circle"),
            ("3", "it must be the name of a recipe, not 3"),
            ('"xcat_y3"', r"a\.toml: base: no recipe named 'xcat_y3'; did you mean xcat_.3\?"),
            ('"gone.toml"', r"gone\.toml: not a readable recipe"),
        ],
    )
    def test_unusable(self, tmp_path, base, message):
        """A base that is missing, no name, or the recipe itself is an error."""
        (tmp_path / "a.toml").write_text(f'base = {base}\nname = "a"\n')
        with pytest.raises(UsageError, match=message):
            load_recipe(str(tmp_path / "a.toml"))


class TestLoad:
    """Finding and reading a recipe."""

    def test_path(self, tmp_path):
        """A .toml file anywhere is a recipe; what it leaves out has the paper's values."""
        path = tmp_path / "mine.toml"
        path.write_text('name = "mine"\n[model]\nblocks = 4\n')
        recipe = load_recipe(str(path))
        assert recipe.name == "mine"
        assert recipe.model == XcatConfig(blocks=4)
        assert recipe.training == Training()

    def test_unknown_name(self):
        """An unknown name is an error that lists the names, and says that a path will do."""
        with pytest.raises(
            UsageError,
            match=r"'xcat_x4'; did you mean xcat_x3\? give one of .*xcat_x3.* a \.toml file",
        ):
            load_recipe("xcat_x4")

    def test_missing_file(self, tmp_path):
        """A missing file is an error that names it."""
        with pytest.raises(UsageError, match=r"gone\.toml: .*No such file"):
            load_recipe(str(tmp_path / "gone.toml"))

    @pytest.mark.parametrize(
        "content", [b"name =", b"[model", b"\xff\xfe\x00", b'name = "a"\n' * 2]
    )
    def test_not_toml(self, tmp_path, content):
        """A file that is not TOML is an error that names it."""
        (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.toml: not a readable recipe"):
            load_recipe(str(tmp_path / "a.toml"))

    def test_folder(self, tmp_path):
        """A folder in place of the file is an error that names it."""
        (tmp_path / "a.toml").mkdir()
        with pytest.raises(UsageError, match=r"a\.toml: not a readable recipe"):
            load_recipe(str(tmp_path / "a.toml"))


class TestFields:
    """Unknown, ill-typed and impossible fields."""

    @pytest.mark.parametrize(
        ("sections", "message"),
        [
            ({"trainings": {}}, "unknown field trainings; did you mean training?"),
            (
                {"stages": [{}, {"peek_rate": 1e-3}]},
                "unknown field stages.2.peek_rate; did you mean peak_rate?",
            ),
            (
                {"training": {"steps_per_epochs": 9}},
                "unknown field training.steps_per_epochs; did you mean steps_per_epoch?",
            ),
            ({"model": {"block_count": 3}}, "unknown field model.block_count; did you mean block"),
            (
                {"augmentation": {"flip": True}},
                "unknown field augmentation.flip; did you mean flips?",
            ),
            (
                {"augmentation": {"zoom": 2}},
                "unknown field augmentation.zoom; valid ones: flips, rotations, intensities",
            ),
        ],
    )
    def test_unknown(self, sections, message):
        """An unknown field is named in full, with the closest valid name, or all of them."""
        with pytest.raises(UsageError) as caught:
            parse(**sections)
        assert str(caught.value).startswith(f"a.toml: {message}")

    @pytest.mark.parametrize(
        ("sections", "field", "value"),
        [
            ({"training": {"epochs": "many"}}, "training.epochs", "'many'"),
            ({"training": {"epochs": 2.5}}, "training.epochs", "2.5"),
            ({"training": {"epochs": True}}, "training.epochs", "True"),
            ({"training": {"schedule": "cosine"}}, "training.schedule", "'cosine'"),
            ({"stages": [{}, {"loss": "ssim"}]}, "stages.2.loss", "'ssim'"),
            ({"model": {"last_conv_kernel": 5}}, "model.last_conv_kernel", "5"),
            ({"model": {"mixing": "shuffle"}}, "model.mixing", "'shuffle'"),
            ({"augmentation": {"flips": "yes"}}, "augmentation.flips", "'yes'"),
            ({"augmentation": {"intensities": [1, "x"]}}, "augmentation.intensities.2", "'x'"),
            ({"training": 3}, "training", "3"),
            ({"network": "xcat2"}, "network", "'xcat2'"),
            ({"network": ["xcat"]}, "network", "['xcat']"),
        ],
    )
    def test_ill_typed(self, sections, field, value):
        """A field of a wrong type or choice is named in full, with the value that it has."""
        with pytest.raises(UsageError) as caught:
            parse(**sections)
        assert str(caught.value).startswith(f"a.toml: {field}: ")
        assert str(caught.value).endswith(f", not {value}")

    @pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a b"])
    def test_name(self, name):
        """A name that is no plain file name is an error: run folders are called by it."""
        with pytest.raises(UsageError, match="name must be a file name"):
            parse_recipe({"name": name}, source="a.toml")

    def test_date(self):
        """A TOML date, which no field takes, is an ill-typed value like any other."""
        data = tomllib.loads("name = 'a'\n[training]\nepochs = 2022-08-30\n")
        with pytest.raises(UsageError, match=r"training\.epochs: .* not '2022-08-30'"):
            parse_recipe(data, source="a.toml")

    def test_nameless(self):
        """A recipe without a name is an error that says so."""
        with pytest.raises(UsageError, match=r"a\.toml: name: Field required"):
            parse_recipe({}, source="a.toml")

    def test_whole_number_as_rate(self):
        """A rate may be written without a decimal point."""
        assert parse(training={"final_rate": 1}).training.final_rate == 1.0

    @pytest.mark.parametrize(
        ("section", "field", "value", "limit"),
        [
            ("training", "batch_size", 0, "at least 1, not 0"),
            ("training", "lr_patch_px", -1, "at least 1, not -1"),
            ("training", "epochs", 0, "at least 1, not 0"),
            ("training", "steps_per_epoch", 0, "at least 1, not 0"),
            ("training", "warmup_epochs", 50, r"less than training.epochs \(50\)"),
            ("training", "warmup_epochs", -1, "at least 0"),
            ("training", "final_rate", float("nan"), "above 0 and finite, not nan"),
            ("training", "adam_epsilon", 0.0, "above 0 and finite, not 0.0"),
            ("training", "adam_beta_1", 1.0, "at least 0 and less than 1, not 1.0"),
            ("training", "adam_beta_2", -0.1, "at least 0 and less than 1, not -0.1"),
            ("training", "seed", -1, "0 to 4294967295, not -1"),
            ("training", "seed", 2**32, "0 to 4294967295, not 4294967296"),
            ("model", "scale", 1, "at least 2, not 1"),
            ("augmentation", "intensities", [], r"one or more factors .* not \[\]"),
            ("augmentation", "intensities", [1.0, 1.5], r"at most 1, not \[1.0, 1.5\]"),
            ("augmentation", "intensities", [0.0], r"above 0 .* not \[0.0\]"),
        ],
    )
    def test_impossible(self, section, field, value, limit):
        """A value that cannot be trained with is an error that names field, limit and value."""
        with pytest.raises(UsageError, match=rf"^a\.toml: {section}\.{field}.*{limit}"):
            parse(**{section: {field: value}})

    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("initial_rate", 0.0), ("peak_rate", -1.0), ("peak_rate", float("inf"))),
            ("charbonnier_epsilon", 0.0),
        ],
    )
    def test_impossible_stage(self, number, field, value):
        """A value that a stage cannot be trained with is an error that says which stage."""
        stages = [{}, {}]
        stages[number - 1] = {field: value}
        message = rf"^a\.toml: stages\.{number}\.{field} must be above 0 and finite, not {value}"
        with pytest.raises(UsageError, match=message):
            parse(stages=stages)

    @pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
    def test_impossible_luminance(self, value):
        """A share of the loss lies between nothing and all of it."""
        with pytest.raises(UsageError, match=r"stages\.1\.luminance_weight must be 0 to 1"):
            parse(stages=[{"luminance_weight": value}])


class TestOverrides:
    """``section.field=value``, as ``--set`` gives it."""

    @pytest.mark.parametrize(
        ("override", "section", "field", "value"),
        [
            ("training.steps_per_epoch=2000", "training", "steps_per_epoch", 2000),
            ("training.final_rate = 5e-4", "training", "final_rate", 5e-4),
            ("training.schedule=halving", "training", "schedule", "halving"),
            ('training.schedule="halving"', "training", "schedule", "halving"),
            ("augmentation.flips=false", "augmentation", "flips", False),
            ("augmentation.intensities=[1.0, 0.7]", "augmentation", "intensities", (1.0, 0.7)),
            ("model.blocks=12", "model", "blocks", 12),
        ],
    )
    def test_applied(self, override, section, field, value):
        """One field has the given value; everything else is as in the file."""
        before, after = load_recipe("xcat_x3"), load_recipe("xcat_x3", [override])
        assert getattr(getattr(after, section), field) == value
        object.__setattr__(getattr(after, section), field, getattr(getattr(before, section), field))
        assert after == before

    def test_stage(self):
        """A stage is given by its number, from 1, and the others stay."""
        before, after = load_recipe("xcat_x3"), load_recipe("xcat_x3", ["stages.2.loss=mae"])
        assert after.stages == (before.stages[0], replace(before.stages[1], loss="mae"))

    @pytest.mark.parametrize("stage", ["0", "3", "two", "-1"])
    def test_no_such_stage(self, stage):
        """A stage that the recipe does not have is an error that says how many there are."""
        with pytest.raises(UsageError, match=f"number of a stage, 1 to 2, not {stage}"):
            load_recipe("xcat_x3", [f"stages.{stage}.loss=mae"])

    def test_all_stages(self):
        """A field of the stages without a number is an error that shows how to give it."""
        with pytest.raises(UsageError, match=r"as in stages\.1\.loss"):
            load_recipe("xcat_x3", ["stages.loss=mae"])

    def test_top_level(self):
        """A field outside all sections is set by its name alone."""
        assert load_recipe("xcat_x3", ["name=mine"]).name == "mine"

    def test_order(self):
        """Of two values for one field the last counts."""
        recipe = load_recipe("xcat_x3", ["model.blocks=3", "model.blocks=4"])
        assert recipe.model.blocks == 4

    def test_absent_section(self, tmp_path):
        """A section that the file does not have is made."""
        (tmp_path / "a.toml").write_text('name = "a"\n')
        recipe = load_recipe(str(tmp_path / "a.toml"), ["model.blocks=3"])
        assert recipe.model.blocks == 3

    def test_stage_of_none(self, tmp_path):
        """A recipe that leaves its one stage to the defaults has a stage 1 to set."""
        (tmp_path / "a.toml").write_text('name = "a"\n')
        recipe = load_recipe(str(tmp_path / "a.toml"), ["stages.1.loss=mae"])
        assert recipe.stages == (Stage(loss="mae"),)

    def test_blamed(self):
        """An override that the recipe cannot take is blamed itself, not the file."""
        with pytest.raises(UsageError, match=r"^--set: unknown field model\.bloks"):
            load_recipe("xcat_x3", ["model.bloks=3"])

    def test_checked(self):
        """An overridden field is checked like one from the file."""
        with pytest.raises(UsageError, match=r"training\.epoch; did you mean epochs\?"):
            load_recipe("xcat_x3", ["training.epoch=3"])

    @pytest.mark.parametrize("override", ["training.epochs", "=3", "training.=3", ".epochs=3", ""])
    def test_malformed(self, override):
        """What is not section.field=value is an error that quotes it."""
        with pytest.raises(UsageError, match=rf"--set {override}: expected section\.field=value"):
            load_recipe("xcat_x3", [override])

    def test_no_section(self):
        """A field of something that is no section is an error that names it."""
        with pytest.raises(UsageError, match=r"--set name\.x=1: name is not a section"):
            load_recipe("xcat_x3", ["name.x=1"])


def test_installed_recipes(tmp_path, monkeypatch):
    """Recipes inside the package, where a wheel puts them, go before those of a checkout."""
    monkeypatch.setattr(qsr.training.recipe_files, "files", lambda _: tmp_path / "qsr")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "beside.toml").write_text('name = "beside"')
    assert shipped_recipes() == ("beside",)
    (tmp_path / "qsr" / "recipes").mkdir(parents=True)
    (tmp_path / "qsr" / "recipes" / "inside.toml").write_text('name = "inside"')
    assert shipped_recipes() == ("inside",)
    assert isinstance(qsr.training.recipe_files._recipes_folder(), Path)
