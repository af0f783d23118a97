"""Takes the screenshots of docs/screens/ from a running demonstration, in a real browser.

    scripts/serve --demo                # in another terminal
    .venv/bin/python scripts/screens.py [--web URL] [FOLDER]

It needs Chromium (Debian: apt install chromium fonts-noto-cjk fonts-inter pngquant) and the test extra. The pictures
are of the same screens each time; what they show is the demonstration's invented data.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import demo_reports
import make_samples
from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "screens"
WIDTH, HEIGHT = 1440, 900


@dataclass(frozen=True)
class Screen:
    """A picture to be taken."""

    name: str
    path: str
    language: str = "en"
    theme: str = "light"
    hover: str = ""
    """What the pointer is on."""
    height: int = HEIGHT


def screens() -> Iterator[Screen]:
    """All pictures."""
    follow_up = "/studies/" + make_samples.study_instance_uid("charlie-chest-2")
    before = make_samples.sop_instance_uid("03_ct_chest_nodules")
    embolism = "/studies/" + make_samples.study_instance_uid("delta-pulmonary-angiogram")
    written = demo_reports.read_reports()
    compared = next(name for name, s in written.items() if name.startswith("zh") and "compared_with" in s)
    chinese = "/studies/" + make_samples.study_instance_uid(written[compared]["study"])
    yield Screen("worklist", "/")
    yield Screen("worklist-dark", "/", theme="dark")
    yield Screen("worklist-zh", "/", language="zh")
    yield Screen("study", follow_up, hover=".mark.present")
    yield Screen("study-dark", embolism, theme="dark", hover=".mark.critical")
    yield Screen("study-zh", chinese, language="zh", hover=".mark.present")
    yield Screen("study-beside", f"{follow_up}?beside={before}", height=1500)
    yield Screen("search", "/search?concept=nodule&assertion=present&assertion=possible")
    yield Screen("search-zh-dark", "/search?concept=结节&assertion=present", language="zh", theme="dark")
    yield Screen("follow-up", "/follow-up")
    yield Screen("annotations", "/annotations")
    report = make_samples.sop_instance_uid("04_ct_chest_follow_up")
    yield Screen("annotate", f"{follow_up}/annotate/{report}")
    report = make_samples.sop_instance_uid(compared)
    yield Screen("annotate-zh-dark", f"{chinese}/annotate/{report}", language="zh", theme="dark")
    yield Screen("status", "/status")
    yield Screen("status-dark", "/status", theme="dark")
    yield Screen("ledger", "/ledger")
    yield Screen("quarantine", "/quarantine")
    yield Screen("error-zh", "/studies/1.2.3", language="zh")


def take(browser: Browser, web: str, screen: Screen, folder: Path) -> Path:
    """One picture."""
    page: Page = browser.new_page(viewport={"width": WIDTH, "height": screen.height}, color_scheme="light")
    try:
        mark = "&" if "?" in screen.path else "?"
        page.goto(f"{web}{screen.path}{mark}lang={screen.language}&theme={screen.theme}", wait_until="networkidle")
        if screen.hover:
            page.locator(screen.hover).first.hover()
        page.wait_for_timeout(300)
        path = folder / f"{screen.name}.png"
        page.screenshot(path=path)
        if pngquant := shutil.which("pngquant"):
            # a third of the size, and nobody sees the difference
            subprocess.run([pngquant, "--force", "--ext", ".png", "--quality", "80-98", path], check=True)
        return path
    finally:
        page.close()


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 done, 1 something failed and it says what."""
    parser = argparse.ArgumentParser(description="Take the screenshots of the pages from a running demonstration.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--web", default="http://127.0.0.1:8080", help="address of the service")
    given = parser.parse_args(arguments)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        print("screens: no chromium on the PATH (Debian: apt install chromium fonts-noto-cjk)", file=sys.stderr)
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for screen in screens():
            print(take(browser, given.web, screen, given.folder))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
