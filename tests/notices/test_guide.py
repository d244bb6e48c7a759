"""The page about alerts, followed as its reader does."""

from contextlib import closing
from socket import create_server

from tests.support.guides import Followed


def test_the_page_about_alerts(sold, tmp_path):
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
    page = Followed(sold, tmp_path, {"8765": port})
    try:
        tested, looked, signed = page.follow("alerts.md")
    finally:
        page.stop()
    assert "sent to webhook" in tested
    assert "Nothing is wrong." in looked
    assert "test test: A test message of the mesh" in looked
    assert "sent to webhook" in signed
