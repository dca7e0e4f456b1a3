"""StoryIndex against scikit-learn, rouge-score and plain counting; compiled and plain kernels on the same cases."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import TfidfVectorizer

import ts_eval.index.build
from ts_eval import StoryIndex
from ts_eval.errors import ArtefactError, IndexMismatchError
from ts_eval.index.store import corpus_hash, write
from ts_eval.texts import runs

ODD = ["A café with snake_case and naïve words. é", "___", "", "!!! ?", "a b c d e", "İstanbul and ſtrange K letters."]


@pytest.fixture(scope="module")
def corpus(stories):
    return [*stories[:150], *ODD, stories[7], stories[7], "Lily saw a dog. " * 40]


@pytest.fixture(scope="module")
def queries(stories):
    return [*stories[300:320], stories[7], "zzz qqq", "", "a", ODD[0], "the dog was very big"]


@pytest.fixture
def index(kernels, corpus):
    return StoryIndex.build(corpus)


def test_closest_equals_scikit_learn(index, corpus, queries):
    vectorizer = TfidfVectorizer()
    train = vectorizer.fit_transform(corpus)
    cosines = np.round((vectorizer.transform(queries) @ train.T).toarray(), 12)
    for row, found in zip(cosines, index.closest(queries, k=5), strict=True):
        order = np.argsort(-row, kind="stable")[:5]
        assert [m.index for m in found] == order.tolist()
        assert np.allclose([m.score for m in found], row[order], atol=1e-11)
        assert [m.text for m in found] == [corpus[i] for i in order]


def test_equal_stories_give_the_lowest_index_and_own_is_left_out(index, corpus):
    query = corpus[7]
    twins = [i for i, text in enumerate(corpus) if text == query]
    assert len(twins) == 3
    assert [m.index for m in index.closest([query], k=3)[0]] == twins
    assert index.closest([query], k=1, own=[7])[0][0].index == twins[1]
    assert index.max_rouge2_precision([query], own=[7])[0].index == twins[1]
    assert index.longest_spans([query], own=[7])[0].index == twins[1]


def test_more_near_ties_than_are_kept_are_all_looked_at():
    same = ["the cat sat on the mat"] * 60
    found = StoryIndex.build(["a dog ran", *same]).closest(["the cat sat"], k=20)[0]
    assert [m.index for m in found] == list(range(1, 21))


def test_max_rouge2_equals_rouge_score(index, corpus, queries):
    scorer = RougeScorer(["rouge2"], use_stemmer=True)
    for query, found in zip(queries, index.max_rouge2_precision(queries), strict=True):
        scores = [scorer.score(text, query)["rouge2"].precision for text in corpus]
        if found is None:
            assert max(scores) == 0
        else:
            assert found.score == pytest.approx(max(scores), abs=1e-12)
            assert found.index == int(np.argmax(scores))


def brute(text: str, lines: list[str], own: int) -> tuple[int, int, int]:
    """(words, first story, occurrences) of the longest common run, by trying all of them; a line is ` word word … `."""
    query = runs(text)
    for n in range(len(query), 0, -1):
        for at in range(len(query) - n + 1):
            run = f" {' '.join(query[at : at + n])} "
            hits = [s for s, line in enumerate(lines) if s != own and run in line]
            if hits:
                return n, hits[0], sum(lines[s].startswith(run, i) for s in hits for i in range(len(lines[s])))
    return 0, -1, 0


def test_longest_span_equals_counting(index, corpus, queries):
    own = [-1] * len(queries)
    own[20], own[24] = 7, 150
    lines = [f" {' '.join(runs(text))} " for text in corpus]
    for query, mine, found in zip(queries, own, index.longest_spans(queries, own=own), strict=True):
        assert (found.words, found.index, found.count) == brute(query, lines, mine)
        assert runs(query)[found.start : found.start + found.words] == runs(found.text)


def test_a_planted_copy_is_found_with_its_count(corpus):
    planted = "the purple zebra quietly ate seven golden waffles"
    index = StoryIndex.build([*corpus, f"Once. {planted}. End", f"And {planted}!"])
    found = index.longest_spans(["Mia saw that The purple zebra, quietly ate seven golden waffles today."])[0]
    assert (found.words, found.index, found.count) == (8, len(corpus), 2)
    assert found.text.startswith("The purple zebra, quietly")


def test_a_template_is_found_under_renaming(index):
    text = "Then Mia took the ball and ran to Sue."
    renamed = "Then Zorblax took the ball and ran to Quimby."
    exact, masked = index.longest_spans([renamed])[0], index.longest_spans([renamed], template=True)[0]
    assert exact.words < masked.words == len(runs(text))
    assert "lily" in index.arrays.names
    assert "dog" not in index.arrays.names


def test_both_kernels_agree_on_templates(corpus, queries, plain_kernels):
    index = StoryIndex.build(corpus)
    found = index.longest_spans(queries, template=True)
    with plain_kernels():
        assert index.longest_spans(queries, template=True) == found


@pytest.mark.parametrize("batch", [100, 10_000])
def test_wide_ids_give_the_same_answers(corpus, tmp_path, monkeypatch, batch):
    monkeypatch.setattr(ts_eval.index.build, "BATCH", batch)  # widened half way, and before the first word is written
    many = [" ".join(f"word{i}x{j}" for j in range(100)) for i in range(700)]
    big = StoryIndex.build([*corpus, *many])
    assert big.arrays.stream.dtype == np.uint32
    path = tmp_path / "index"
    write(path, [*corpus, *many])
    assert StoryIndex.open(path).arrays.stream.dtype == np.uint32
    assert np.array_equal(StoryIndex.open(path).arrays.stream, big.arrays.stream)
    assert big.longest_spans(["word3x5 word3x6 word3x7 no"])[0].index == len(corpus) + 3
    assert StoryIndex.build(corpus).arrays.stream.dtype == np.uint16


def test_stories_that_rouge_splits_otherwise_stand_in_the_stream_twice(corpus):
    arrays = StoryIndex.build(corpus).arrays
    odd = {i for i, text in enumerate(corpus) if text in (ODD[0], ODD[1], ODD[5])}
    assert set(arrays.second[:, 0].tolist()) == odd
    assert len(arrays.stream) > arrays.offsets[-1]


def test_cosine_of_pairs_equals_scikit_learn(index, corpus, queries):
    vectorizer = TfidfVectorizer().fit(corpus)
    a, b = vectorizer.transform(queries), vectorizer.transform(queries[::-1])
    assert np.allclose(index.cosine(queries, queries[::-1]), np.asarray(a.multiply(b).sum(axis=1))[:, 0], atol=1e-12)


def test_on_disk_the_index_is_the_same_and_is_opened_again(corpus, queries, tmp_path, monkeypatch):
    path = tmp_path / "index"
    first = StoryIndex.cached(path, corpus)
    assert first.closest(queries) == StoryIndex.build(corpus).closest(queries)
    before = (path / "index.json").read_bytes()
    monkeypatch.setattr(ts_eval.index.build, "_numbered", None)  # building again would fail
    assert StoryIndex.cached(path, corpus).longest_spans(queries) == first.longest_spans(queries)
    assert (path / "index.json").read_bytes() == before
    assert first.sha256


def test_other_stories_give_a_new_index(corpus, tmp_path):
    path = tmp_path / "index"
    StoryIndex.cached(path, corpus)
    assert len(StoryIndex.cached(path, corpus[:50])) == 50
    assert not [p.name for p in tmp_path.iterdir() if p.name != "index"]


def test_what_does_not_belong_is_refused(corpus, tmp_path):
    path = tmp_path / "index"
    write(path, corpus)
    with pytest.raises(IndexMismatchError, match="stories"):
        StoryIndex.open(path, corpus[:-1])
    with pytest.raises(IndexMismatchError, match="other stories"):
        StoryIndex.open(path, corpus, corpus=corpus_hash(corpus[::-1]))
    with pytest.raises(IndexMismatchError, match="story 0 has other words"):
        StoryIndex.open(path, corpus[::-1])  # as many stories, but others
    with pytest.raises(IndexMismatchError, match="has other words"):
        StoryIndex.open(path, [*corpus[:-1], "Another story."])
    assert len(StoryIndex.open(path, corpus)) == len(corpus)
    manifest = json.loads((path / "index.json").read_text())
    for change, error in (
        ({"tokenisation": 99}, IndexMismatchError),
        ({"schema_version": 2}, ArtefactError),
        ({"x": 1}, ArtefactError),
    ):
        (path / "index.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(error):
            StoryIndex.open(path)


@pytest.mark.parametrize("name", ["stream.bin", "offsets.npy", "words.txt", "norms.npy", "df.npy", "second.npy"])
def test_a_damaged_file_is_refused(corpus, tmp_path, name):
    path = tmp_path / "index"
    write(path, corpus[:20])
    file = path / name
    file.write_bytes(file.read_bytes()[:-2] + b"xx")
    with pytest.raises(ArtefactError, match="damaged"):
        StoryIndex.open(path)


def test_bad_questions_are_answered_with_reasons(index):
    with pytest.raises(ValueError, match="to leave out"):
        index.closest(["a"], own=[1, 2])
    with pytest.raises(ValueError, match="the index has"):
        index.closest(["a"], own=[10**6])
    with pytest.raises(ValueError, match="at least one story"):
        StoryIndex.build([])


@pytest.mark.real_data
def test_real_stories_against_the_oracles(real_stories, plain_kernels):
    train, test = real_stories[:1500], real_stories[1500:1530]
    index = StoryIndex.build(train)
    vectorizer = TfidfVectorizer()
    cosines = (vectorizer.fit_transform(train) @ vectorizer.transform(test).T).toarray().T
    found = index.closest(test, k=1)
    assert [m[0].index for m in found] == np.round(cosines, 12).argmax(axis=1).tolist()
    assert np.allclose([m[0].score for m in found], cosines.max(axis=1), atol=1e-12)
    scorer = RougeScorer(["rouge2"], use_stemmer=True)
    for query, best in zip(test[:2], index.max_rouge2_precision(test[:2]), strict=True):
        assert scorer.score(train[best.index], query)["rouge2"].precision == pytest.approx(best.score, abs=1e-12)
    compiled = search(index, test)
    with plain_kernels():
        assert search(index, test) == compiled


def search(index, texts):
    return index.closest(texts), index.max_rouge2_precision(texts), index.longest_spans(texts, own=range(len(texts)))


def test_a_word_repeated_takes_no_square_of_time():
    index = StoryIndex.build(["The dog ran home and the cat sat on the mat.", "A big red house."])
    index.longest_spans(["the dog"])
    start = time.process_time()
    assert index.longest_spans(["the " * 30_000 + "dog ran"])[0].words == 3
    assert time.process_time() - start < 4, "20 s if each word is followed back to the first"
