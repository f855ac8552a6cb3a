"""The page of a comparison: whole, self-contained, linked, and safe from what names hold."""

from dataclasses import replace

import pytest
from html_tree import Tree

from qsr.reports import comparison_page


@pytest.fixture
def few_drawn(monkeypatch):
    """Pages draw the values and channels of one layer alone, which takes a fraction of the time."""
    monkeypatch.setattr("qsr.reports.comparison._WORST", 1)


@pytest.fixture(scope="module")
def page(html):
    """The same, read."""
    return Tree(html)


def test_well_formed(page):
    """Every element that is opened is closed, in order."""
    assert page.open == []


def test_loads_nothing(page):
    """No element refers to anything outside of the file, and the policy forbids it as well."""
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert "url(" not in attributes.get("style", "").replace("url(#", "")
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = page.every("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:; ")


def test_links_lead_somewhere(page):
    """Every link within the page, and every reference within a drawing, has its target."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [
        attributes["href"][1:]
        for _, attributes in page.elements
        if attributes.get("href", "").startswith("#")
    ]
    targets += [
        value.partition("url(#")[2].partition(")")[0]
        for _, attributes in page.elements
        for value in attributes.values()
        if value and "url(#" in value
    ]
    assert len(targets) > 50
    assert set(targets) <= set(ids)


def test_node_for_each_layer(page, comparison):
    """The graph has a box for each layer, which leads to its row in the table."""
    boxes = [one for one in page.every("a") if "node" in one.get("class", "").split()]
    assert [box["href"] for box in boxes] == [
        f"#layer-{place + 1}" for place in range(len(comparison.layers))
    ]
    rows = [one["id"] for one in page.every("tr") if one.get("id", "").startswith("layer-")]
    assert [f"#{row}" for row in rows] == [box["href"] for box in boxes]


def test_line_for_each_input(page, comparison):
    """The graph has a line for each tensor that a layer is made of."""
    assert len(page.every("path", **{"class": "edge"})) == sum(
        len(layer.after) for layer in comparison.layers
    )


def test_named_layer_stands_out(page, comparison, diagnosis):
    """The layer that the diagnosis names is marked in graph and table, and comes first of all."""
    place = [layer.label for layer in comparison.layers].index(diagnosis.layer)
    (row,) = page.every("tr", **{"class": "marked"})
    assert row["id"] == f"layer-{place + 1}"
    (box,) = [one for one in page.every("a") if one.get("class") == "node marked"]
    assert box["href"] == f"#layer-{place + 1}"
    text = "".join(page.text)
    worst = text[text.index("The worst layers", text.index("What the columns mean")) :]
    assert worst.index(f"{place + 1}. {diagnosis.layer}") < worst.index("1. ", 200)


def test_names_are_text(page, html):
    """What names hold is shown as it is, and is neither markup nor a script."""
    assert page.every("b") == []
    assert page.every("i") == []
    assert len(page.every("script")) == 1
    text = "".join(page.text)
    assert "net/<b>&\"'$x^{/conv" in text
    assert "net/<script>alert(1)</script>" in text
    assert "renamed/<i>" in text
    html.encode()  # no half of a surrogate pair
    assert "\x1b" not in html


def test_infinity_in_words(page):
    """Infinite values are words, and nothing that is shown is a float's infinity or NaN."""
    text = "".join(page.text)
    assert "no error" in text
    assert "no signal" in text
    assert "identical" in text
    words = {word.strip("+-.,;:()").lower() for word in text.split()}
    assert not words & {"inf", "nan", "infinity"}
    for _, attributes in page.elements:
        assert "nan" not in {word.lower() for word in attributes.get("d", "").split()}
        assert attributes.get("data-order", "0").lower() != "nan"


def test_says_what_was_found(page, diagnosis, subject, origin):
    """The three lines, what was compared and where the page comes from are on it."""
    text = "".join(page.text)
    for said in (
        *(diagnosis.costs_most, diagnosis.why, diagnosis.what_to_do),
        *(subject.reference, subject.tested, f"6 of {subject.images}", "28.631 dB", "0.0899 dB"),
        *(*subject.skipped, origin.command, origin.date),
        *("Only the reference has (2)", "Only the tested model has (1)"),
    ):
        assert said in text, said


def test_everything_has_words(page):
    """Every drawing and every picture is described, and every table has a caption."""
    drawings = [one for one in page.every("svg") if "class" in one]
    assert len(drawings) == 1 + 3 + 2 * 6  # the graph, three curves, two for each worst layer
    assert all(len(one["aria-label"]) > 20 for one in drawings)
    assert all(one["role"] in {"img", "group"} for one in drawings)
    pictures = page.every("img")
    assert len(pictures) == 6 + 5
    assert all(one["alt"] and int(one["width"]) and int(one["height"]) for one in pictures)
    assert len(page.every("caption")) == len(page.every("table")) == 2


def test_drawings_follow_the_page(page):
    """No drawing has a colour of its own: all are the page's, for light, dark and print."""
    drawn = [
        one.get("style", "") + one.get("fill", "") for tag, one in page.elements if tag != "span"
    ]
    assert any("var(--first)" in style for style in drawn)
    assert not any("#" in style.replace("url(#", "") for style in drawn)


@pytest.mark.usefixtures("few_drawn")
def test_same_each_time(comparison, diagnosis, subject, origin, drawn):
    """The same records give the same page, byte by byte."""
    first, second = (
        comparison_page(comparison, diagnosis, subject, origin, panels=drawn) for _ in range(2)
    )
    assert first == second


@pytest.mark.usefixtures("few_drawn")
def test_without_originals(comparison, diagnosis, subject, origin):
    """A comparison without originals, costs, pictures or unmatched tensors has its page, too."""
    bare = replace(
        comparison,
        layers=tuple(replace(layer, cost=None) for layer in comparison.layers),
        causes=None,
        pictures=(),
        only_reference=(),
        only_tested=(),
    )
    named = replace(diagnosis, layer=None)
    unknown = replace(subject, reference_psnr_db=None, tested_psnr_db=None, skipped=())
    page = Tree(comparison_page(bare, named, unknown, origin))
    text = "".join(page.text)
    assert "there were no originals" in text
    assert "Pictures" not in text
    assert page.every("tr", **{"class": "marked"}) == []
    assert page.every("img") == []


@pytest.mark.usefixtures("few_drawn")
def test_single_layer(comparison, diagnosis, subject, origin):
    """A comparison of one tensor, whose values are all the same, has its page."""
    layer = comparison.layers[1]
    constant = replace(layer.histogram, counts=(7,), minimum=0.25, maximum=0.25)
    lone = replace(comparison, layers=(replace(layer, histogram=constant),))
    page = Tree(comparison_page(lone, diagnosis, subject, origin))
    assert len([one for one in page.every("a") if "node" in one.get("class", "")]) == 1


@pytest.mark.usefixtures("few_drawn")
def test_many_layers(comparison, diagnosis, subject, origin):
    """Of a network of 120 layers, every layer is in graph and table."""
    first, second = comparison.layers[:2]
    layers = [first]
    for place in range(119):
        layers.append(replace(second, name=f"net/conv_{place}/Relu", after=(layers[-1].name,)))
    page = Tree(
        comparison_page(replace(comparison, layers=tuple(layers)), diagnosis, subject, origin)
    )
    assert len([one for one in page.every("a") if one.get("class") == "node"]) == 120
    assert len([one for one in page.every("tr") if one.get("id", "").startswith("layer-")]) == 120
