"""A catalog service for tests: Nessie, with the Java of a Python wheel and moto as its store."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from meshhouse.java import fetch_jars, find_java
from tests.support.object_store import Store

_JAR = (
    "org.projectnessie.nessie:nessie-quarkus:0.99.0:runner "
    "ce9fa33e2878bf5ea3981876b9e6204cabc0362b3dd82326b10e47271a78c417"
)
_LISTENS = "Listening on: "
_S3 = "nessie.catalog.service.s3.default-options"


@dataclass(frozen=True)
class Nessie:
    """A running service."""

    url: str
    store: Store
    output: list[str] = field(repr=False)

    @property
    def uri(self) -> str:
        """Address of its Iceberg REST protocol."""
        return f"{self.url}/iceberg/"

    def commits(self) -> list[set[str]]:
        """Names of the tables that each transaction changed, newest first."""
        address = f"{self.url}/api/v2/trees/main/history?fetch=ALL"
        with urllib.request.urlopen(address) as answer:
            entries = json.load(answer)["logEntries"]
        return [
            {".".join(each["key"]["elements"]) for each in entry.get("operations") or ()}
            for entry in entries
        ]


@contextmanager
def running_nessie(store: Store) -> Iterator[Nessie]:
    """Starts the service with tables in a new bucket; its catalog is lost when it ends."""
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    [jar] = fetch_jars("nessie-0.99.0", _JAR, "`pip install jgo`")
    java = find_java("Nessie", range(21, 99), "Java 21 or newer", "", bundled=True)
    options = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": "0",
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": "0",
        "nessie.version.store.type": "IN_MEMORY",
        "nessie.catalog.default-warehouse": "mesh",
        "nessie.catalog.warehouses.mesh.location": f"s3://{store.bucket()}/warehouse",
        f"{_S3}.endpoint": store.url,
        f"{_S3}.region": "us-east-1",
        f"{_S3}.path-style-access": "true",
        f"{_S3}.access-key": "urn:nessie-secret:quarkus:mesh-store",
        "mesh-store.name": "nessie",
        "mesh-store.secret": "nessie",
    }
    process = subprocess.Popen(
        [str(java), "-Xmx400m", *(f"-D{name}={value}" for name, value in options.items()),
         "-jar", str(jar)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield _started(process, store)
    finally:
        process.terminate()
        process.wait()


def _started(process: subprocess.Popen[str], store: Store) -> Nessie:
    output: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        output.append(line)
        if _LISTENS in line:
            url = line.partition(_LISTENS)[2].split()[0].rstrip(".")
            # A full pipe would block the service, so a thread reads the rest.
            threading.Thread(target=output.extend, args=(process.stdout,), daemon=True).start()
            return Nessie(url, store, output)
    raise RuntimeError("Nessie did not start: " + "".join(output[:5]))
