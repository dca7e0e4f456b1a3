"""The feature judge as a back end: no server, no cost, and ratings that say `estimated`."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigError
from ...schemas import Endpoint, JudgeConfig
from ..features.model import FeatureJudge, packaged
from ..features.reference import MAX_STORIES, Reference
from ..files import read_stories
from .base import Reply, Request

__all__ = ["FeaturesBackend", "read_reference"]


def read_reference(place: str) -> Reference:
    """A reference from splits/ (its train split) or from a file of stories."""
    if Path(place).is_dir():
        from ts_data import read

        return Reference(list(read(place, "train")[:MAX_STORIES]))
    return Reference([s.text for s in read_stories(place)[:MAX_STORIES]])


class FeaturesBackend:
    """Packaged weights; with `reference`, those whose features need one."""

    mode = "estimated"

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        self._place = config.reference
        self._judge: FeatureJudge | None = None
        self.identity = "features"

    def check(self) -> None:
        """Fit the reference, if one is given."""
        if self._place is not None and not Path(self._place).exists():
            raise ConfigError(f"reference {self._place}: no such file or folder.")
        self._judge = packaged(read_reference(self._place) if self._place is not None else None)
        self.identity = self._judge.identity

    def ask(self, request: Request) -> Reply:
        """An estimate."""
        if self._judge is None:
            self.check()
        assert self._judge is not None
        return Reply(text=self._judge.estimate(request.story).model_dump_json())

    def close(self) -> None:
        """Nothing to let go of."""
