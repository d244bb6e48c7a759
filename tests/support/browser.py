"""A real browser for tests: Debian's Chromium, steered by Playwright.

Belongs here: finding and starting it, and pictures of its pages. Not here: what a test clicks.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PICTURES = os.environ.get("MESH_TESTS_PICTURES")
"""The folder for pictures of the pages that tests saw; None for no pictures."""
_NEEDED = bool(os.environ.get("MESH_TESTS_NEED_BROWSER"))
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
TIMES_OF_KEYS = """
times = []; at = 0;
addEventListener("keydown", () => { at = performance.now(); }, true);
addEventListener("input", () => requestAnimationFrame(() => {
  const drawn = new MessageChannel();
  drawn.port1.onmessage = () => times.push(performance.now() - at);
  drawn.port2.postMessage(0);
}), true);
"""
"""Script that notes the milliseconds from each key press to what is drawn for it."""


@contextmanager
def running_browser() -> Iterator[Any]:
    """Starts the browser; skips the test where none is installed, unless CI needs it."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        reason = "no browser: `make browser` installs Debian's chromium-headless-shell"
        assert not _NEEDED, reason
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # The pages are Dagster's own, on this machine; root has no sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def picture(page: Any, name: str) -> None:
    """Keeps a picture of a page for people, where pictures are asked for."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        with suppress(Exception):  # a page that asks again and again never falls silent
            page.wait_for_load_state("networkidle", timeout=5000)
        page.screenshot(path=Path(PICTURES, f"{name}.png"))


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """Waits until a condition is true; returns what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.5)
    return found
