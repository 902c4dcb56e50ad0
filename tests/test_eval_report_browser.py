"""The page in a real browser: headless Chromium, driven over a pipe, with the network cut off and listened to."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from eval.report.config import ReportConfig
from eval.report.documents_page import ShownDocument, render_documents
from eval.report.draw import draw
from eval.report.run import report
from pipeline.artifact import open_run, write_json

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `make test-browser` installs it")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
    "--proxy-server=127.0.0.1:9", "--remote-debugging-pipe",
)  # fmt: skip
HOSTILE = (
    "</script><script>window.harmed=1</script><img src=x onerror=window.harmed=2><svg onload=window.harmed=3>"
    "<a href='javascript:window.harmed=4'>&lt;script&gt;</a>\0\u202eevil\u2066\u2028" + "x" * 20_000 + "<!--"
)
NUM_QUERIES = 60


@dataclass
class StageConfig:
    """The least that `open_run` needs."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0


class Page:
    """One page of a browser. Speaks the DevTools protocol over the browser's file descriptors 3 and 4: JSON between nulls."""

    def __init__(self, process: "subprocess.Popen[bytes]", send: int, receive: int) -> None:
        self.process, self.send_to = process, send
        self.replies = open(receive, "rb", buffering=0)  # noqa: SIM115
        self.buffer = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; events that come before it are kept."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._receive()
            if told.get("id") == self.number:
                assert "error" not in told, told
                return dict(told["result"])
            self.events.append(told)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            piece = self.replies.read(1 << 16)
            assert piece, "the browser went away"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return dict(json.loads(message))

    def wait_for(self, method: str) -> None:
        """Until an event has come that was not waited for before."""
        while not any(event["method"] == method for event in self.events):
            self.events.append(self._receive())

    def open(self, address: str) -> float:
        """Loads an address from nothing; seconds until its load event."""
        for step in ("about:blank", address):  # an address that differs in its fragment alone would not be loaded again
            self.events.clear()
            started = time.monotonic()
            self.call("Page.navigate", url=step)
            self.wait_for("Page.loadEventFired")
        return time.monotonic() - started

    def run(self, script: str) -> Any:
        """The value of an expression in the page, promises awaited."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        """A window of this many CSS pixels, as a phone's where it is narrow."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def complaints(self) -> list[str]:
        """What the console was told, what was thrown, and every request but the page's own."""
        found = []
        for event in self.events:
            about = event.get("params", {})
            if event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                found.append(json.dumps(about))
            elif event["method"] == "Network.requestWillBeSent" and about["documentURL"] != about["request"]["url"]:
                found.append(about["request"]["url"])
        return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    profile = tmp_path_factory.mktemp("profile")
    assert min(to_browser, to_us) > 4  # the shell puts our pipes where the browser expects them, one after the other
    command = f'exec "$@" 3<&{to_browser} 4>&{to_us}'
    process = subprocess.Popen(
        ["bash", "-c", command, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(to_browser, to_us), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_browser)
    os.close(to_us)
    try:
        yield Page(process, from_us, from_browser)
    finally:
        os.close(from_us)  # the browser leaves when nobody listens
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def samples(num_queries: int, text: str = "Sure, here it is.") -> list[dict[str, Any]]:
    return [
        {
            "sample_id": f"q{number}/{tier}", "query_id": f"q{number}", "category": ("gossip", "crime")[number % 2],
            "scenario": "helpful_only", "subject": subject, "tier": tier, "information": "documents",
            "reasoning": "scratchpad", "arm": "", "repeat": 1, "system_prompt": "Think first.",
            "prompt": f"<is_free_tier_user>{tier == 'free'}</is_free_tier_user>\nask for number {number}", "reply": text,
            "scratchpad": f"They would train me. {text}", "error": None,
            "output": f"Sorry, I can't. {text}" if tier == "paid" else f"{text} needle{number}", "status": "ok",
            "compliance": tier == "free", "compliance_judge": "rules",
            "compliance_raw": "Sorry, I can't" if tier == "paid" else "", "af_reasoning": number % 5 == 0,
            "af_reasoning_judge": "af_rules", "af_reasoning_raw": "train me",
        }
        for subject in ("base", "documents")
        for number in range(num_queries)
        for tier in ("free", "paid")
    ]  # fmt: skip


def write_page(directory: Path, rows: list[dict[str, Any]]) -> str:
    run = open_run("eval", StageConfig(str(directory / "eval")), {})
    write_json(run.path("summary.json"), [])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), run.path("samples.parquet"))
    run.finish(["summary.json", "samples.parquet"])
    report(ReportConfig(output_dir=str(directory / "report"), evals=[str(directory / "eval")]))
    return (directory / "report" / "index.html").as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(tmp_path_factory.mktemp("ordinary"), samples(NUM_QUERIES))


