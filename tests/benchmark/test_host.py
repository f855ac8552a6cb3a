"""Times of models on this host; how long they are is not tested."""

import pytest

import qsr.benchmark.host
from qsr.benchmark.host import host_name, host_times, latency
from qsr.errors import ModelError, UsageError

SMALL = (24, 32)


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to, in seconds."""

    def now():
        return now.time

    now.time = 0.0
    monkeypatch.setattr(qsr.benchmark.host, "perf_counter", now)
    return now


def test_records(xcat, espcn):
    """Each model gets its record, in the order given; quartiles lie around the median."""
    found = latency({"b": espcn, "a": xcat}, lr_size=SMALL, rounds=5)
    assert list(found) == ["b", "a"]
    for one in found.values():
        assert 0 < one.fastest_ms <= one.lower_quartile_ms <= one.median_ms <= one.upper_quartile_ms
        assert one.rounds == 5


def test_rounds(xcat, espcn, clock, monkeypatch):
    """Models run in turns, each round begins with the next, and warm-ups do not count."""
    ran = []

    def run(runner, picture):
        assert picture.shape == (*SMALL, 3)
        ran.append(runner._source)
        clock.time += {"a": 0.001, "b": 0.010}[runner._source] * len(ran)

    monkeypatch.setattr(qsr.benchmark.host.Runner, "run", run)
    told = []
    found = latency(
        {"a": xcat, "b": espcn},
        lr_size=SMALL,
        rounds=3,
        on_round=lambda *state: told.append(state),
    )
    assert "".join(ran) == "aabb" + "ab" + "ba" + "ab"
    assert found["a"].median_ms == pytest.approx(8)  # its runs were the 5th, the 8th and the 9th
    assert found["a"].fastest_ms == pytest.approx(5)
    assert found["b"].median_ms == pytest.approx(70)
    assert found["b"].upper_quartile_ms == pytest.approx(85)  # 60, 70, 100
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_same_model_twice(xcat, clock, monkeypatch):
    """The same model may take turns with itself, after as many warm-ups as are asked for."""
    ran = []

    def run(runner, _):
        ran.append(runner._source)
        clock.time += 0.001 * len(ran)

    monkeypatch.setattr(qsr.benchmark.host.Runner, "run", run)
    found = host_times([("a", xcat), ("a", xcat)], lr_size=SMALL, warm_ups=3, rounds=2)
    assert [pytest.approx(times) for times in found] == [(7, 10), (8, 9)]


def test_no_warm_up(xcat):
    """Without warm-ups there are times as well."""
    assert len(host_times([("a", xcat)], lr_size=SMALL, warm_ups=0, rounds=1)[0]) == 1
    with pytest.raises(UsageError, match=r"warm-up runs \(-1\) at least 0"):
        host_times([("a", xcat)], warm_ups=-1)


def test_none():
    """No models have no times."""
    assert latency({}) == {}


def test_one_size_alone(abpn):
    """A model that takes another size alone is an error that names it."""
    with pytest.raises(
        ModelError, match="fixed: takes pictures of 48x40 pixels alone, not of 32x24"
    ):
        latency({"fixed": abpn}, lr_size=SMALL)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"rounds": 0}, {"lr_size": (0, 8)}])
def test_too_few(xcat, wrong):
    """Threads, rounds and sides are at least 1."""
    with pytest.raises(UsageError, match="must be at least 1"):
        latency({"xcat": xcat}, **wrong)


def test_host(tmp_path, monkeypatch):
    """The host is called what its processor calls itself; without that it has a name still."""
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Fast One\n")
    monkeypatch.setattr(qsr.benchmark.host, "_CPU_FACTS", facts)
    assert host_name() == "Fast One"
    facts.unlink()
    assert host_name()
