"""The page in a browser: it opens without a network, sorts, switches, reads out values, and is accessible."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from report import example
from report.example import CLASSES, LONG, RUNS
from trainlab.files import write_text
from trainlab.report import page as pages
from trainlab.report.content import Missing, Report, Suite

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-gpu"]
PATIENCE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = own if os.path.exists(own) else next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            pytest.skip("there is no Chromium: `apt-get install chromium` or `playwright install chromium` gets one")
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return example.report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_text(path, pages.render(report))
    return path


class Heard:
    """What a page wrote to the console, what it requested, and the dialogs that it opened."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        self.requested: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: Dialog) -> None:
        self.said.append("a dialog")
        dialog.dismiss()


def opened(browser: Browser, file: Path, *, width: int = 1280, scheme: Any = "light") -> tuple[Page, Heard]:
    """Return a file's page in a context of its own, which is offline, and what it did since."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    heard = Heard(page)
    page.goto(file.as_uri())
    return page, heard


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    page, heard = opened(browser, file)
    yield page
    assert heard.said == []
    page.context.close()


def of_suite(report: Report) -> Suite:
    suite = report.suites["tricks"]
    assert isinstance(suite, Suite)
    return suite


def test_it_opens_from_a_file_without_errors_and_requests_nothing(browser: Browser, file: Path) -> None:
    page, heard = opened(browser, file)
    for part in page.locator("details").all():
        part.evaluate("part => { part.open = true; }")
    page.locator("img").last.scroll_into_view_if_needed()
    assert heard.said == []
    assert [url for url in heard.requested if not url.startswith("data:")] == [file.as_uri()]
    broken = "images => images.filter(image => image.complete && !image.naturalWidth).length"
    assert page.locator("img").evaluate_all(broken) == 0
    page.context.close()


def test_a_network_request_is_refused(browser: Browser, file: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "index.html"
    image = '<img src="http://127.0.0.1:9/pixel.png" alt=""></body>'
    tampered.write_text(file.read_text(encoding="utf-8").replace("</body>", image), encoding="utf-8")
    page, heard = opened(browser, tampered)
    page.wait_for_load_state("load")
    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => {})")
    refused = [line for line in heard.said if "Content Security Policy" in line]
    assert any("pixel.png" in line for line in refused)
    assert any("127.0.0.1:9/'" in line for line in refused)
    page.context.close()


def test_a_class_that_looks_like_markup_is_text(page: Page) -> None:
    assert page.locator("script").count() == 2
    headings = page.locator("figure.confusion thead th").all_text_contents()
    assert headings == list(CLASSES)
    page.select_option("figure.confusion [data-second]", RUNS[0])
    assert page.locator("script").count() == 2


def test_a_heading_sorts_in_both_orders(page: Page, report: Report) -> None:
    table = page.locator("#tricks-table table.sortable")
    accuracies = dict(zip(RUNS, of_suite(report).table["accuracy"], strict=True))
    heading = table.locator("th", has_text="accuracy, %").first
    by_accuracy = sorted(RUNS, key=lambda run: accuracies[run])
    for order, expected in (("descending", by_accuracy[::-1]), ("ascending", by_accuracy)):
        heading.locator("button").click()
        expect(heading).to_have_attribute("aria-sort", order)
        assert table.locator("tbody th").all_text_contents() == expected
    table.locator("th", has_text="run").first.locator("button").click()
    assert table.locator("tbody th").all_text_contents() == list(RUNS)  # their order in params.yaml
    expect(heading).to_have_attribute("aria-sort", "none")


def test_measures_and_runs_are_switched(page: Page) -> None:
    figure = page.locator("[data-chart=tricks-curves]")
    assert visible_panels(page) == ["test_accuracy"]
    figure.get_by_role("button", name="test loss").click()
    assert visible_panels(page) == ["test_loss"]
    lines = figure.locator("[data-panel=test_loss] g[data-run]")
    figure.get_by_label("better").uncheck()
    assert [line.is_visible() for line in lines.all()] == [True, True, False]
    figure.get_by_role("button", name="none").click()
    assert not any(line.is_visible() for line in lines.all())
    figure.get_by_role("button", name="all").click()
    assert all(line.is_visible() for line in lines.all())


def visible_panels(page: Page) -> list[str]:
    panels = page.locator("[data-chart=tricks-curves] .panel")
    return [str(panel.get_attribute("data-panel")) for panel in panels.all() if panel.is_visible()]


def shown_values(page: Page) -> dict[str, str]:
    """Return the values in the legend of the learning curves, by run."""
    values = page.locator("[data-chart=tricks-curves] [data-value-of]").all()
    return {str(value.get_attribute("data-value-of")): value.inner_text() for value in values}


def accuracies(report: Report, epoch: int) -> dict[str, str]:
    curves = of_suite(report).curves
    means = curves[curves["epoch"] == epoch].groupby("run")["test_accuracy"].mean()
    return {run: f"{100 * means[run]:.2f}" for run in RUNS}


def test_the_pointer_reads_the_values_of_an_epoch(page: Page, report: Report) -> None:
    plot = page.locator("[data-chart=tricks-curves] [data-panel=test_accuracy] .plot")
    assert shown_values(page) == accuracies(report, 3)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.48, box["y"] + box["height"] / 2)
    assert shown_values(page) == accuracies(report, 2)
    expect(plot.locator(".cursor")).to_be_visible()
    page.mouse.move(2, 2)
    assert shown_values(page) == accuracies(report, 3)


def test_the_keyboard_reads_the_values_of_an_epoch(page: Page, report: Report) -> None:
    plot = page.locator("[data-chart=tricks-curves] [data-panel=test_accuracy] .plot")
    plot.focus()
    for _ in range(5):  # no further than the first
        page.keyboard.press("ArrowLeft")
    expect(plot).to_have_attribute("aria-valuenow", "1")
    assert shown_values(page) == accuracies(report, 1)
    said = str(plot.get_attribute("aria-valuetext"))
    assert said.startswith(f"epoch 1: plain {accuracies(report, 1)['plain']}, ")
    page.keyboard.press("End")
    expect(plot).to_have_attribute("aria-valuenow", "3")


def test_dots_say_what_they_are(page: Page, report: Report) -> None:
    figure = page.locator("#tricks-seeds figure")
    values = of_suite(report).runs[0].metrics["accuracy"]["values"]
    figure.locator("circle").nth(1).hover()
    expect(figure.locator("output")).to_have_text(f"plain, seed 2 of 2: {100 * values[1]:.2f} %")
    figure.locator(".reader").focus()
    page.keyboard.press("ArrowLeft")
    expect(figure.locator("output")).to_have_text(f"plain, seed 1 of 2: {100 * values[0]:.2f} %")


def test_a_confusion_matrix_and_the_difference_of_two(page: Page, report: Report) -> None:
    figure = page.locator("figure.confusion")
    cells, output = figure.locator("tbody td"), figure.locator("output")
    counts = {run.name: run.confusion.to_numpy() for run in of_suite(report).runs}
    shares = {run: of_run / of_run.sum(1, keepdims=True) for run, of_run in counts.items()}

    page.select_option("figure.confusion [data-first]", "better")
    whole = [float(text) for text in cells.all_text_contents()]
    assert whole == pytest.approx(list((100 * shares["better"]).flat), abs=0.501)
    cells.nth(1).hover()
    expect(output).to_contain_text(f"{CLASSES[0]} predicted as {CLASSES[1]}: {counts['better'][0, 1]} (")
    share = output.inner_text().rpartition("(")[2].removesuffix(" %)")
    assert float(share) == pytest.approx(100 * shares["better"][0, 1], abs=0.0501)

    page.select_option("figure.confusion [data-second]", LONG)
    difference = 100 * (shares["better"] - shares[LONG])
    shown = [float(text.replace("−", "-")) for text in cells.all_text_contents()]
    assert shown == pytest.approx(list(difference.flat), abs=0.0501)
    figure.locator(".reader").focus()
    page.keyboard.press("ArrowDown")
    expect(output).to_contain_text(f"{CLASSES[1]} predicted as {CLASSES[1]}: ")
    expect(output).to_contain_text(" points")


def test_the_theme_follows_the_system_until_the_button_is_used(browser: Browser, file: Path) -> None:
    page, _ = opened(browser, file, scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Light").click()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(background) == dark
    page.context.close()


def test_a_link_into_a_closed_part_opens_it(page: Page) -> None:
    page.evaluate("location.hash = '#study-alpha'")
    expect(page.locator("#study-alpha")).to_have_attribute("open", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_and_fits_the_screen(browser: Browser, file: Path, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, heard = opened(browser, file, width=width, scheme=scheme)
    page.locator("details").evaluate_all("parts => parts.forEach(part => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = Axe().run(page).response["violations"]
    severe = [
        f"{violation['id']}: {node['html'][:120]}: {node.get('failureSummary', '')}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]
    assert severe == []
    assert heard.said == []
    page.context.close()


def test_a_page_without_results_has_no_error(browser: Browser, tmp_path: Path) -> None:
    nothing = Missing("No results: `make repro` makes them.")
    path = tmp_path / "index.html"
    write_text(path, pages.render(Report({"tricks": nothing}, nothing, nothing, nothing)))
    page, heard = opened(browser, path)
    assert heard.said == []
    expect(page.locator(".missing").first).to_have_text("No results: make repro makes them.")
    page.context.close()


def test_it_prints_without_its_controls(page: Page) -> None:
    page.emulate_media(media="print")
    assert not any(button.is_visible() for button in page.locator(".switch button, #theme").all())
    expect(page.locator("#answers .forest").first).to_be_visible()
