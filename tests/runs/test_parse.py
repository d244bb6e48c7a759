"""Many domains are parsed at once; what they become is what parsing one by one gives."""

from __future__ import annotations

import json

import pytest

from benchmarks.generated import mesh_of
from meshhouse.dbt import DbtFailed
from meshhouse.repository import Repository
from meshhouse.repository.code import Code
from meshhouse.repository.manifest import Manifest
from meshhouse.repository.manifest_file import is_fresh, manifest_path
from meshhouse.runs.parse import fresh_manifest, parse_domains


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    """Five domains, of which one refuses to be parsed; parsed two at once."""
    repository = mesh_of(tmp_path_factory.mktemp("many") / "mesh", 5, 2)
    broken = repository.domain("d003").path / "models" / "p0.sql"
    broken.write_text("{{ exceptions.raise_compiler_error('nothing to select') }}\n")
    parse_domains(repository, repository.domains, jobs=2)
    return Repository(repository.root)


def test_every_domain_is_parsed_except_the_one_that_cannot_be(repository) -> None:
    fresh = {each.name for each in repository.domains if is_fresh(repository, each)}
    assert fresh == {"d000", "d001", "d002", "d004", "mesh"}


def test_a_domain_that_does_not_parse_says_where(repository) -> None:
    with pytest.raises(DbtFailed, match=r"d003: .*models/p0.sql:1: .*nothing"):
        fresh_manifest(repository, repository.domain("d003"))


def test_what_is_left_out_of_a_manifest_decides_no_code_version(repository) -> None:
    domain = repository.domain("d001")
    manifest = Manifest(repository, domain)
    whole = json.loads(manifest_path(repository, "d001").read_bytes())
    others = set(repository.domain_names) - {"d001"}
    code = Code(whole, repository.root, domain.path, others)
    for product in domain.products:
        nodes = manifest.ancestors(product)
        assert manifest.code_of_rows(product) == code.of_rows(nodes)
        assert manifest.unprovable(product) == code.unprovable(nodes)
    read = manifest.path.with_name("meshhouse.manifest.json")
    assert read.stat().st_size * 4 < manifest.path.stat().st_size


def test_domains_of_one_process_have_their_own_macros_under_the_same_name(tmp_path) -> None:
    repository = mesh_of(tmp_path / "mesh", 5, 1)
    texts = {"d000": "{{ shared() }}", "d001": "1", "d002": "{{ other() }}"}
    for name, text in texts.items():
        macros = repository.domain(name).path / "macros"
        macros.mkdir()
        (macros / "shared.sql").write_text(f"{{% macro named() %}}{text}{{% endmacro %}}\n")
        (macros / "shared2.sql").write_text("{% macro shared() %}2{% endmacro %}\n")
        (macros / "other.sql").write_text("{% macro other() %}3{% endmacro %}\n")
    parse_domains(repository, repository.domains, jobs=2)
    for name in texts:
        together = _decided(repository, name)
        manifest_path(repository, name).unlink()
        fresh_manifest(repository, repository.domain(name))
        alone = _decided(repository, name)
        assert together == alone
        assert alone["macros"][f"macro.{name}.named"]["macro_sql"].count(texts[name])
    assert alone["macros"]["macro.d002.named"]["depends_on"] == {"macros": ["macro.d002.other"]}


def _decided(repository: Repository, domain: str) -> dict:
    """A manifest without its times."""
    whole = json.loads(manifest_path(repository, domain).read_bytes())
    times = {"created_at", "generated_at"}

    def without(part):
        if isinstance(part, dict):
            return {key: without(each) for key, each in part.items() if key not in times}
        return [without(each) for each in part] if isinstance(part, list) else part

    return without({name: whole[name] for name in ("nodes", "macros", "groups", "child_map")})
