"""The README's pictures of TensorBoard, made anew from a run: learning, agreement, images.

pip install selenium pillow            # and a Chromium with its chromedriver
python docs/screenshots.py runs/NAME [FOLDER] [PAGE ...]
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--window-size=1500,1300",
)  # fmt: skip
README = {"learning": "custom_scalars", "agreement": "custom_scalars", "images": "images"}
HEIGHT = {"images": 2250}  # pixels of the window
SETTLED = 10  # seconds: the pages draw their charts one after another


def browser() -> WebDriver:
    """A Chromium without a window."""
    from selenium import webdriver  # no part of the project needs it but this script

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def shoot(chromium: WebDriver, address: str, name: str, path: Path) -> None:
    """Open a page, wait until it is drawn, and save what is seen in few colours."""
    chromium.set_window_size(1500, HEIGHT.get(name, 1300))
    chromium.get("about:blank")  # another # alone is no other page
    chromium.get(f"{address}?darkMode=false#{README.get(name, name)}")
    time.sleep(SETTLED)
    if name == "agreement":  # it stands below the first category, which a click on its head closes
        chromium.execute_script(CLOSE_FIRST)
        time.sleep(2)
    picture = Image.open(io.BytesIO(chromium.get_screenshot_as_png())).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


# The pages' parts lie within shadow roots, so they are looked for in each of them.
CLOSE_FIRST = """
const all = (root) => [...root.querySelectorAll('*')].flatMap(e => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
const heads = all(document).filter(e => e.tagName === 'BUTTON' && e.textContent.trim().startsWith('Learning'));
heads[0].click();
"""


def main() -> None:
    """Start `handgrad board` on the run, and visit its pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"), help="where the pictures go (docs)")
    parser.add_argument("pages", nargs="*", help="TensorBoard's pages, such as text or hparams (the README's three)")
    args = parser.parse_args()
    command = [sys.executable, "-m", "handgrad", "board", args.run, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(": ")[-1].split("#")[0]
        chromium = browser()
        try:
            time.sleep(SETTLED)  # the files are read while the server answers
            for name in args.pages or README:
                shoot(chromium, address, name, args.folder / f"tensorboard-{name}.png")
        finally:
            chromium.quit()
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
