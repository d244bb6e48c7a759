"""The writer of the site: what is written, what is left alone, and what a reader sees meanwhile."""

import multiprocessing
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meshhouse.catalog import manifest, site
from meshhouse.catalog.documents import Mesh
from meshhouse.catalog.page import Page
from meshhouse.errors import MeshError, UsageError
from meshhouse.locks import lock_if_free

MESH = Mesh(datetime(2026, 1, 1, tzinfo=UTC), (), (), ())


def making(**content: str):
    """A maker of pages `<name>.html`, whose inputs are their content."""

    def make(mesh):
        for name, text in content.items():
            path = f"{name.replace('__', '/')}.html"
            yield Page(path, ("html", text), lambda text=text: f"<p>{text}</p>")

    return make


def build(folder: Path, jobs: int = 1, **content: str) -> site.Built:
    return site.build(MESH, folder, [making(**content)], jobs=jobs)


def shown(folder: Path) -> dict[str, str]:
    """What a web server shows of a folder: no name that begins with a dot."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return {
        each.relative_to(folder).as_posix(): each.read_text()
        for each in files
        if not any(part.startswith(".") for part in each.relative_to(folder).parts)
    }


def test_only_what_changed_is_written(tmp_path):
    first = build(tmp_path / "site", index="a", products__sales__orders="b")
    assert sorted(first.written) == ["index.html", "products/sales/orders.html"]
    again = build(tmp_path / "site", index="a", products__sales__orders="b")
    assert (again.written, again.removed, again.pages) == ((), (), 2)
    changed = build(tmp_path / "site", index="a", products__sales__orders="c")
    assert changed.written == ("products/sales/orders.html",)
    assert shown(tmp_path / "site")["products/sales/orders.html"] == "<p>c</p>"


def test_pages_that_are_gone_are_removed_with_their_folders(tmp_path):
    build(tmp_path, index="a", products__sales__orders="b", products__sales__lines="c")
    built = build(tmp_path, index="a", products__sales__lines="c")
    assert built.removed == ("products/sales/orders.html",)
    assert build(tmp_path, index="a").removed == ("products/sales/lines.html",)
    assert list(shown(tmp_path)) == ["index.html"]
    assert not (tmp_path / "products").exists()


def test_files_of_others_are_never_removed(tmp_path):
    build(tmp_path, index="a", gone="b")
    (tmp_path / "CNAME").write_text("example.com")
    build(tmp_path, index="a")
    assert set(shown(tmp_path)) == {"index.html", "CNAME"}


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a catalog's"):
        build(tmp_path, index="a")
    assert list(shown(tmp_path)) == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "site").write_text("")
    with pytest.raises(UsageError, match="cannot hold a catalog"):
        build(tmp_path / "site", index="a")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pages": {"../thesis.txt": ["x", 1]}}', "\0"])
def test_a_damaged_manifest_only_costs_a_full_build(tmp_path, content):
    folder = tmp_path / "site"
    build(folder, index="a")
    (tmp_path / "thesis.txt").write_text("years of work")
    (folder / manifest.NAME).write_text(content)
    assert build(folder, index="a").written == ("index.html",)
    assert (tmp_path / "thesis.txt").exists()
    assert build(folder, index="a").written == ()


def test_a_page_that_was_cut_or_deleted_is_written_again(tmp_path):
    build(tmp_path, index="a", other="b", third="c")
    (tmp_path / "index.html").write_text("")
    (tmp_path / "other.html").unlink()
    assert build(tmp_path, index="a", other="b", third="c").written == ("other.html", "index.html")


def test_new_code_writes_every_page_again(tmp_path, monkeypatch):
    build(tmp_path, index="a", other="b")
    monkeypatch.setattr(site, "digest_of_code", lambda: "another version")
    assert len(build(tmp_path, index="a", other="b").written) == 2


@pytest.mark.parametrize(
    "path", ["../index.html", "/etc/passwd", "a//b", ".catalog.json", "", "a/"]
)
def test_a_page_cannot_leave_the_site(tmp_path, path):
    with pytest.raises(MeshError, match="leaves the site"):
        site.build(MESH, tmp_path / "site", [lambda mesh: iter([Page(path, 1, lambda: "x")])])


def test_two_pages_cannot_have_the_same_path(tmp_path):
    """On a file system that does not tell letter case apart, one would replace the other."""
    with pytest.raises(MeshError, match="Two pages have the path"):
        build(tmp_path, orders="a", Orders="b")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_page_that_cannot_be_made_is_named_and_the_site_stays(tmp_path, jobs):
    many = {f"page{number}": "old" for number in range(500)}
    build(tmp_path, jobs, **many)

    def fail() -> str:
        raise ValueError("the template is wrong")

    def make(mesh):
        for name in many:
            yield Page(f"{name}.html", "new", fail if name == "page251" else lambda: "<p>new</p>")

    with pytest.raises(MeshError, match=r"page251\.html cannot be made: ValueError: the template"):
        site.build(MESH, tmp_path, [make], jobs=jobs)
    assert set(shown(tmp_path)) == {f"{name}.html" for name in many}
    assert set(shown(tmp_path).values()) <= {"<p>old</p>", "<p>new</p>"}
    again = site.build(MESH, tmp_path, [making(**dict.fromkeys(many, "new"))], jobs=jobs)
    assert set(shown(tmp_path).values()) == {"<p>new</p>"}
    assert again.pages == 500


def test_a_page_of_a_failed_build_is_written_again_although_its_facts_are_back(tmp_path):
    """The page of the failed build has the size of the one before."""
    build(tmp_path, score="98", index="98")

    def fail() -> str:
        raise ValueError("no disk")

    def broken(mesh):
        yield Page("score.html", ("html", "42"), lambda: "<p>42</p>")
        yield Page("index.html", ("html", "42"), fail)

    with pytest.raises(MeshError):
        site.build(MESH, tmp_path, [broken], jobs=1)
    assert shown(tmp_path)["score.html"] == "<p>42</p>"
    build(tmp_path, score="98", index="98")
    assert shown(tmp_path) == {"score.html": "<p>98</p>", "index.html": "<p>98</p>"}


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    build(tmp_path, index="a")
    (tmp_path / "products").write_text("of a person")
    with pytest.raises(MeshError, match="products cannot be a folder of the site"):
        build(tmp_path, index="a", products__orders="b")
    assert (tmp_path / "products").read_text() == "of a person"


def test_several_processes_write_the_same_site(tmp_path):
    many = {f"page{number}": str(number) for number in range(500)}
    build(tmp_path / "one", 1, **many)
    build(tmp_path / "two", 2, **many)
    assert shown(tmp_path / "one") == shown(tmp_path / "two")
    assert len(shown(tmp_path / "two")) == 500
    assert build(tmp_path / "two", 2, **many).written == ()


def test_a_killed_build_leaves_a_site_that_works(tmp_path):
    """A reader sees whole pages, old or new, and the next build makes all of them new."""
    many = {f"page{number}": "old" for number in range(20)}
    build(tmp_path, **many, gone="old")

    def die_in_the_middle(mesh):
        for number, name in enumerate(many):
            kill = number == 10

            def make(kill=kill) -> str:
                if kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                return "<p>new</p>"

            yield Page(f"{name}.html", ("html", "new"), make)

    process = multiprocessing.get_context("fork").Process(
        target=site.build, args=(MESH, tmp_path, [die_in_the_middle])
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    found = shown(tmp_path)
    assert set(found) == {f"{name}.html" for name in [*many, "gone"]}
    assert set(found.values()) == {"<p>old</p>", "<p>new</p>"}
    built = build(tmp_path, **dict.fromkeys(many, "new"))
    assert set(shown(tmp_path).values()) == {"<p>new</p>"}
    assert built.removed == ("gone.html",)


def test_pages_that_are_gone_are_removed_only_when_others_are_written(tmp_path):
    """Until then, links to them work."""
    build(tmp_path, index="a", gone="b")
    seen = []

    def make(mesh):
        yield Page("index.html", "new", lambda: str(seen.append((tmp_path / "gone.html").exists())))

    site.build(MESH, tmp_path, [make])
    assert seen == [True]
    assert not (tmp_path / "gone.html").exists()


def test_the_home_page_is_written_last(tmp_path):
    built = build(tmp_path, index="a", other="b")
    assert built.written[-1] == "index.html"


def test_content_in_bytes_and_hostile_text_arrive_as_they_are(tmp_path):
    hostile = "<script>\udcff\u202e\0"

    def make(mesh):
        yield Page("a.png", b"\x89PNG", lambda: b"\x89PNG\0\xff")
        yield Page("b.html", hostile, lambda: hostile)

    site.build(MESH, tmp_path, [make])
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG\0\xff"
    assert (tmp_path / "b.html").read_text() == "<script>?\u202e\0"


def test_documents_are_gathered_when_no_other_build_writes(tmp_path):
    """A build that gathered before another one must not write older facts after it."""
    folder = tmp_path / "site"
    build(folder, index="a")

    def gather(is_whole):
        with lock_if_free(folder / ".catalog.lock") as holder:
            assert holder, "the folder is not locked"
        return MESH

    site.build(gather, folder, [making(index="b")])
    assert shown(folder) == {"index.html": "<p>b</p>"}


@pytest.mark.parametrize("view", [{"environment": "pr7"}, {"consumer": "sales"}])
def test_a_folder_with_the_site_of_another_view_is_refused(tmp_path, view):
    build(tmp_path, index="a")
    with pytest.raises(UsageError, match=r"has the catalog of production for everyone.*-o FOLDER"):
        site.build(replace(MESH, **view), tmp_path, [making(index="b")])
    assert shown(tmp_path) == {"index.html": "<p>a</p>"}
    site.build(replace(MESH, **view), tmp_path / "other", [making(index="b")])
