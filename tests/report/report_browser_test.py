"""Tests of the report as a browser shows it: nothing clipped, all legible."""

import json
import os
import shutil

import pytest

from nas_keras import report
from nas_keras.cells import load_spec
from tests.report_testing import MEASURED
from tests.report_testing import write_lines

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_WIDTHS = (1280, 390)
_SCHEMES = ("light", "dark")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # As root there is none.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Text counts as clipped where the nearest box that hides or scrolls what is
# too wide for it, the page's own sides at last, does not show all of it; only
# drawings may be moved.
_CLIPPED = """
const clipped = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.data.trim() || parent.closest('.drawing, svg')) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const box of range.getClientRects())
    for (let a = parent; a; a = a.parentElement) {
      const edge = a.getBoundingClientRect();
      const hides = getComputedStyle(a).overflowX != 'visible';
      if (a == document.documentElement || hides)
        if (box.left < edge.left - 1 || box.right > edge.right + 1)
          clipped.push(node.data);
    }
}
return clipped;
"""
_COLORS = """
const shown = [], rgb = text => text.match(/[\\d.]+/g).map(Number);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const parent = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || parent.closest('svg')) continue;
  let under = parent, paper = [0, 0, 0, 0];
  while (paper[3] === 0) {
    paper = rgb(getComputedStyle(under).backgroundColor);
    under = under.parentElement;
  }
  shown.push([walker.currentNode.data.trim().slice(0, 40),
    rgb(getComputedStyle(parent).color), paper]);
}
return shown;
"""


def _luminance(color):
    """Returns the relative luminance of WCAG 2.2 of an opaque colour."""
    assert color[3:] in ([], [1]), color
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in color[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one, other):
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _trials(reward):
    return [
        {
            "id": i,
            "reward": None if i == 5 else reward + 0.01 * (i % 7),
            "infeasible": "NaN loss " + "x" * 90 if i == 5 else None,
            "elapsed_s": 1.5,
            "fingerprint": f"f{i}",
        }
        for i in range(30)
    ]


def _retrained(cell, place, seed):
    spec = load_spec(cell)
    origin = "published" if cell == "lstm" else "controller"
    return {
        "cell": spec.name,
        "origin": origin,
        "trial": None if cell == "lstm" else place,
        "spec": spec.to_dict(),
        **MEASURED,
        "is_baseline": cell == "lstm",
        "size": {"units": 100, "parameters": 123_456_789},
        "seed": seed,
        "metrics": {
            "validation_perplexity": 8.0 + place + 0.1 * seed,
            "test_perplexity": 8.5 + place - 0.1 * seed,
            "validation_bits_per_char": 3.0,
            "test_bits_per_char": 3.1,
            "multiply_adds": 1_234_567,
        },
        "elapsed_s": 1234.5,
        "infeasible": None,
        "reward": None if cell == "lstm" else 0.5 - 0.1 * place,
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The path of a report that has every part."""
    folder = tmp_path_factory.mktemp("a_run_with_a_long_name")
    write_lines(folder / "trials.jsonl", _trials(0.4))
    write_lines(folder / "random" / "trials.jsonl", _trials(0.3))
    steps = [{"step": i, "entropy_nats": 9.0 - i} for i in range(6)]
    write_lines(folder / "steps.jsonl", steps)
    share = {"num_items": [3, 2], "busy_s": [9.0, 4.0], "waiting_s": [0.0, 5.0]}
    write_lines(folder / "workers.jsonl", [share])
    cells = ("tree8_char", "nascell", "enas_ptb", "lstm", "mut1")
    write_lines(
        folder / "retrained.jsonl",
        [_retrained(c, i, s) for i, c in enumerate(cells) for s in range(2)],
    )
    best = load_spec("tree8_char").to_dict()
    (folder / "best_cell.json").write_text(json.dumps(best))
    config = {
        "run": {
            "settings": {
                **MEASURED,
                "evaluator": {
                    "class": "FromScratch",
                    "reward": "c/ppl",
                    "c": 1.0,
                },
            }
        },
        "environment": {"platform": "Linux-" + "6.18-" * 12},
        "command": "nas-search --preset=demo --text_file=/" + "folder/" * 12,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return report.write_report(folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One Chromium, without a window, for all tests."""
    webdriver = pytest.importorskip(
        "selenium.webdriver",
        reason="Needs selenium: pip install 'nas_keras[test]'.",
    )
    from selenium.webdriver.chrome.service import Service

    # GitHub's machines have Chrome, and its driver in a folder of its own.
    folder = os.environ.get("CHROMEWEBDRIVER")
    names = ("google-chrome",) if folder else _BROWSERS
    program = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver", path=folder)
    if program is None or driver is None:
        pytest.skip(
            "Needs Chromium and its driver; on Debian: apt-get install chromium"
            " chromium-driver."
        )
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    logs = {"performance": "ALL", "browser": "ALL"}
    options.set_capability("goog:loggingPrefs", logs)
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.get("about:blank")  # The tab that it opens with asks for much.
    chrome.get_log("performance")
    yield chrome
    chrome.quit()


@pytest.fixture(
    scope="module",
    params=[(w, s) for w in _WIDTHS for s in _SCHEMES],
    ids=str,
)
def shown(request, browser, page):
    """The browser, with the report at a width and in a colour scheme."""
    width, scheme = request.param
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 600}
    )
    browser.get(page.as_uri())
    browser.execute_script(
        "for (const d of document.querySelectorAll('details')) d.open = true"
    )
    query = f"(width: {width}px) and (prefers-color-scheme: {scheme})"
    assert browser.execute_script(f"return matchMedia('{query}').matches")
    return browser


def test_the_page_fits_its_width_and_clips_no_text(shown):
    root = "document.documentElement"
    wide, width = shown.execute_script(
        f"return [{root}.scrollWidth, {root}.clientWidth]"
    )
    assert wide == width
    assert shown.execute_script(_CLIPPED) == []


def test_text_has_the_contrast_of_wcag_aa(shown):
    texts = shown.execute_script(_COLORS)
    assert len(texts) > 100
    for words, color, paper in texts:
        assert _contrast(color, paper) >= 4.5, (words, color, paper)


def test_letters_of_drawings_and_figures_are_large_enough(shown):
    sizes = shown.execute_script(
        "return [...document.querySelectorAll('.drawing text')].map(text =>"
        " parseFloat(text.getAttribute('font-size'))"
        " * text.getScreenCTM().a)"
    )
    assert len(sizes) > 50 and min(sizes) >= 9.5


def test_nothing_is_asked_of_the_network_and_no_error_is_logged(shown, page):
    events = [
        json.loads(entry["message"])["message"]
        for entry in shown.get_log("performance")
    ]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert set(asked) == {page.as_uri()}
    assert shown.get_log("browser") == []
