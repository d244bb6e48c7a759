"""The page about files, followed as its reader does."""

from tests.support.guides import Followed


def test_the_page_about_files(mesh, tmp_path):
    extracted = Followed(mesh, tmp_path, {}).follow("files.md")[0]
    assert "in/2017-03-01.csv, events: 2" in extracted
    assert "2 rows landed, 0 events rejected" in extracted
    assert "0.99" in extracted