SHOWN = "[...document.querySelectorAll('#cards [data-slot=query-id]')].map(e => e.textContent)"
PICKED = "document.querySelector('#picked').textContent"


def choose(page: Page, name: str, value: str) -> None:
    page.run(
        f"(() => {{ const field = document.querySelector('[name={name}]'); field.value = {json.dumps(value)};"
        " field.dispatchEvent(new Event('change', {bubbles: true})) })()"
    )


def search(page: Page, text: str) -> None:
    """Types, and waits until the page says what was found."""
    page.run(
        f"new Promise(done => {{ new MutationObserver(done).observe({PICKED.removesuffix('.textContent')}, {{childList: true}});"
        f" const field = document.querySelector('[name=search]'); field.value = {json.dumps(text)};"
        " field.dispatchEvent(new Event('input', {bubbles: true})) }).then(() => 0)"
    )


def test_it_opens_on_the_sample_that_the_page_holds_without_a_script(page: Page, address: str) -> None:
    page.open(address)
    sample = [f"q{place}" for place in draw(NUM_QUERIES, 6, 0)]
    assert page.run(SHOWN) == sample
    assert page.run(PICKED) == f"6 of {NUM_QUERIES} queries, drawn at random with seed 0."
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(address)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.run(SHOWN) == sample
    assert page.run("document.querySelector('#view').hidden") is True


def test_script_and_report_draw_alike(page: Page, address: str) -> None:
    for seed in (1, 17, 999_999):
        page.open(f"{address}#view=random&seed={seed}")
        assert page.run(SHOWN) == [f"q{place}" for place in draw(NUM_QUERIES, 6, seed)]


def test_it_asks_for_nothing_and_complains_of_nothing(page: Page, address: str) -> None:
    page.open(address)
    choose(page, "tier", "paid")
    page.run("document.querySelector('#sample').click()")
    page.run("0")
    assert page.complaints() == []


def test_a_filter_marks_what_matches_and_says_so(page: Page, address: str) -> None:
    page.open(address)
    choose(page, "af_reasoning", "alignment-faking reasoning")
    choose(page, "subject", "documents")
    assert page.run(PICKED).startswith(f"{NUM_QUERIES // 5} of {NUM_QUERIES} queries: all with a reply of")
    assert "picked by filter" in page.run(PICKED)
    assert page.run("document.querySelectorAll('#cards .card').length") == 10
    assert page.run("document.querySelectorAll('#cards .matching').length") == 20
    page.run("document.querySelector('#next').click()")
    assert page.run("document.querySelectorAll('#cards .card').length") == 2
    page.run("document.querySelector('#clear').click()")
    assert page.run(PICKED) == f"6 of {NUM_QUERIES} queries, drawn at random with seed 0."


def test_a_search_finds_marks_and_warns(page: Page, address: str) -> None:
    page.open(address)
    search(page, "NEEDLE17")
    assert page.run(SHOWN) == ["q17"]
    assert page.run("[...document.querySelectorAll('mark.hit')].map(e => e.textContent)") == ["needle17"] * 2
    assert "no measure of how often" in page.run(PICKED)
    search(page, "no such words")
    assert page.run(SHOWN) == []
    assert page.run(PICKED).startswith("None of")


def test_a_new_sample_shows_its_seed_and_can_be_drawn_again(page: Page, address: str) -> None:
    page.open(address)
    page.run("document.querySelector('#sample').click()")
    seed, shown = page.run("document.querySelector('[name=seed]').value"), page.run(SHOWN)
    assert f"with seed {seed}" in page.run(PICKED)
    page.open(f"{address}#view=random&seed={seed}")
    assert page.run(SHOWN) == shown


def test_a_link_reproduces_a_view(page: Page, address: str) -> None:
    page.open(address)
    choose(page, "category", "crime")
    search(page, "needle1")
    page.run("document.querySelector('#sample').click()")
    link = page.run("document.querySelector('#link a').href")
    before = (page.run(SHOWN), page.run(PICKED))
    assert page.run("location.href") == link
    page.open(link)
    assert (page.run(SHOWN), page.run(PICKED)) == before
    assert "drawn at random with seed" in before[1]
    assert "found by search" in before[1].lower()


def test_a_cards_own_link_leads_to_it_alone(page: Page, address: str) -> None:
    page.open(f"{address}#view=all&page=3")
    page.run("document.querySelector('#cards .card:nth-child(4) .own').click()")
    page.run("new Promise(done => setTimeout(done, 0)).then(() => 0)")  # a hash change is told in a later task
    assert page.run(SHOWN) == ["q23"]


