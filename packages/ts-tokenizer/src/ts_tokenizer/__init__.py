"""A word-level tokenizer on spaCy's English rules, with a learned detokenizer. `__init__.pyi` lists the public names.

tokenizer = ts_tokenizer.WordTokenizer.train(texts, vocab_size=2048)
ts_tokenizer.encode_splits("splits/", tokenizer, "encoded/")
story = ts_tokenizer.open_encoded("encoded/")["train"][7]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
