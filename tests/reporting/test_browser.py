"""The page in a real browser: whole at a desk and on a phone, silent on the network, deaf to hostile names."""

import shutil

import pytest
from PIL import Image

from edgeclip.measurement.pictures import thumbnail
from edgeclip.measurement.schema import EndToEnd, HotSpot, Picture, Reference, Sustained
from edgeclip.runtime.target import Conditions

from .test_report import dataset_of, make, row, rows

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
HOSTILE = '</pre><script>document.title="taken"</script><img src="https://example.org/x.png" onerror="alert(1)">'
OVERLAPS = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const upright = svg.querySelectorAll("text:not(.limit-text, g > text)");
  const texts = [...upright].map(t => [t.textContent, t.getBoundingClientRect()]);
  const meet = (p, q) =>
    p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3;
  return texts.flatMap(([a, p], i) => texts.slice(i + 1).filter(([, q]) => meet(p, q)).map(([b]) => [a, b]));
})"""

CLIPPED = """() => [...document.querySelectorAll("td, th, li, p, dd, figcaption")].filter(cell =>
  cell.offsetParent && cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.textContent)"""

PLOTS = {
    "Top-1 along the chain",
    "Top-1 accuracy over latency",
    "Latency of single images",
    "Latency over time",
    "Predicted and measured latency",
    "Time by operator",
    "Loss over the training",
    "700 of 1000 images are right; rows: what they show",
}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def shown(browser, tmp_path):
    """Opens a report at a width; gives the page, what it asked the network for, and what the console complained of."""
    from edgeclip.reporting import write_report

    def show(report, width, dark=False):
        write_report(report, tmp_path)
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url) if request.url[:5] != "data:" else None)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "report.html").as_uri())
        return page, asked, complaints

    return show


NAMES = ["cat", "dog", "a very long name of a class that nobody wants to read", "bird"]
SECONDS = [(0.0, 1.0), (1.0, 1.1)]


def full(chain):
    """A report with everything in it that a device can tell."""
    more = {
        "top1_interval": (0.5, 0.65),
        "flip_rate": 0.02,
        "flip_interval": (0.01, 0.03),
        "hot_spots": [
            HotSpot(operator="MatMul", share=0.7, nodes=33),
            HotSpot(operator="QLinearConvolutionWithALongName", share=0.3, nodes=4),
        ],
        "end_to_end": EndToEnd(
            image="x", total_ms=3.0, total_p90_ms=4.0, decode_ms=1.0, preprocess_ms=1.0, inference_ms=1.0
        ),
        "throughput": {"1": 400.0, "8": 900.0, "32": 1000.0},
        "sustained": Sustained(seconds=60, window_seconds=30, last_over_first=1.1, each_second=SECONDS),
        "cosine_mean": 0.999653,
        "cosine_worst": 0.997589,
        "peak_memory_mb": 104.0,
    }
    chain = [r.model_copy(update=more) for r in chain]
    chain[-1] = chain[-1].model_copy(update={"predicted_ms": 1.4})
    reference = Reference(graph="vit64-p8-w192-d4-m4-h64", p50_ms=3.0, drift=0.3, turns=[(0.1, 3.0), (0.2, 3.3)])
    labels = [number % 4 for number in range(1000)]
    answers = [label if number % 10 < 7 else (label + 1) % 4 for number, label in enumerate(labels)]
    chain = [r.model_copy(update={"answers": answers}) for r in chain]
    dataset = dataset_of(name="mine", classes=4, chance=0.25, labels=labels, names=NAMES)
    jpeg = thumbnail(Image.new("RGB", (64, 32), "red"))
    pictures = [Picture(image=number, key=f"{number}.png", jpeg=jpeg) for number in (0, 7, 8)]
    facts = {"dataset": dataset, "pictures": pictures, "curve": [(n / 10, 3 - n / 100) for n in range(200)]}
    facts |= {"reference": reference, "rule": "single stream"}
    facts |= {"before": Conditions(governor="powersave", throttling=[])}
    return make(chain=chain).model_copy(update=facts)


CROWDED = [*rows(), row("exported fp16", 0.571, 1.02)]
SPREAD = {"exported fp32": 3.744, "exported fp16": 5.703, "exported int8": 1.03, "student fp32": 21.211}
BESIDE = [row("teacher", 0.612, 8.539)]
BESIDE += [row(name, 0.597, ms, recommended=name == "exported int8") for name, ms in SPREAD.items()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("chain", [rows(), CROWDED, BESIDE], ids=["apart", "crowded", "beside"])
def test_nothing_overflows_and_no_label_lies_on_another(shown, width, chain, dark):
    page, asked, complaints = shown(full(chain), width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OVERLAPS) == []
    plots = {svg.get_attribute("aria-label"): svg.bounding_box() for svg in page.locator("svg").all()}
    assert set(plots) == PLOTS
    assert all(box["height"] > 30 and box["width"] > 200 for box in plots.values())
    assert page.evaluate(CLIPPED) == []
    assert page.locator("dd").first.bounding_box()["width"] > 100
    if width > 1000:
        wide = "[...document.querySelectorAll('.wide')].every(box => box.scrollWidth <= box.clientWidth)"
        assert page.evaluate(wide), "a table is cut off at a desk"
    else:
        first = page.locator("section:has(h2:text('Accuracy and cost')) td").first
        before = first.bounding_box()["x"]
        page.evaluate("for (const box of document.querySelectorAll('.wide')) box.scrollLeft = 300")
        assert first.bounding_box()["x"] == before, "the stage's name stays where the table is scrolled"
    widths = page.locator("figure img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert len(widths) == 3 and min(widths) > 0, "a picture could not be shown"
    assert len(asked) == 1
    assert complaints == []


def test_names_from_outside_stay_text(shown):
    page, asked, complaints = shown(make(name=HOSTILE, commands=[HOSTILE]), 1100)
    assert page.title() == f"edgeclip report: {HOSTILE}"
    assert page.locator("script, img").count() == 0
    assert len(asked) == 1
    assert complaints == []


def test_classes_are_sorted_by_a_click_without_a_script(shown):
    page, _, complaints = shown(full(rows()), 1280)
    assert page.locator("script").count() == 0

    def column(number):
        return [cell for cell in page.locator(f".order td:nth-child({number})").all() if cell.is_visible()]

    shares = [int(cell.inner_text().rstrip("%")) for cell in column(4)]
    assert shares == sorted(shares) and len(shares) == 4
    page.locator("label", has_text="by name").click()
    names = [cell.inner_text() for cell in column(1)]
    assert names == sorted(NAMES)
    assert complaints == []


def test_the_verdict_can_be_told_at_a_glance(shown):
    good, bad = make(), make(budget={"latency_ms": 0.5})
    colors = []
    for report in (good, bad):
        page, _, _ = shown(report, 1100)
        stamp = page.locator(".stamp")
        assert stamp.inner_text().startswith(
            {"met": "passed", "missed": "failed", "unknown": "no verdict"}[report.verdict]
        )
        colors.append(stamp.evaluate("e => getComputedStyle(e).backgroundColor"))
    assert colors[0] != colors[1]
