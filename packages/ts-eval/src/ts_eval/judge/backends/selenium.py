"""Back end for a web chat, driven by Selenium. Address and CSS selectors come from a TOML file.

Only for chats whose terms allow it. It opens no account and stores no cookie; `profile` may name a browser profile that is
logged in. Replies have no seed and no log-probabilities; token counts are estimates.
"""

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
from ...packaged import packaged_text
from ...schemas import Endpoint, JudgeConfig
from ...schemas.judge import ChatPage
from .base import Backend, EndpointError, Reply, Request, TryAgainError, ends_closed


def read_page(path: str | None) -> ChatPage:
    """The chat page's settings. Raises ConfigError that names file and field."""
    if path is None:
        raise ConfigError("the selenium back end needs a file with the chat's address and selectors: --page chat.toml")
    try:
        return ChatPage.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read ({problem.strerror}).") from None
    except ValidationError as problem:
        raise ConfigError(f"{path}: {describe_invalid(problem)}") from None
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from None


class SeleniumBackend(Backend):
    """One browser, one call at a time, a new chat for each story."""

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        super().__init__(config, endpoint)
        if config.mode == "expected":
            raise ConfigError(
                'mode = "expected" needs token probabilities, which a web chat does not show; use mode = "sampled".'
            )
        self._page = read_page(config.page)
        self.identity = "selenium@" + hashlib.sha256(self._page.url.encode()).hexdigest()[:12]
        self._driver: Any = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """Check that Selenium is installed; the browser starts with the first call."""
        if importlib.util.find_spec("selenium") is None:
            raise ConfigError('the selenium back end needs Selenium: pip install "tinystories-eval[browser]"')

    def ask(self, request: Request) -> Reply:
        """Enter the prompt, send it, wait until the answer no longer changes."""
        from selenium.common.exceptions import NoSuchElementException, TimeoutException, WebDriverException
        from urllib3.exceptions import HTTPError

        prompt = "\n\n".join(m["content"] for m in request.messages)
        with self._lock:
            try:
                text = self._chat(prompt)
            except TimeoutException:
                raise TryAgainError(f"no answer on the page within {self.config.timeout:g} s") from None
            except NoSuchElementException as problem:
                raise EndpointError(f"the page does not match its selectors: {_first_line(problem)}") from None
            except WebDriverException as problem:
                self._quit()
                raise TryAgainError(f"the browser failed: {_first_line(problem)}") from None
            except (HTTPError, OSError, IndexError) as problem:  # the driver ended, or the page removed its answer
                self._quit()
                raise TryAgainError(f"the browser failed ({type(problem).__name__})") from None
        if self._page.busy is None and not ends_closed(text):  # `style: 1` may be an unfinished 10
            return Reply(text, fault="the answer may be incomplete: it is not a JSON object, and the page has no `busy` selector")
        return Reply(text)

    def close(self) -> None:
        """Close the browser."""
        with self._lock:
            self._quit()

    def _chat(self, prompt: str) -> str:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        driver, page = self._started(), self._page
        driver.get(page.url)
        wait = WebDriverWait(driver, self.config.timeout, poll_frequency=0.1)
        box = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, page.input))[0]
        before = len(driver.find_elements(By.CSS_SELECTOR, page.answer))
        # Set by script: typing would send at each line break, and drivers cannot type characters beyond the basic plane.
        driver.execute_script(packaged_text(__package__, "fill.js"), box, prompt)
        driver.find_element(By.CSS_SELECTOR, page.send).click()
        wait.until(lambda d: len(d.find_elements(By.CSS_SELECTOR, page.answer)) > before)
        return self._settled(driver)

    def _settled(self, driver: Any) -> str:
        """The last answer's text once it is unchanged for `settle` seconds and nothing matches `busy`."""
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.common.by import By

        end = time.monotonic() + self.config.timeout
        text, since = "", time.monotonic()
        while time.monotonic() < end:
            now = str(driver.find_elements(By.CSS_SELECTOR, self._page.answer)[-1].text or "")
            busy = bool(self._page.busy and driver.find_elements(By.CSS_SELECTOR, self._page.busy))
            if now != text or busy or not now:
                text, since = now, time.monotonic()
            elif time.monotonic() - since >= self._page.settle:
                return text
            time.sleep(0.1)
        raise TimeoutException("the answer kept changing")

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
            # Without a driver on the PATH Selenium downloads one.
            service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
            self._driver = webdriver.Chrome(options=options, service=service)
            self._driver.set_page_load_timeout(self.config.timeout)
        return self._driver

    def _quit(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with contextlib.suppress(Exception):  # the browser may have ended already
                driver.quit()


def _first_line(problem: Exception) -> str:
    return str(getattr(problem, "msg", problem)).strip().splitlines()[0][:200]
