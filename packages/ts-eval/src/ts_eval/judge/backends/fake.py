"""Back end without cost and without meaning: ratings from a hash of the story. For tests and dry runs."""

from ...schemas import Endpoint, JudgeConfig
from ...testing import FakeJudge
from .base import Backend, Reply, Request


class FakeBackend(Backend):
    """`FakeJudge` as a back end."""

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        super().__init__(config, endpoint)
        self.notes.append("the fake judge computes ratings from a hash of the story: they have no meaning")

    def ask(self, request: Request) -> Reply:
        """Ratings that depend on the story and slightly on the seed."""
        text = FakeJudge().rate(request.story, seed=request.seed)
        size = sum(len(m["content"]) for m in request.messages) // 4
        return Reply(text=text, prompt_tokens=size, completion_tokens=len(text) // 4, fingerprint="fake")
