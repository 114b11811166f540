"""What the models of the admin routes have in common."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Asked", "Told"]


class Asked(BaseModel):
    """What a request says. What is not known is refused: it would be a wish that nobody heeds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Told(BaseModel):
    """What an answer says."""

    model_config = ConfigDict(extra="ignore", frozen=True)
