from .optimise import optimise_prompt
from .pooling import panel
from .report import calibrate

__all__ = ["calibrate", "optimise_prompt", "panel"]
