"""The feature judge as a back end: no server, no tokens, and ratings in mode `estimated`."""

from pathlib import Path

from ...checks import StrPath
from ...errors import ConfigError
from ...schemas import Endpoint, JudgeConfig
from ..features.model import FeatureJudge, packaged
from ..features.reference import MAX_STORIES, Reference
from ..files import read_stories
from .base import Backend, Reply, Request


def feature_judge(reference: StrPath | None) -> FeatureJudge:
    """The packaged judge; with a reference (splits/ or a file of stories) the one that compares with its stories."""
    return packaged(None if reference is None else read_reference(reference))


def read_reference(place: StrPath) -> Reference:
    """A reference fitted on the train split of splits/, or on a file of stories."""
    if Path(place).is_dir():
        from ts_data import read

        return Reference(list(read(place, "train")[:MAX_STORIES]))
    return Reference([s.text for s in read_stories(place)[:MAX_STORIES]])


class FeaturesBackend(Backend):
    """Packaged weights; with `config.reference` also the features that compare with reference stories."""

    mode = "estimated"
    prices_tokens = False
    calibration_note = (
        "the packaged weights were fitted to GPT-4o's ratings of 350 stories: agreement with that file is agreement with the fit. "
        "The error on models not fitted is in the weights' `held_out` and in docs/performance/ts-eval-judge.md"
    )

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        super().__init__(config, endpoint)
        self._judge: FeatureJudge | None = None
        self.notes.append(
            "estimates of a fitted model of text features, not ratings by a judge; see `ts-eval calibrate --backend features`"
        )

    def check(self) -> None:
        """Load the weights and fit the reference, if the settings name one."""
        place = self.config.reference
        if place is not None and not Path(place).exists():
            raise ConfigError(f"reference {place}: no such file or folder.")
        self._judge = feature_judge(place)
        self.identity = self._judge.identity

    def ask(self, request: Request) -> Reply:
        """An estimate."""
        if self._judge is None:
            self.check()
        assert self._judge is not None
        return Reply(text=self._judge.estimate(request.story).model_dump_json())
