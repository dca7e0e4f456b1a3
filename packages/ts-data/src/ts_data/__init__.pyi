from .__about__ import __version__
from .cleaning.cleaner import Change, Cleaned, clean
from .corpus.sample import sample
from .dataset import Split, open_manifest, read
from .dedup.hashes import story_hashes
from .errors import ArtefactError, ConfigError, SourceError, TsDataError
from .pipeline.pipeline import prepare
from .reports.leakage import leakage
from .reports.show import changes, removed
from .schemas import DatasetManifest, LeakageReport, NearConfig, PrepareConfig
from .sources.download import download

__all__ = [
    "ArtefactError",
    "Change",
    "Cleaned",
    "ConfigError",
    "DatasetManifest",
    "LeakageReport",
    "NearConfig",
    "PrepareConfig",
    "SourceError",
    "Split",
    "TsDataError",
    "__version__",
    "changes",
    "clean",
    "download",
    "leakage",
    "open_manifest",
    "prepare",
    "read",
    "removed",
    "sample",
    "story_hashes",
]
