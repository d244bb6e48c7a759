"""Traces: the way of each product column from topic fields, across the domains of a mesh.

Belongs here: joining the steps of all contracts. Not here: the steps of one contract
(contract_steps.py), where values go (arrivals.py), or pages.

Nothing is read before a page asks for a trace, because that takes 10 ms for each contract.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meshhouse.catalog.arrivals import split
from meshhouse.catalog.contract_steps import FORMAT, StepFiles, steps_of_contract
from meshhouse.catalog.documents import Step
from meshhouse.governance.contract import Contract
from meshhouse.governance.lineage.steps import COUNTED, NOT_KNOWN, SAME
from meshhouse.repository.columns import LANDING_COLUMNS

_REMEMBERED = 500
"""Contracts whose steps stay in memory: 1 MB each for the largest."""
MOST_STEPS = 400
"""Of one trace. What is before these is on the pages of the products on the way."""


@dataclass(frozen=True)
class _Known:
    """A contract of the mesh, with what its SQL reads."""

    contract: Contract
    names: tuple[str, ...]
    """Every name under which other domains read it, in lower case."""
    schemas: Mapping[str, Sequence[str]]


class Traces(Mapping[str, tuple[Step, ...]]):
    """The traces of all product columns of a mesh, each found when it is asked for."""

    def __init__(
        self,
        contracts: Iterable[Contract],
        cache: Path | None = None,
        hashes: Mapping[str, str] | None = None,
    ) -> None:
        """Takes the current contract of each product.

        Args:
            contracts: of all domains.
            cache: a folder for what was found; None to remember nothing.
            hashes: relation -> the hash of its contract, where it is known. Computing those of
                5,000 contracts takes a second.
        """
        self._contracts = {each.relation.lower(): each for each in contracts}
        self._by_name = _by_name(self._contracts)
        self._hashes = {name.lower(): each for name, each in (hashes or {}).items() if each}
        self._files = StepFiles(cache)
        self._steps: OrderedDict[str, Mapping[str, Step]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(each.columns) for each in self._contracts.values())

    def __iter__(self) -> Iterator[str]:
        for relation, contract in self._contracts.items():
            for column in contract.columns:
                yield f"{relation}.{column.lower()}"

    def __contains__(self, key: object) -> bool:
        relation, column = split(str(key).lower())
        contract = self._contracts.get(relation)
        return contract is not None and column in {each.lower() for each in contract.columns}

    def __getitem__(self, key: str) -> tuple[Step, ...]:
        """The steps of a column, the column itself last.

        Raises:
            KeyError: the mesh has no such column.
        """
        if key not in self:
            raise KeyError(key)
        relation, _ = split(key.lower())
        return self._trace(self._contracts[relation], key.lower())

    def digests(self) -> dict[str, str]:
        """Relation of a product -> a digest of everything that decides its traces."""
        reads = {
            relation: {
                found.relation.lower()
                for read in contract.get("reads", ())
                if (found := self._by_name.get(str(read["relation"]).lower())) is not None
            }
            for relation, contract in self._contracts.items()
        }
        names = sorted(self._contracts)
        siblings = {
            domain: ",".join(each for each in names if each.startswith(f"{domain}."))
            for domain in {each.partition(".")[0] for each in names}
        }
        return {relation: self._digest(relation, reads, siblings) for relation in names}

    def _digest(
        self, relation: str, reads: Mapping[str, set[str]], siblings: Mapping[str, str]
    ) -> str:
        behind = [relation]
        for each in behind:  # grows
            behind += sorted(reads[each] - {*behind})
        texts = [f"{each} {self._hash(each)}" for each in sorted(behind)]
        texts += sorted({siblings[each.partition(".")[0]] for each in behind})
        return hashlib.sha256("\n".join([str(FORMAT), *texts]).encode()).hexdigest()

    def _hash(self, relation: str) -> str:
        return self._hashes.get(relation) or self._contracts[relation].hash

    def _trace(self, contract: Contract, at: str) -> tuple[Step, ...]:
        """Steps in an order in which each follows its inputs."""
        done: dict[str, Step] = {}
        open_: set[str] = set()
        waiting: list[tuple[Contract | None, str, bool]] = [(contract, at, False)]
        while waiting:
            within, key, is_ready = waiting.pop()
            if key in done:
                continue
            step, within = self._step(within, key)
            before = (*step.inputs, *step.filters)
            if is_ready or not before or len(done) + len(open_) >= MOST_STEPS:
                done[key] = step
                continue
            open_.add(key)
            waiting.append((within, key, True))
            new = [each for each in before if each not in done and each not in open_]
            waiting += [(within, each, False) for each in reversed(new)]
        return tuple(done.values())

    def _step(self, within: Contract | None, at: str) -> tuple[Step, Contract | None]:
        """The step of a column, and the contract in which its inputs are found."""
        relation, column = split(at)
        if within is not None:
            steps = self._of(within)
            found = steps.get(at) or steps.get(f"{relation}.{column.partition('.')[0]}")
            if found is not None:
                return found if found.at == at else replace(found, at=at), within
        other = self._by_name.get(relation)
        if other is not None and other is not within:
            named = other.relation.lower()
            steps = self._of(other)
            first = column.partition(".")[0]
            found = steps.get(f"{named}.{first}" if first else named)
            if found is not None:
                return found if found.at == at else replace(found, at=at), other
        kind = self._kind(relation, within)
        # Of a snapshot and a model in Python, a contract has no SQL.
        is_lost = column in {"?", "*"} or not relation or kind == "model"
        how = NOT_KNOWN if is_lost else SAME if column else COUNTED
        return Step(at, kind, how, ""), None

    def _joined(self, step: Step, steps: Mapping[str, Step]) -> Step:
        """The step as the mesh sees it.

        Inputs have the relation of their product, whatever name the SQL uses, and a model that is
        published is a product.
        """

        def named(at: str) -> str:
            relation, column = split(at)
            other = self._by_name.get(relation) if at not in steps else None
            return ".".join(filter(None, (other.relation.lower(), column))) if other else at

        inputs, filters = tuple(map(named, step.inputs)), tuple(map(named, step.filters))
        kind = "product" if split(step.at)[0] in self._contracts else step.kind
        return Step(step.at, kind, step.how, step.sql, inputs, filters)

    def _kind(self, relation: str, within: Contract | None) -> str:
        if relation in self._by_name:
            return "product"
        topics = within.get("topics", {}).values() if within is not None else ()
        if any(str(each["raw_table"]).lower() == relation for each in topics):
            return "topic"
        schema, _, table = relation.partition(".")
        if schema.endswith("_raw"):
            return "topic"
        seeds = within.get("seeds", {}) if within is not None else {}
        return "seed" if table in {str(each).lower() for each in seeds} else "model"

    def _of(self, contract: Contract) -> Mapping[str, Step]:
        """The steps of one contract, from memory, the cache or its SQL."""
        relation = contract.relation.lower()
        if relation in self._steps:
            self._steps.move_to_end(relation)
            return self._steps[relation]
        schemas = self._schemas(contract)
        text = json.dumps([FORMAT, self._hash(relation), schemas], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        found = self._files.read(key)
        if found is None:
            found = steps_of_contract(contract, schemas)
            self._files.write(key, found)
        found = {at: self._joined(each, found) for at, each in found.items()}
        self._steps[relation] = found
        if len(self._steps) > _REMEMBERED:
            self._steps.popitem(last=False)
        return found

    def _schemas(self, contract: Contract) -> dict[str, list[str]]:
        """The columns of everything that the SQL of a contract may read from outside."""
        found: dict[str, list[str]] = {}
        for topic in contract.get("topics", {}).values():
            names = [str(each).lower() for each in topic.get("fields", {})]
            found[str(topic["raw_table"]).lower()] = [*names, *sorted(LANDING_COLUMNS)]
        for read in contract.get("reads", ()):
            other = self._by_name.get(str(read["relation"]).lower())
            if other is not None:
                columns = [each.lower() for each in other.columns]
                found |= dict.fromkeys(_names(other), columns)
        return found


def _by_name(contracts: Mapping[str, Contract]) -> dict[str, Contract]:
    found = dict(contracts)
    for contract in contracts.values():
        for name in _names(contract):
            found.setdefault(name, contract)
    return found


def _names(contract: Contract) -> list[str]:
    """Every name under which other domains read a product."""
    names = [contract.relation, *contract.get("aliases", ())]
    if contract.version == int(contract.get("latest_version", contract.version)):
        names.append(contract.product)
    return list(dict.fromkeys(str(each).lower() for each in names))
