from .__about__ import __version__
from .cleaning.cleaner import Change, Cleaned, clean
from .cleaning.rules import RULES, Drop, Rule
from .cleaning.rules.base import ParametricRule
from .corpus.sample import sample
from .dataset import Split, open_manifest, read, read_canaries
from .dedup.hashes import story_hashes
from .errors import ArtefactError, ConfigError, SourceError, TsDataError
from .instruct.build import instruct, instructions
from .instruct.prompts import Instruction
from .pipeline.pipeline import prepare
from .reports.leakage import leakage
from .reports.show import changes, removed
from .schemas import Canary, DatasetManifest, InstructConfig, LeakageReport, NearConfig, PrepareConfig
from .sources import SOURCES, SourceType
from .sources.blocks import Block, Format, Input, RawSource
from .sources.download import download

__all__ = [
    "RULES",
    "SOURCES",
    "ArtefactError",
    "Block",
    "Canary",
    "Change",
    "Cleaned",
    "ConfigError",
    "DatasetManifest",
    "Drop",
    "Format",
    "Input",
    "InstructConfig",
    "Instruction",
    "LeakageReport",
    "NearConfig",
    "ParametricRule",
    "PrepareConfig",
    "RawSource",
    "Rule",
    "SourceError",
    "SourceType",
    "Split",
    "TsDataError",
    "__version__",
    "changes",
    "clean",
    "download",
    "instruct",
    "instructions",
    "leakage",
    "open_manifest",
    "prepare",
    "read",
    "read_canaries",
    "removed",
    "sample",
    "story_hashes",
]