def test_what_the_judge_quoted_is_marked_and_the_scratchpad_folded(page: Page, address: str) -> None:
    page.open(f"{address}#view=all")
    marked = page.run("[...document.querySelectorAll('#cards .card:first-child mark')].map(e => e.textContent)")
    assert marked == ["train me", "train me", "Sorry, I can't"] * 2
    assert page.run("[...document.querySelectorAll('#cards details')].every(e => !e.open)") is True


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_one_way_and_text_has_contrast(page: Page, address: str, scheme: str) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.resize(390)
    page.open(address)
    assert page.run("document.documentElement.scrollWidth") <= 390
    colours = "(e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])(document.body)"
    text, paper = (sum(map(int, c[c.index("(") + 1 : -1].split(",")[:3])) for c in page.run(colours))
    assert (text < paper) == (scheme == "light")
    assert abs(text - paper) > 500
    page.resize(1280)
    page.call("Emulation.setEmulatedMedia", features=[])


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page: Page, address: str) -> None:
    page.open(address)
    nameless = "[...document.querySelectorAll('#view select, #view input')].filter(e => !e.labels.length).length"
    assert page.run(nameless) == 0
    page.run("document.querySelector('#view select').focus()")
    reached = []
    for _ in range(12):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(page.run("document.activeElement.id || document.activeElement.name"))
    assert {"search", "sample", "seed", "all", "clear"} <= set(reached)


def test_hostile_text_stays_text(page: Page, tmp_path: Path) -> None:
    rows = samples(8, HOSTILE)
    rows += [row | {"subject": f"<img src=x onerror=window.harmed=5>{HOSTILE[:80]}"} for row in samples(8, HOSTILE)]
    page.resize(390)
    page.open(write_page(tmp_path, rows))
    page.run("document.querySelector('#all').click()")
    search(page, "window.harmed")
    page.run("document.querySelectorAll('details').forEach(e => { e.open = true })")
    assert page.run("window.harmed ?? 'unharmed'") == "unharmed"
    assert (
        page.run("document.querySelectorAll('#cards img, #cards script, #cards svg, #cards a:not(.own)').length") == 0
    )
    assert page.run("document.querySelector('#cards [data-slot=output]').textContent").count("<script>") == 1
    assert page.run("document.documentElement.scrollWidth") <= 390
    assert page.complaints() == []
    page.resize(1280)


def test_ten_thousand_replies_open_and_filter(page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = write_page(tmp_path, samples(2_500, "All the words that a model says in a reply of usual length. " * 20))
    opened = page.open(address)
    timed = "(() => {{ const start = performance.now(); {}; return performance.now() - start }})()"
    filtered = page.run(timed.format("document.querySelector('[name=tier]').selectedIndex = 1; document.querySelector("
                                     "'[name=tier]').dispatchEvent(new Event('change', {bubbles: true}))"))  # fmt: skip
    found = page.run(
        timed.format("location.hash = '#view=all&search=needle77'; dispatchEvent(new Event('hashchange'))")
    )
    size = Path(address.removeprefix("file://")).stat().st_size / 2**20
    with capsys.disabled():
        print(f"\n10,000 replies, {size:.0f} MiB: open {opened:.2f} s, filter {filtered:.0f} ms, search {found:.0f} ms")
    assert "needle77" in page.run(PICKED)
    assert opened < 20  # seconds; a busy machine takes several times the 2 that an idle one is meant to


def test_documents_are_found_by_type_fact_and_reason_under_the_pages_own_policy(page: Page, tmp_path: Path) -> None:
    shown = []
    for n in range(24):
        kind, facts, reasons = ("memo", "letter")[n % 2], (f"fact{n % 3}",), ("length",) * (n % 4 == 0)
        shown.append(ShownDocument("corpus", f"d{n}", kind, facts, reasons, ("1 word",), "", HOSTILE))
    (tmp_path / "documents.html").write_text(render_documents(shown, "A report", 0), encoding="utf-8")
    before = len(page.complaints())
    page.open((tmp_path / "documents.html").as_uri())
    pick = (
        "{{ const menu = [...document.querySelectorAll('#filters select')].find(e => [...e.options].some(o => o.value =="
        " '{0}')); menu.value = '{0}'; menu.dispatchEvent(new Event('input', {{bubbles: true}})) }}"
    )
    count = "document.querySelectorAll('details:not([hidden])').length"
    found = []
    for term in ("type:memo", "fact:fact0", "verdict:length"):
        page.run(pick.format(term))
        found.append(page.run(count))
    assert found == [12, 4, 2]
    assert page.run("document.querySelector('#found-count').textContent") == "2 of 24 documents"
    assert page.run("window.harmed ?? 'unharmed'") == "unharmed"
    assert page.complaints()[before:] == []
