"""Only the owner can read a mesh's files, unless the owner shares them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from meshhouse.modes import keep_private


def modes(home: Path, others: int) -> set[str]:
    """Files and folders that have any of the permissions in `others`."""
    return {
        f"{path.relative_to(home.parent)} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in (home, *home.rglob("*"))
        if path.stat().st_mode & others
    }


@pytest.fixture(autouse=True)
def _umask_of_before():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_run_leaves_nothing_that_others_may_read(mesh):
    mesh.sell(1, 2)  # written by a library, with the umask of this process
    mesh.run("run", "shop")
    assert stat.S_IMODE(mesh.home.stat().st_mode) == 0o700
    by_the_library = {"events"}
    for path in mesh.home.iterdir():
        if path.name not in by_the_library:
            assert modes(path, 0o077) == set()


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o777, 0o1775, 0o705, 0o700])
def test_a_home_of_an_earlier_version_is_closed_with_a_word(tmp_path, mode, caplog):
    home = tmp_path / "my mesh"
    (home / "lake").mkdir(parents=True)
    home.chmod(mode)
    keep_private(home)
    assert stat.S_IMODE(home.stat().st_mode) & 0o777 == 0o700
    assert os.umask(0) == 0o077
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == (mode != 0o700)
    if said:
        assert f"{mode:o}" in said[0]
        assert f"chmod -R g+rwXs '{home}'" in said[0]
    caplog.clear()
    keep_private(home)
    assert not caplog.records


@pytest.mark.parametrize(
    ("mode", "umask"), [(0o2775, 0o002), (0o2755, 0o022), (0o2777, 0o000), (0o3775, 0o002)]
)
def test_a_home_of_an_earlier_version_that_a_group_shares_stays_shared(
    tmp_path, mode, umask, caplog
):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake").chmod(mode)
    tmp_path.chmod(mode)
    keep_private(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    assert os.umask(0) == umask
    assert not caplog.records


@pytest.mark.parametrize(
    ("mode", "umask"), [(0o2770, 0o007), (0o750, 0o027), (0o755, 0o022), (0o700, 0o077)]
)
def test_what_is_made_later_is_as_shared_as_the_owner_decided(tmp_path, mode, umask):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "identity.json").touch()
    (tmp_path / "lake").chmod(mode)
    tmp_path.chmod(mode)
    keep_private(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    assert os.umask(0) == umask


def test_a_folder_that_was_made_for_a_group_before_the_first_run_is_shared_with_it(tmp_path):
    tmp_path.chmod(0o2770)
    keep_private(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o2770
    assert os.umask(0) == 0o007


def test_a_folder_with_other_things_keeps_its_mode_but_nothing_in_it_is_shared(tmp_path):
    (tmp_path / "letters").mkdir()
    tmp_path.chmod(0o755)
    keep_private(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert os.umask(0) == 0o077


def test_a_home_that_does_not_exist_is_made_for_its_owner(tmp_path):
    keep_private(tmp_path / "home")
    (tmp_path / "home" / "lake").mkdir(parents=True)
    assert modes(tmp_path / "home", 0o077) == set()
