"""Adapter for an OpenAI-compatible completions server (extra `judge`, for its SDK): llama.cpp, vLLM, Ollama, hosted ones."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ts_models.registry import METHODS

from ..errors import ConfigError, UnavailableError
from .adapter import ModelAdapter

CONCURRENCY = 4


def open_completions(spec: str) -> ModelAdapter:
    """`http://host/v1#MODEL`; the key, if any, is read from OPENAI_API_KEY and kept nowhere."""
    base_url, _, model = spec.partition("#")
    if not model:
        raise ConfigError(f"{spec}: name the model behind the address, as in http://localhost:8000/v1#my-model.")
    try:
        import openai
    except ImportError:
        raise UnavailableError(f'{spec}: needs the openai package. pip install "tinystories-eval[judge]"') from None
    client = openai.OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=4, timeout=120)
    return CompletionsAdapter(spec, model, client)


class CompletionsAdapter(ModelAdapter):
    """Generates by POST /completions. It gives no log-probabilities of given texts: servers differ too much there."""

    def __init__(self, spec: str, model: str, client: Any) -> None:
        super().__init__(model.rsplit("/", 1)[-1], "completions", spec)
        self.model, self.client = model, client
        self.notes.append("a completions server: perplexity is not measured")

    def __reduce__(self) -> tuple[Any, ...]:
        return open_completions, (self.location,)

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]:
        """Completions, a few at a time."""
        method = options.get("method", "sample")
        if METHODS[method].beams:
            raise ConfigError(f"{self.name}: a completions server has no beam search; use --set decoding.method=sample.")
        settings = {
            "max_tokens": options.get("max_new_tokens", 256),
            "temperature": 0.0 if method == "greedy" else options.get("temperature", 1.0),
            "stop": ["<|endoftext|>"],
            **({"top_p": options["top_p"]} if "top_p" in options else {}),
        }
        seed = options.get("seed", 0)
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            return list(pool.map(lambda item: self._ask(item[1], seed + item[0], settings), enumerate(prompts)))

    def _ask(self, prompt: str, seed: int, settings: dict[str, Any]) -> str:
        import openai

        try:
            reply = self.client.completions.create(model=self.model, prompt=prompt or "\n", seed=seed, **settings)
        except (openai.OpenAIError, ValueError) as problem:  # ValueError: a body that is no JSON or not UTF-8
            reason = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise UnavailableError(f"{self.location}: {reason}") from None
        return self._text(reply)

    def _text(self, reply: Any) -> str:
        """The text of a reply. Whatever else a server sends is no completion."""
        choices = getattr(reply, "choices", None)
        first = choices[0] if isinstance(choices, list) and choices else None
        text, ended = getattr(first, "text", None), getattr(first, "finish_reason", None)
        if not isinstance(text, str) or ended == "content_filter":
            what = "the server filtered it" if ended == "content_filter" else "it has no choices[0].text"
            raise UnavailableError(
                f"{self.location}: a reply is no completion: {what}. Check address and model, or take another server."
            )
        return text
