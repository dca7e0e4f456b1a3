"""A web chat driven by Selenium, as the talk did it. Address and selectors stand in a TOML file, so that a redesign needs no release.

Only for chats whose terms allow it. It opens no account and stores no cookie: `profile` may name a browser profile that is
already logged in. Replies carry no seed and no log-probabilities, and the ratings say so by their absence; token counts are estimates.
"""

from __future__ import annotations

import contextlib
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

from ...errors import ConfigError
from ...schemas import Endpoint, JudgeConfig
from ...schemas.judge import ChatPage
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
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read ({problem.strerror}).") from None
    except ValidationError as problem:
        raise ConfigError(f"{path}: {describe_invalid(problem)}") from None
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from None


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
        from urllib3.exceptions import HTTPError

        prompt = "\n\n".join(m["content"] for m in request.messages)
        with self._lock:
            try:
                return self._reply(self._chat(prompt))
            except TimeoutException:
                raise TryAgainError(f"no answer on the page within {self._config.timeout:g} s") from None
            except NoSuchElementException as problem:
                raise EndpointError(f"the page does not fit its selectors: {_first_line(problem)}") from None
            except WebDriverException as problem:
                self._quit()
                raise TryAgainError(f"the browser failed: {_first_line(problem)}") from None
            except (HTTPError, OSError, IndexError) as problem:  # the driver is gone; the page lost its answer
                self._quit()
                raise TryAgainError(f"the browser failed ({type(problem).__name__})") from None

    def _reply(self, text: str) -> Reply:
        """The answer. Without a busy sign nobody knows whether `style: 1` stands still or waits for its 0."""
        if self._page.busy is None and any(c.isdigit() for c in text[text.rfind("}") + 1 :]):
            return Reply(
                text, fault="nothing says that the answer is whole: it is no JSON object, and the page has no `busy` selector"
            )
        return Reply(text)

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
            now = str(driver.find_elements(By.CSS_SELECTOR, self._page.answer)[-1].text or "")
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
        driver, self._driver = self._driver, None
        if driver is not None:
            with contextlib.suppress(Exception):  # a browser that is gone cannot be ended
                driver.quit()


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
