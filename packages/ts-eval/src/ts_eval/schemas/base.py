"""The base of all schemas: frozen, no unknown fields, no NaN and infinity (JSON has neither)."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of all schemas of this package."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
