"""A web chat driven by Selenium, as the talk did it. Address and selectors stand in a TOML file, so that a redesign needs no release.

Only for chats whose terms allow it. It opens no account and stores no cookie: `profile` may name a browser profile that is
already logged in. Replies carry no token counts, no seed and no log-probabilities, and the ratings say so by their absence.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ts_data.artefact import describe_invalid

from ..._judge_schemas import ChatPage
from ...errors import ConfigError
from ...schemas import Endpoint, JudgeConfig
from .base import EndpointError, Reply, Request, TryAgainError

__all__ = ["SeleniumBackend", "read_page"]


def read_page(path: str | None) -> ChatPage:
    """The chat page's settings. Raises ConfigError with file and field."""
    if path is None:
        raise ConfigError("the selenium back end needs a file with the chat's address and selectors: --page chat.toml")
    try:
        return ChatPage.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from None
    except ValidationError as problem:
        raise ConfigError(f"{path}: {describe_invalid(problem)}") from None


class SeleniumBackend:
    """One browser, one call at a time; a new chat for each story, so that none colours the next."""

    mode = "sampled"

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        if config.mode == "expected":
            raise ConfigError('a web chat shows no token probabilities: mode = "expected" is not possible with selenium.')
        self._config, self._page = config, read_page(config.page)
        self.identity = "selenium@" + hashlib.sha256(self._page.url.encode()).hexdigest()[:12]
        self._driver: Any = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """The package; the browser itself starts with the first call."""
        if importlib.util.find_spec("selenium") is None:
            raise ConfigError('the selenium back end needs Selenium: pip install "tinystories-eval[browser]"')

    def ask(self, request: Request) -> Reply:
        """Type the prompt, send it, wait until the answer has stood still."""
        from selenium.common.exceptions import NoSuchElementException, TimeoutException, WebDriverException

        prompt = "\n\n".join(m["content"] for m in request.messages)
        with self._lock:
            try:
                return Reply(text=self._chat(prompt))
            except TimeoutException:
                raise TryAgainError(f"no answer on the page within {self._config.timeout:g} s") from None
            except NoSuchElementException as problem:
                raise EndpointError(f"the page does not fit its selectors: {_first_line(problem)}") from None
            except WebDriverException as problem:
                self._quit()
                raise TryAgainError(f"the browser failed: {_first_line(problem)}") from None

    def close(self) -> None:
        """End the browser."""
        with self._lock:
            self._quit()

    def _chat(self, prompt: str) -> str:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        driver, page = self._started(), self._page
        driver.get(page.url)
        wait = WebDriverWait(driver, self._config.timeout, poll_frequency=0.1)
        box = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, page.input))[0]
        before = len(driver.find_elements(By.CSS_SELECTOR, page.answer))
        # Set, not typed: keys would send at each line break, and drivers type no character beyond the basic plane.
        driver.execute_script(_FILL, box, prompt)
        driver.find_element(By.CSS_SELECTOR, page.send).click()
        wait.until(lambda d: len(d.find_elements(By.CSS_SELECTOR, page.answer)) > before)
        return self._settled(driver)

    def _settled(self, driver: Any) -> str:
        """The last answer's text once it has not changed for `settle` seconds and the busy sign is gone."""
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.common.by import By

        end = time.monotonic() + self._config.timeout
        text, since = "", time.monotonic()
        while time.monotonic() < end:
            now = driver.find_elements(By.CSS_SELECTOR, self._page.answer)[-1].text
            busy = bool(self._page.busy and driver.find_elements(By.CSS_SELECTOR, self._page.busy))
            if now != text or busy or not now:
                text, since = now, time.monotonic()
            elif time.monotonic() - since >= self._page.settle:
                return text
            time.sleep(0.1)
        raise TimeoutException("the answer never stood still")

    def _started(self) -> Any:
        if self._driver is None:
            from selenium import webdriver

            options = webdriver.ChromeOptions()
            for argument in self._page.browser_arguments:
                options.add_argument(argument)
            if self._page.headless:
                options.add_argument("--headless")
            if self._page.profile:
                options.add_argument(f"--user-data-dir={self._page.profile}")
            # A driver on the PATH is taken as it is; without one Selenium looks for it on the net.
            service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
            self._driver = webdriver.Chrome(options=options, service=service)
            self._driver.set_page_load_timeout(self._config.timeout)
        return self._driver

    def _quit(self) -> None:
        if self._driver is not None:
            self._driver.quit()
            self._driver = None


_FILL = """
const [box, text] = arguments;
box.focus();
if (box.isContentEditable) { box.textContent = text; }
else {
  const kind = box.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(box, text);
}
box.dispatchEvent(new InputEvent('input', {bubbles: true}));
"""


def _first_line(problem: Exception) -> str:
    return str(getattr(problem, "msg", problem)).strip().splitlines()[0][:200]
