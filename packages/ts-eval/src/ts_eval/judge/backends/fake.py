"""A judge that costs nothing and means nothing: ratings drawn from a hash of the story. For tests and dry runs."""

from __future__ import annotations

from ...schemas import Endpoint, JudgeConfig
from ...testing import FakeJudge
from .base import Reply, Request

__all__ = ["FakeBackend"]


class FakeBackend:
    """`FakeJudge` behind the back ends' protocol."""

    mode = "sampled"
    identity = "fake"

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        self._judge = FakeJudge()

    def check(self) -> None:
        """Nothing can be missing."""

    def ask(self, request: Request) -> Reply:
        """Ratings that depend on the story and a little on the seed, as a real judge's do."""
        text = self._judge.rate(request.story, seed=request.seed)
        size = sum(len(m["content"]) for m in request.messages) // 4
        return Reply(text=text, prompt_tokens=size, completion_tokens=len(text) // 4, fingerprint="fake")

    def close(self) -> None:
        """Nothing to let go of."""
