"""Which licences the audit refuses."""

import pytest
from tools.licences import is_refused, pins


@pytest.mark.parametrize("name", ["GPL-3.0-only", "AGPL-3.0", "GNU General Public License v3 (GPLv3)", "GPL-2.0 AND MIT"])
def test_copyleft_is_refused(name):
    assert is_refused(name)


@pytest.mark.parametrize(
    "name",
    [
        "MIT",
        "MPL-2.0",
        "LGPL-3.0",
        "GNU Lesser General Public License v3 (LGPLv3)",
        "MIT OR GPL-2.0",
        "GPL-3.0 WITH GCC-exception-3.1",
    ],
)
def test_what_binds_nobody_passes(name):
    assert not is_refused(name)


def test_pins_name_what_came_from_an_index_and_none_of_ours():
    lines = pins().splitlines()
    assert any(line.startswith("pytest==") for line in lines)
    assert not any("+" in line or line.startswith(("ts-", "tinystories")) for line in lines)
