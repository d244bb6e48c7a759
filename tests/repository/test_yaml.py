"""Reading YAML files: what is read twice is loaded once, and an edit counts at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhouse.repository.yaml import DeclarationError, read_yaml


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "models.yml"
    file.write_text("models:\n  - name: orders\n")
    assert read_yaml(file) == {"models": [{"name": "orders"}]}
    file.write_text("models:\n  - name: returns\n")
    assert read_yaml(file) == {"models": [{"name": "returns"}]}


def test_a_mistake_is_reported_with_the_path_of_each_file_that_has_it(tmp_path: Path) -> None:
    for name in ("one.yml", "two.yml", "one.yml"):
        file = tmp_path / name
        file.write_text("a: 1\na: 2\n")
        with pytest.raises(DeclarationError, match=rf"{name}:2: .*`a` is here twice"):
            read_yaml(file)
