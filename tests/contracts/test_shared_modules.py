"""`artefact` and `console` stand twice, because neither ts_data nor ts_models may import the other: they must stay equal."""

import pytest


@pytest.mark.parametrize("name", ["artefact.py", "console.py"])
def test_the_two_copies_are_equal_to_the_byte(root, name):
    one = root / "packages/ts-data/src/ts_data" / name
    two = root / "packages/ts-models/src/ts_models" / name
    assert one.read_bytes() == two.read_bytes(), f"change {name} in both packages or in neither"


@pytest.mark.parametrize("name", ["artefact.py", "console.py"])
@pytest.mark.parametrize("folder", ["ts-tokenizer", "ts-train", "ts-eval"])
def test_the_other_packages_import_one_of_them(root, folder, name):
    assert not (root / "packages" / folder / "src" / folder.replace("-", "_") / name).exists()
