"""The page in a real browser, if there is one on this machine: it fits, sorts, and is silent."""

import html as markup
import json
import re
import shutil
import subprocess
from functools import cache

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

LOOK = """
<!DOCTYPE html><title>looks at a page</title>
<iframe style="width: WIDTHpx; height: 900px; border: 0" srcdoc="PAGE"></iframe>
<pre id="found"></pre>
<script>
onload = async () => {
  const frame = document.querySelector("iframe");
  const page = frame.contentDocument;
  const violations = [];
  page.addEventListener("securitypolicyviolation", (event) => violations.push(event.blockedURI));
  const column = (table, place) =>
    [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.order);
  const sorted = {};
  const table = page.querySelector("#layers table");
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const before = column(table, 0);
  const press = (place) => heads[place].querySelector("button").click();
  const at = heads.findIndex((head) => head.textContent === "SQNR");
  press(at); sorted.numberDown = [column(table, at), heads[at].ariaSort];
  press(at); sorted.numberUp = [column(table, at), heads[at].ariaSort];
  press(0); sorted.textUp = [column(table, 0), heads[0].ariaSort, heads[at].ariaSort];
  press(1); press(1); sorted.place = column(table, 0);
  const image = page.querySelector("img");
  if (image) await image.decode();
  document.querySelector("#found").textContent = JSON.stringify({
    before, sorted, violations,
    wide: page.documentElement.scrollWidth,
    inner: frame.contentWindow.innerWidth,
    boxes: [...page.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth)
      .length,
    clipped: [...page.querySelectorAll("svg.chart text")].filter((text) => {
      const inside = text.getBoundingClientRect();
      const around = text.ownerSVGElement.getBoundingClientRect();
      return inside.left < around.left - 1 || inside.right > around.right + 1
        || inside.top < around.top - 1 || inside.bottom > around.bottom + 1;
    }).map((text) => text.textContent),
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
    decoded: image ? image.naturalWidth : 0,
    ink: frame.contentWindow.getComputedStyle(page.querySelector("svg.chart text")).fill,
    surface: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
  });
};
</script>
"""


@pytest.fixture(scope="module")
def look(html, tmp_path_factory):
    """Show the page in a frame of some width, and return what was found and what was logged."""

    @cache
    def run(width, *options):
        folder = tmp_path_factory.mktemp("browser")
        path = folder / "look.html"
        frame = LOOK.replace("WIDTH", str(width)).replace("PAGE", markup.escape(html))
        path.write_text(frame, encoding="utf-8")
        shown = subprocess.run(  # noqa: S603 (our own page in the browser of this machine)
            [
                *(BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu"),
                *(f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"),
                *("--window-size=1400,1000", "--virtual-time-budget=10000", *options),
                *("--dump-dom", path.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)
        assert found, shown.stderr
        return json.loads(markup.unescape(found[1])), shown.stderr

    return run


@pytest.mark.parametrize("width", [390, 1280])
def test_fits(look, width):
    """The page is no wider than the screen, of a phone too; wide tables scroll in their boxes."""
    found, _ = look(width)
    assert found["inner"] == width
    assert found["wide"] <= width
    assert found["boxes"] >= 1
    assert found["clipped"] == []


def test_silent(look):
    """Nothing is loaded, nothing that is forbidden is tried, and nothing is logged."""
    found, logged = look(1280)
    assert [name for name in found["loaded"] if not name.startswith("data:")] == []
    assert found["violations"] == []
    assert "CONSOLE" not in logged
    assert found["decoded"] > 0


def test_sorts(look):
    """Numbers sort downwards first, then upwards, infinite ones at their end; text by letters."""
    found, _ = look(1280)
    before, by = found["before"], found["sorted"]
    numbers, direction = by["numberDown"]
    values = [float(number) for number in numbers]
    assert values == sorted(values, reverse=True)
    assert values[0] == float("inf")
    assert direction == "descending"
    assert by["numberUp"] == [numbers[::-1], "ascending"]
    names, direction, other = by["textUp"]
    assert sorted(names) == sorted(before)
    assert names != before
    assert (direction, other) == ("ascending", None)
    assert by["place"] == before


def test_dark(look):
    """In a dark browser, the page and the text in its drawings change places in brightness."""
    brightness = {}
    for name, options in (("light", ()), ("dark", ("--force-dark-mode",))):
        found, _ = look(1280, *options)
        brightness[name] = [
            sum(int(number) for number in re.findall(r"\d+", found[part])[:3])
            for part in ("surface", "ink")
        ]
    light, dark = brightness["light"], brightness["dark"]
    assert light[0] > 600 > light[1]
    assert dark[0] < 150 < dark[1]
