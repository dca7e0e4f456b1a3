"""Rates stories in six categories from 1 to 10, by a language model or by an estimate. `__init__.pyi` lists the public names."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
