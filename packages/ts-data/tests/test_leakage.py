"""The leakage report, against planted copies."""

from __future__ import annotations

from pathlib import Path

from ts_data import NearConfig, PrepareConfig, clean, leakage, prepare, read


def test_planted_copies_are_found(raw: Path, stories: list[str], tmp_path: Path) -> None:
    texts = [story for story in dict.fromkeys(stories) if clean(story).dropped is None][:40]
    exact, close, new = (
        texts[:10],
        [text.replace("The ", "A ", 1) + " The end." for text in texts[10:30]],
        ["Entirely new. " * 20],
    )
    test = tmp_path / "valid.txt"
    test.write_text("<|endoftext|>".join([*exact, *close, *new]), encoding="utf-8")
    prepare(raw, tmp_path / "splits", PrepareConfig(validation=1), test=test, workers=1)
    train = set(read(tmp_path / "splits", "train"))
    seen: list[tuple[int, int | None]] = []
    report = leakage(
        tmp_path / "splits", NearConfig(threshold=0.7), progress=lambda _, done, total=None: seen.append((done, total))
    )
    found = report.splits["test"]
    assert found.stories == 31
    assert found.exact == sum(clean(text).text in train for text in exact) >= 9
    assert 18 <= found.near <= 20
    rows = read(tmp_path / "splits", "test"), read(tmp_path / "splits", "train")
    for row, at, similarity in found.examples:
        assert (rows[0][row] == rows[1][at]) == (similarity == 1.0)
    assert seen[-1] == (len(train), len(train))
    assert report.splits["validation"].exact == 0
