"""The embedded default corpus: a grammar of stories, its vocabulary and its defects."""
