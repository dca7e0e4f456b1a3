"""Small story language models: Transformers and recurrent networks, generation, saving and loading. `__init__.pyi` lists the names."""

import lazy_loader

from .integrations import transformers_hook

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
transformers_hook.install()
