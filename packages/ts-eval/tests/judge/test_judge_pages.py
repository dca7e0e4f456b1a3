"""Pages: the blind rating page and the web-chat back end, over HTTP and in a real Chromium."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ts_eval.errors import ConfigError
from ts_eval.judge import RatingServer, RatingSession, Story, judge_stories, read_stories
from ts_eval.schemas import CATEGORIES, JudgeConfig
from ts_eval.testing import FakeJudge

STORIES = [Story(f"Story {n} of a cat. <script>document.title='run'</script>", "secret-model") for n in range(4)]
SCORES = dict(zip(CATEGORIES, [8, 10, 7, 6, 5, 4], strict=True))


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


# --- the session -------------------------------------------------------------------------------


def test_stories_come_shuffled_and_blind_and_a_session_goes_on(tmp_path: Path) -> None:
    session = RatingSession(STORIES, tmp_path / "r.jsonl", rater="ada")
    first = session.next()
    assert "secret-model" not in json.dumps(first)
    second = session.rate(first["id"], SCORES)
    assert second["done"] == 1
    again = RatingSession(STORIES, tmp_path / "r.jsonl", rater="ada").next()
    assert again["id"] == second["id"]
    orders = {RatingSession(STORIES, tmp_path / "none", rater=f"r{i}").next()["id"] for i in range(20)}
    assert len(orders) > 1


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    session = RatingSession(STORIES, path, rater="ada")
    session.rate(session.next()["id"], SCORES)
    with path.open("a") as handle:
        handle.write('{"story": "Story 2 of a c')
    session = RatingSession(STORIES, path, rater="ada")
    assert session.next()["done"] == 1
    session.rate(session.next()["id"], SCORES)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_undo_and_two_raters_come_out_as_calibration_data(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for rater, grammar in (("ada", 3), ("bob", 5)):
        session = RatingSession(STORIES[:1], path, rater=rater)
        task = session.next()
        session.rate(task["id"], {**SCORES, "grammar": 9})
        assert not session.undo()["finished"]
        assert session.rate(task["id"], {**SCORES, "grammar": grammar})["finished"]
    (story,) = read_stories(path)
    assert [r["grammar"] for r in story.ratings] == [3, 5]


@pytest.mark.parametrize("wrong", [{}, {**SCORES, "grammar": 11}, {**SCORES, "grammar": 7.5}, {**SCORES, "plot": 1}])
def test_only_six_whole_numbers_are_taken(tmp_path: Path, wrong: dict[str, Any]) -> None:
    session = RatingSession(STORIES, tmp_path / "r.jsonl", rater="ada")
    with pytest.raises(ValueError, match="six whole numbers"):
        session.rate(session.next()["id"], wrong)
    assert not (tmp_path / "r.jsonl").exists()


# --- the server --------------------------------------------------------------------------------


@contextmanager
def serving(tmp_path: Path) -> Iterator[RatingServer]:
    server = RatingServer(RatingSession(STORIES, tmp_path / "r.jsonl", rater="ada"))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)


def ask(server: RatingServer, method: str, path: str, headers: dict[str, str], body: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path, body=body, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_our_own_page_with_the_token_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        token = {"X-Rating-Token": server.token}
        assert ask(server, "GET", "/next", token) == 200
        assert ask(server, "GET", "/next", {}) == 403
        assert ask(server, "GET", "/next", {"X-Rating-Token": "guess"}) == 403
        assert ask(server, "GET", "/", {"Host": "evil.example"}) == 403
        assert ask(server, "GET", "/next", {**token, "Host": "evil.example"}) == 403
        assert ask(server, "POST", "/undo", {**token, "Origin": "http://evil.example"}, "{}") == 403
        assert ask(server, "POST", "/rate", token, '{"id": "x", "ratings": {}}') == 400
        assert ask(server, "POST", "/rate", token, "[" * 9000) == 400
        assert ask(server, "POST", "/rate", token, "x" * 20_000) == 400
        assert ask(server, "GET", "/../../etc/passwd", token) == 404
    assert not (tmp_path / "r.jsonl").exists()


@pytest.mark.browser
def test_a_person_rates_by_keyboard(tmp_path: Path, chromium: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    with serving(tmp_path) as server:
        chromium.get(server.url)
        state = lambda: chromium.find_element(By.ID, "state").text  # noqa: E731
        wait_for(lambda: "1 of 4" in state())
        assert "<script>" in chromium.find_element(By.ID, "story").text, "a story is text, never markup"
        assert chromium.title == "Rate stories"
        assert "secret-model" not in chromium.page_source
        body = chromium.find_element(By.TAG_NAME, "body")
        for n in range(4):
            body.send_keys("807654", Keys.ENTER)
            wait_for(lambda n=n: "All 4" in state() if n == 3 else f"{n + 2} of 4" in state())
        body.send_keys("u")
        wait_for(lambda: "4 of 4" in state())
    assert [s.ratings for s in read_stories(tmp_path / "r.jsonl")].count((dict.fromkeys(CATEGORIES, 0) | SCORES,)) == 3


@pytest.mark.browser
@pytest.mark.parametrize("touch", [False, True])
def test_a_person_rates_by_mouse_or_touch_and_goes_back(tmp_path: Path, chromium: Any, touch: bool) -> None:
    from selenium.webdriver.common.by import By

    tap = """const box = arguments[0].getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2];"""

    def press(selector: str) -> None:
        found = chromium.find_element(By.CSS_SELECTOR, selector)
        chromium.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        if not touch:
            return found.click()
        x, y = chromium.execute_script(tap, found)
        for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
            chromium.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        return None

    def pressed() -> list[str]:
        return [b.get_attribute("aria-label") for b in chromium.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")]

    if touch:
        size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    with serving(tmp_path) as server:
        chromium.get(server.url)
        state = lambda: chromium.find_element(By.ID, "state").text  # noqa: E731
        wait_for(lambda: "1 of 4" in state())
        assert len(chromium.find_elements(By.CSS_SELECTOR, "fieldset dl dd")) == 18, "1, 5 and 10 of six categories"
        assert chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        for name, score in SCORES.items():
            assert not chromium.find_element(By.ID, "next").is_enabled()
            press(f"[aria-label='{name} {score}']")
            wait_for(lambda name=name, score=score: f"{name} {score}" in pressed())
        wanted = [f"{name} {score}" for name, score in SCORES.items()]
        press("[aria-label='grammar 1']")
        wait_for(lambda: "grammar 1" in pressed())
        press("#undo")
        wait_for(lambda: pressed() == wanted)
        press("#next")
        wait_for(lambda: "2 of 4" in state() and pressed() == [])
        press("#back")
        wait_for(lambda: "1 of 4" in state() and pressed() == wanted)
        press("#next")
        wait_for(lambda: "2 of 4" in state())
        assert chromium.find_element(By.ID, "progress").get_property("value") == 1
    (story,) = [s for s in read_stories(tmp_path / "r.jsonl") if s.ratings]
    assert story.ratings == (SCORES,)


# --- the web chat ------------------------------------------------------------------------------

CHAT = b"""<!doctype html><meta charset="utf-8"><title>chat</title>
<div id="log"></div><textarea id="box"></textarea><button id="send">Send</button>
<script>
document.getElementById('send').onclick = async () => {
  const box = document.getElementById('box'), log = document.getElementById('log');
  const text = box.value; box.value = '';
  const answer = document.createElement('pre'); answer.className = 'answer'; log.append(answer);
  const busy = document.createElement('i'); busy.id = 'busy'; log.append(busy);
  const reply = await (await fetch('/ask', {method: 'POST', body: text})).text();
  for (const letter of reply) { answer.textContent += letter; await new Promise(r => setTimeout(r, 5)); }
  busy.remove();
};
</script>"""


@contextmanager
def chat_page() -> Iterator[tuple[str, list[str]]]:
    """A chat that writes its answer letter by letter, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(CHAT, "text/html; charset=utf-8")

        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            story = asked[-1].split("<<<")[1].partition("\n")[2].rpartition(">>>")[0].rpartition("\n")[0]
            self._send(FakeJudge().rate(story).encode(), "text/plain")

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.browser
def test_a_web_chat_judges_in_a_real_browser(tmp_path: Path, chromium: Any) -> None:
    arguments = json.dumps(["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                            "--disable-background-networking", "--disable-component-update", "--disable-sync"])  # fmt: skip
    stories = ["A cat sat down.\nThen it slept \U0001f63a.", "A dog ran home."]
    with chat_page() as (url, asked):
        page = tmp_path / "chat.toml"
        page.write_text(
            f'url = "{url}"\ninput = "#box"\nsend = "#send"\nanswer = ".answer"\nbusy = "#busy"\nsettle = 0.3\nheadless = true\n'
            f'profile = "{tmp_path / "profile"}"\nbrowser_arguments = {arguments}\n'
        )
        config = JudgeConfig(backend="selenium", page=str(page), anchors=False, timeout=30, prompt="brief")
        run = judge_stories(stories, config, out=tmp_path / "r.jsonl")
        judge_stories(stories, config, out=tmp_path / "r.jsonl")
    assert len(asked) == 2, run.ratings
    assert [r.scores.as_list() for r in run.ratings if r.scores] == [
        list(json.loads(FakeJudge().rate(s)).values()) for s in stories
    ]


def test_a_chat_page_with_a_wrong_field_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "chat.toml"
    page.write_text('url = "http://127.0.0.1/"\ninput = "#box"\nsnd = "#send"\nanswer = ".a"\n')
    with pytest.raises(ConfigError, match="snd"):
        judge_stories(["x"], JudgeConfig(backend="selenium", page=str(page)))
    with pytest.raises(ConfigError, match="--page"):
        judge_stories(["x"], JudgeConfig(backend="selenium"))
    page.write_text('url = "http://127.0.0.1/"\ninput = "#box"\nsend = "#send"\nanswer = ".a"\n')
    with pytest.raises(ConfigError, match="token probabilities"):
        judge_stories(["x"], JudgeConfig(backend="selenium", page=str(page), mode="expected"))
