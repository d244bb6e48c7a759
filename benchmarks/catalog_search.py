"""Search in a real browser among 5,000 products with 20 columns each: from key press to result.

The site is opened as files. A figure is the time from the event of a key to the frame that shows
its results, once for every key of the words below. Some have a typo, and some are columns, whose
words come from files that are loaded while the reader types.

    python -m benchmarks.catalog_search
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.catalog import synthetic
from meshhouse.catalog import search, site
from meshhouse.catalog.pages import assets, home
from tests.support.browser import PROGRAMS, TIMES_OF_KEYS

TYPED = (
    "basket", "custoner", "hausehold", "campain", "invoice supplier", "ticket_12", "premium",
    "vehicel", "price stock", "ledger entry", "column_03", "member reward point", "forcast",
    "oclumn_04", "dolumn", "olumn_02",
)  # fmt: skip


def main() -> None:
    """Builds the parts of the site that search needs, types, and prints the times."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit("No browser: `make browser` installs Debian's chromium-headless-shell.")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch, "site")
        made = synthetic()
        site.build(made, folder, [assets.pages, home.pages, search.pages])
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((folder / "index.html").as_uri())
        page.evaluate(TIMES_OF_KEYS)
        for text in TYPED:
            page.locator("input").fill("")
            for key in text:
                page.keyboard.type(key)
                page.wait_for_timeout(60)  # 16 keys a second; the next key must not wait for this
            found = page.locator("#results a").count()
            if not found:
                sys.exit(f"`{text}` finds nothing, so its times mean nothing.")
        times = sorted(page.evaluate("times"))
        browser.close()
    print(f"{datetime.now(UTC):%Y-%m-%d}: {len(made.products):,} products, {len(times)} keys")
    for name, share in (("p50", 0.5), ("p95", 0.95), ("slowest", 1.0)):
        value = times[min(len(times) - 1, int(len(times) * share))]
        print(f"{name}: {value:.0f} ms" + ("; aim at most 50 ms" if name == "p95" else ""))


if __name__ == "__main__":
    main()
