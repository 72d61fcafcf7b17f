"""Draws docs/report.jpg: the top of a report page, and beside it the defects that were found.

    python tools/report_image.py results/report.html docs/report.jpg

It takes Chromium on the PATH and Playwright.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, ViewportSize, sync_playwright

VIEW = ViewportSize(width=1060, height=1060)
SCALE = 0.75
GAP = 10
QUALITY = 80


def main() -> None:
    """Write the image that was named on the command line."""
    page_file, image_file = map(Path, sys.argv[1:])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=VIEW, device_scale_factor=SCALE)
        page.goto(page_file.resolve().as_uri())
        left = screenshot_from(page, "#verdicts")
        page.click('.filters [data-outcome="detected"]')
        page.select_option("#sort", "score")
        right = screenshot_from(page, "#gallery")
        browser.close()
    gap = np.full((len(left), GAP, 3), 200, np.uint8)
    cv2.imwrite(str(image_file), np.hstack([left, gap, right]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def screenshot_from(page: Page, section: str) -> np.ndarray:
    """What is seen where a section begins at the top."""
    page.eval_on_selector(section, "section => section.scrollIntoView({behavior: 'instant'})")
    page.wait_for_timeout(1000)  # images are decoded when they come into view
    data = np.frombuffer(page.screenshot(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


if __name__ == "__main__":
    main()
