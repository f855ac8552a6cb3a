"""The tables of targets."""

import pytest
from ai_edge_litert import schema_py_generated as schema

from qsr.errors import UsageError
from qsr.targets.tables import OperatorList, Target, target_named, target_names

OPERATORS = {name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


@pytest.mark.parametrize("name", target_names())
def test_sources(name):
    """Every fact of a target has a public address, and operators have TFLite names."""
    target = target_named(name)
    assert target.title
    lists = (*target.runs, *target.refuses)
    sources = [target.per_channel_source, *(one.source for one in lists)]
    if target.fixed_size:
        sources.append(target.fixed_size_source)
    assert all(source.startswith("https://") for source in sources)
    named = [operator for one in lists for operator in one.operators]
    assert set(named) <= OPERATORS
    assert len(named) == len(set(named))


def test_all():
    """These are the targets; an unknown one is an error that names them."""
    assert target_names() == ("artpec-8", "edge-tpu", "ethos-u", "generic-int8", "hexagon")
    with pytest.raises(UsageError, match="no target named 'tpu'; give one of: artpec-8, edge-tpu"):
        target_named("tpu")


def test_depth_to_space():
    """What the sources say of depth-to-space."""
    assert target_named("edge-tpu").refusal("DEPTH_TO_SPACE")
    assert target_named("ethos-u").refusal("DEPTH_TO_SPACE")
    assert target_named("hexagon").refusal("DEPTH_TO_SPACE") is None
    assert target_named("artpec-8").refusal("DEPTH_TO_SPACE") is None  # it is not said
    assert not target_named("artpec-8").names("DEPTH_TO_SPACE")


def test_refusal():
    """An operator is refused if a source says so, or if a whole list leaves it out."""

    def target(**lists):
        facts = {"per_channel": True, "per_channel_source": "", "fixed_size": False}
        found = {"runs": (), "refuses": (), **lists}
        return Target(name="t", title="t", fixed_size_source=None, **facts, **found)

    some = OperatorList(("ADD",), "https://some")
    whole = OperatorList(("ADD",), "https://whole", exhaustive=True)
    against = OperatorList(("SUB",), "https://against")
    assert target().refusal("SUB") is None
    assert target(runs=(some,)).refusal("SUB") is None
    assert target(runs=(whole,)).refusal("SUB") == "https://whole"
    assert target(runs=(whole,)).refusal("ADD") is None
    assert target(runs=(some,), refuses=(against,)).refusal("SUB") == "https://against"
