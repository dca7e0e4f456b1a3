"""The pictures of the README and the documentation, as PNG of the pages and of what commands print: `nox -s pictures`.

`python -m tools.pictures FOLDER` reads what `nox -s quickstart` left in FOLDER and writes docs/pictures/. It needs Chromium.
"""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyte
from selenium import webdriver

import ts_models
from ts_models.play import serve

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures"
OPENING = "Once upon a time, there was a little girl named Lily. She found a shiny stone"
COMMANDS = {
    "show": "ts-data show splits/ --changed dashes",
    "train": "ts-train run --preset story-1m --data encoded/ --out {scratch}/run/ --max-steps 60 --set validation.samples=0",
}
BRIGHT = {"red": "#ff7b72", "green": "#7ee787", "blue": "#79c0ff", "brown": "#e3b341"}
TERMINAL = "<body style='margin:0;background:#1d2128;color:#e6e6e6;font:15px/1.45 monospace'><pre style='margin:18px'>{}</pre>"


def drawn(cell: pyte.screens.Char) -> str:
    """A character of the terminal in HTML."""
    text = html.escape(cell.data)
    return text if cell.fg == "default" else f'<span style="color:{BRIGHT.get(cell.fg, cell.fg)}">{text}</span>'


class Camera:
    """A headless Chromium that writes what it shows to docs/pictures/."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
            options.add_argument(flag)
        options.binary_location = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))

    def shoot(
        self, name: str, address: str, *, size: tuple[int, int] = (1280, 800), ready: Callable[[], bool] | None = None
    ) -> None:
        shown = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shown)
        self.driver.get(address)
        end = time.monotonic() + 60
        while ready is not None and not ready():
            if time.monotonic() > end:
                raise SystemExit(f"{name}: the page did not get ready")
            time.sleep(0.1)
        self.driver.save_screenshot(str(OUT / f"{name}.png"))

    def shoot_command(self, name: str, command: str, folder: Path, scratch: Path) -> None:
        """What a command leaves on a terminal of 80 columns and 24 lines."""
        line = f"stty cols 80 rows 24; {command.format(scratch=scratch)}"
        done = subprocess.run(["script", "-qec", line, "/dev/null"], cwd=folder, capture_output=True, check=True)
        screen = pyte.Screen(80, 24)
        pyte.ByteStream(screen).feed(
            (f"$ {line.partition('; ')[2]}\r\n".encode() + done.stdout).replace(f"{scratch}/".encode(), b"")
        )
        lines = ["".join(map(drawn, (screen.buffer[row][column] for column in range(80)))) for row in range(24)]
        page = scratch / f"{name}.html"
        page.write_text(TERMINAL.format("\n".join(lines).rstrip()), encoding="utf-8")
        self.shoot(name, page.as_uri(), size=(780, 36 + 22 * (1 + max(row for row in range(24) if lines[row].strip()))))

    def story_is_written(self) -> bool:
        """On the page of `play`: writes a story at the first call, then tells whether it is complete."""
        begin = "if (!window.begun && document.querySelector('.panel .facts')) { window.begun = true; document.getElementById('write').click(); }"
        done = "return !!window.begun && !document.querySelector('.panel.writing') && document.querySelectorAll('.token').length > 20"
        self.driver.execute_script(begin)
        return bool(self.driver.execute_script(done))


def main() -> None:
    folder, camera = Path(sys.argv[1]).resolve(), Camera()
    OUT.mkdir(exist_ok=True)
    camera.shoot("report", (folder / "report" / "report.html").as_uri(), size=(1280, 700))
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        subprocess.run(["ts-models", "look", "demo", OPENING, "--out", str(scratch / "look.html"), "--quiet"], check=True)
        camera.shoot("look", (scratch / "look.html").as_uri())
        for name, command in COMMANDS.items():
            camera.shoot_command(name, command, folder, scratch)
    addresses: list[str] = []
    served = {"demo": ts_models.load("demo")}
    threading.Thread(target=serve, args=(served,), kwargs={"port": 0, "ready": addresses.append}, daemon=True).start()
    while not addresses:
        time.sleep(0.1)
    camera.shoot("play", addresses[0], size=(1100, 1000), ready=camera.story_is_written)
    for picture in sorted(OUT.glob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size:,} bytes")
    camera.driver.quit()


if __name__ == "__main__":
    main()
