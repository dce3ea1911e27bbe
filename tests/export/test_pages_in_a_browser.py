"""Every kind of page, as a browser shows it: whole, quiet, and readable on a phone, by day and by night."""

import shutil

import numpy as np
import pytest

from tests.export import run_metrics
from tfkd import export
from tfkd.export import _pictures as pictures
from tfkd.tasks import Classification, MultiLabel, Regression, Segmentation, TextClassification

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
webdriver = pytest.importorskip("selenium.webdriver")

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(50, 3)).astype("float32")
STUDENT = TEACHER + 0.3 * RNG.normal(size=(50, 3)).astype("float32")
MASKS = RNG.normal(size=(20, 4, 4, 3)).astype("float32")
SCORES = {"accuracy": 0.5}
HISTORY = [{"epoch": epoch, "loss": 1.0, "agreement": 0.5, "health_agreement": 0.5} for epoch in (1, 2)]
# As long as names and texts may be, without a place to break them.
TEXTS = [export.ExampleText("word " * 50 + "w" * 120, "pos  90 %", "pos", "neg  51 %")] * 3
COMMAND = f"tfkd-data-free --teacher={'folder/' * 40}teacher.keras"
GRID = pictures.class_histogram(np.ones(12))


def report(task, answers=(TEACHER, TEACHER, STUDENT), grid: bytes | None = GRID, texts=(), **metrics):
    made = run_metrics.metrics_of(task, SCORES, command=COMMAND, **metrics)
    return lambda path: export.write_report(path, made, HISTORY, grid, *answers, task, texts)


def distillation(task, grid: bytes | None = GRID, texts=(), **metrics):
    made = run_metrics.metrics_with_data(task, SCORES, command=COMMAND, **metrics)
    return lambda path: export.write_distillation_report(
        path, made, HISTORY, grid, TEACHER, STUDENT, task, texts
    )


def inspection(path):
    rows = [("format", "a .keras file"), ("layers", "conv_" * 80)]
    export.write_inspection_report(path, rows, ["Look twice."], COMMAND, "tfkd-inspect teacher.keras")


PAGES = {
    "classes": report(Classification((3,)), problem="it broke"),
    "labels": report(MultiLabel((3,))),
    "numbers": report(Regression((3,))),
    "masks": report(Segmentation((4, 4, 3)), (MASKS,) * 3),
    "texts": report(TextClassification((3,)), grid=None, texts=TEXTS),
    "scheme": distillation(Classification((3,))),
    "scheme of texts": distillation(TextClassification((3,)), None, TEXTS, pipeline="distil_text"),
    "compression": lambda path: export.write_compression_report(
        path, run_metrics.compression_metrics(Classification((3,)), SCORES, command=COMMAND)
    ),
    "search": lambda path: export.write_search_report(
        path, run_metrics.search_metrics(Classification((3,)), SCORES, command=COMMAND), GRID
    ),
    "inspection": inspection,
}


class Browser:
    """Chromium without a window."""

    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for switch in (
            "headless",
            "no-sandbox",
            "disable-gpu",
            "disable-quic",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            f"user-data-dir={profile}",
        ):
            options.add_argument(f"--{switch}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))

    def open(self, path, width, scheme):
        """Opens a page on a screen so wide, with that `prefers-color-scheme`."""
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.get(path.as_uri())

    def ask(self, expression):
        """The value of an expression of JavaScript."""
        return self.driver.execute_script(f"return {expression}")

    def complaints(self):
        """What the page has written to the console since it was opened, such as files it could not load."""
        return self.driver.get_log("browser")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module", params=PAGES)
def page(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    PAGES[request.param](path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_pages_are_whole_quiet_and_no_wider_than_the_screen(browser, page, width, scheme):
    browser.open(page, width, scheme)
    assert (
        browser.ask("[...document.images].filter(each => !each.naturalWidth).map(each => each.alt)") == []
    )
    assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
    # Nothing is cut off either: what is wider than the page scrolls in a box of its own.
    assert (
        browser.ask(
            "[...document.querySelectorAll('body *')].filter(each => !each.closest('.scroll, .picture')"
            " && each.getBoundingClientRect().right > window.innerWidth).map(each => each.outerHTML)"
        )
        == []
    )
    assert browser.complaints() == []
    ground, text = (
        np.array(browser.ask(f"getComputedStyle(document.body).{name}.match(/\\d+/g)"), int)
        for name in ("backgroundColor", "color")
    )
    assert (ground.mean() < text.mean()) == (scheme == "dark") and abs(ground - text).min() > 150


def test_contents_lead_to_all_headings(browser, page):
    browser.open(page, 400, "light")
    headings = browser.ask("[...document.querySelectorAll('h2')].map(each => [each.id, each.innerText])")
    links = browser.ask(
        "[...document.querySelectorAll('nav a')].map(each => [each.hash.slice(1), each.innerText])"
    )
    assert links == headings and len({anchor for anchor, _ in headings}) == len(headings) > 1
    assert browser.ask(
        "[...document.querySelectorAll('nav a')].every(each => document.getElementById(each.hash.slice(1)))"
    )


def test_a_click_enlarges_a_picture_and_another_one_ends_that(browser, tmp_path):
    PAGES["classes"](tmp_path / "report.html")
    browser.open(tmp_path / "report.html", 400, "light")
    width = "document.images[0].getBoundingClientRect().width"
    small, click = browser.ask(width), "document.images[0].click()"
    browser.driver.execute_script(click)
    assert browser.ask(width) == browser.ask("document.images[0].naturalWidth") > small
    assert browser.ask("document.elementFromPoint(200, 400).closest('.picture') !== null")
    browser.driver.execute_script(click)
    assert browser.ask(width) == small


def test_the_command_is_there_in_full(browser, page):
    browser.open(page, 400, "light")
    assert COMMAND in browser.ask("[...document.querySelectorAll('pre')].map(each => each.innerText)")


def test_a_broken_picture_and_a_wide_table_would_be_found(browser, tmp_path):
    path = tmp_path / "broken.html"
    path.write_text("<img src='none.png' alt='gone'><pre>" + "w" * 400 + "</pre>")
    browser.open(path, 400, "light")
    assert browser.ask("document.images[0].naturalWidth") == 0 and browser.complaints()
    assert browser.ask("document.documentElement.scrollWidth > window.innerWidth")
