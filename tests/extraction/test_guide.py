"""The pages about files, databases and Kinesis, followed as their reader does."""

from tests.support import tabled
from tests.support.guides import BLOCK, Followed
from tests.support.tiny import ROOT


def test_the_page_about_files(mesh, tmp_path):
    extracted = Followed(mesh, tmp_path, {}).follow("files.md")[0]
    assert "in/2017-03-01.csv, events: 2" in extracted
    assert "2 rows landed, 0 events rejected" in extracted
    assert "0.99" in extracted


def test_the_page_about_databases(mesh, tmp_path):
    page = (ROOT / "docs" / "guides" / "databases.md").read_text()
    [table] = [block for kind, _, block in BLOCK.findall(page) if kind == "sql"]
    with tabled.running("postgres") as database:
        database.server.do(table)
        url = "postgresql://reader:password@localhost/shop"
        declared, extracted = Followed(mesh, tmp_path, {url: database.url}).follow("databases.md")
    assert "read      4 columns of public.orders" in declared
    assert "2 events sent to shop.orders" in extracted
    assert "2 rows landed, 0 events rejected" in extracted
    assert '"amount":0.99' in extracted.replace(" ", "")
    # The page shows the declaration that the command writes.
    topics = (mesh.root / "domains/shop/models/topics.yml").read_text()
    [shown] = [line for line in page.splitlines() if line.startswith("extract: {")]
    for part in shown.removeprefix("extract: {").removesuffix("}").split(", "):
        assert part in topics


def test_the_page_about_kinesis(mesh, tmp_path, store):
    # The store's variables lead to moto.
    extracted = Followed(mesh, tmp_path, {}).follow("kinesis.md")[0]
    assert "2 events sent to shop.clicks" in extracted
    assert "2 rows landed, 0 events rejected" in extracted
    assert "/basket" in extracted
