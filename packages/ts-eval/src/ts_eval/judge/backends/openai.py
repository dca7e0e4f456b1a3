"""Any OpenAI-compatible chat server (hosted, Ollama, llama.cpp, vLLM) through the official SDK, its retries switched off."""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from typing import Any
from urllib.parse import urlsplit

from ...errors import ConfigError
from ...schemas import Endpoint, JudgeConfig
from .base import EndpointError, RefusedError, Reply, Request, Token, TryAgainError

__all__ = ["OpenAIBackend"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TOP = 20
"""Candidates asked for per token; the API's maximum."""


class OpenAIBackend:
    """One endpoint. It steps down from a JSON schema to plain text once the server has refused it (`structured = "auto"`)."""

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        self.mode: str = config.mode
        self.identity = "openai"
        self._config, self._endpoint = config, endpoint
        self._formats = {
            "auto": ["json_schema", "json_object", "text"],
            "schema": ["json_schema", "json_object"],
            "text": ["text"],
        }[config.structured]
        self._client: Any = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """The package and the key; a server on loopback needs no key."""
        if importlib.util.find_spec("openai") is None:
            raise ConfigError('the openai back end needs the SDK: pip install "tinystories-eval[judge]"')
        if not self._key():
            raise ConfigError(
                f"{self._endpoint.base_url}: no key. Set the environment variable {self._endpoint.api_key_env}, "
                f"or name another with api_key_env in the endpoint's settings."
            )
        self._make()

    def ask(self, request: Request) -> Reply:
        """One chat completion; the SDK's errors become this package's failures, without the key in them."""
        import openai

        try:
            return self._reply(self._make().chat.completions.create(**self._body(request)))
        except openai.APITimeoutError:
            raise TryAgainError(f"no reply within {self._config.timeout:g} s") from None
        except openai.APIConnectionError as problem:
            raise TryAgainError(f"no connection ({type(problem.__cause__ or problem).__name__})") from None
        except openai.APIStatusError as problem:
            return self._refused(problem, request)
        except openai.OpenAIError as problem:
            raise TryAgainError(f"reply not understood ({type(problem).__name__})") from None

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _key(self) -> str:
        key = os.environ.get(self._endpoint.api_key_env, "")
        return key or ("none" if urlsplit(self._endpoint.base_url).hostname in _LOOPBACK else "")

    def _make(self) -> Any:
        with self._lock:
            if self._client is None:
                import openai

                self._client = openai.OpenAI(
                    base_url=self._endpoint.base_url, api_key=self._key(), timeout=self._config.timeout, max_retries=0
                )
            return self._client

    def _body(self, request: Request) -> dict[str, Any]:
        c = self._config
        body: dict[str, Any] = {
            "model": self._endpoint.model or c.model, "messages": request.messages, "temperature": c.temperature,
            "top_p": c.top_p, "max_tokens": c.max_tokens, "seed": request.seed,
            "extra_headers": {"Idempotency-Key": request.key},
        }  # fmt: skip
        if self._formats[0] == "json_schema":
            schema = {"name": "ratings", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self._formats[0] == "json_object":  # llama-cpp-python's spelling; others take it without the schema
            body["response_format"] = {"type": "json_object", "schema": request.schema}
        if c.mode == "expected":
            body |= {"logprobs": True, "top_logprobs": _TOP}
        return body

    def _refused(self, problem: Any, request: Request) -> Reply:
        status, message = problem.status_code, _short(problem, self._key())
        # Also with 500: llama-cpp-python's server answers an unknown response_format so.
        about_format = any(word in message.lower() for word in ("response_format", "json_schema", "json_object"))
        if about_format and status != 429 and len(self._formats) > 1:
            self._step_down(problem)
            return self.ask(request)
        if status in {408, 409, 425, 429} or status >= 500:
            raise TryAgainError(f"HTTP {status}: {message}", _retry_after(problem))
        if status in {400, 413, 422}:
            raise RefusedError(f"HTTP {status}: {message}")
        raise EndpointError(f"HTTP {status}: {message}")

    def _step_down(self, problem: Any) -> None:
        """Leave the format that was refused, once, though several threads may hear of it."""
        refused = re.search(rb'"response_format":\s*\{"type":\s*"(\w+)"', problem.request.content)
        with self._lock:
            if refused and refused[1].decode() == self._formats[0] and len(self._formats) > 1:
                self._formats = self._formats[1:]

    def _reply(self, completion: Any) -> Reply:
        if not getattr(completion, "choices", None):
            raise TryAgainError("a reply without choices")
        choice, usage = completion.choices[0], completion.usage
        tokens = _tokens(choice) if self._config.mode == "expected" else None
        if self._config.mode == "expected" and not tokens:
            raise EndpointError(
                'the server sends no token log-probabilities, which mode = "expected" needs; use mode = "sampled"'
            )
        return Reply(
            text=choice.message.content or "",
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            fingerprint=completion.system_fingerprint,
            tokens=tokens,
        )


def _tokens(choice: Any) -> list[Token]:
    content = getattr(choice.logprobs, "content", None) or []
    return [Token(t.token, t.logprob, {o.token: o.logprob for o in t.top_logprobs}) for t in content]


def _short(problem: Any, key: str) -> str:
    text = " ".join(str(getattr(problem, "message", problem)).split())
    return text.replace(key, "***")[:200] if len(key) > 4 else text[:200]


def _retry_after(problem: Any) -> float | None:
    try:
        return min(float(problem.response.headers["retry-after"]), 120.0)
    except (KeyError, ValueError):
        return None
