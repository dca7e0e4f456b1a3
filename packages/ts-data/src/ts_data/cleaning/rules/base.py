"""The base of a cleaning rule with parameters."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

from . import Drop


class ParametricRule(BaseModel):
    """A rule whose fields are its parameters.

    A field that has the name of a `PrepareConfig` field takes its value from there (`min_characters` of `short`). Any other is set by
    `PrepareConfig.step_options`: `--set step_options.RULE.FIELD=value`. The manifest and the cleaner's hash hold the values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def __call__(self, text: str) -> str | Drop:
        """Return the repaired text, or Drop."""
