from .optimise import optimise_prompt
from .report import calibrate

__all__ = ["calibrate", "optimise_prompt"]
