"""A Kinesis data stream: its shards and their records.

Belongs here: the four calls to Kinesis, patience when it throttles, and messages of one line. Not
here: the order of shards (shards.py), or what was sent (kept_shards.py).

Calls follow AWS's API reference of 2013-12-02: at most five calls for records a second and shard,
answers without records although more follow, iterators that live five minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshhouse import aws
from meshhouse.errors import MeshError, UsageError
from meshhouse.extraction.run import StoppedError
from meshhouse.extras import installs
from meshhouse.repository.model import SourceStream

_ATTEMPTS = 3
"""How often boto3 tries a call; it waits longer after each."""
_PAUSES = (1, 2, 4, 8)
"""Seconds between attempts while Kinesis throttles; after an answer of 10 MiB it does for 5."""
_PATIENCE = 300
"""Seconds after which throttling is an error."""
_BETWEEN_CALLS = 0.2
"""Seconds between two calls for records of one shard."""
_THROTTLED = {
    "KMSThrottlingException", "LimitExceededException", "ProvisionedThroughputExceededException",
    "Throttling", "ThrottlingException", "RequestLimitExceeded",
}  # fmt: skip
_REFUSALS = {
    "AccessDeniedException", "AccessDenied", "ExpiredTokenException", "IncompleteSignature",
    "InvalidClientTokenId", "InvalidSignatureException",
    "MissingAuthenticationTokenException", "UnrecognizedClientException",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What identifies a stream, and how long it keeps records."""

    arn: str
    created: float
    """Seconds since 1970; another stream of the same name has another time."""
    retention: float
    """Seconds."""


@dataclass(frozen=True)
class Shard:
    """One shard, as it is listed."""

    name: str
    parents: tuple[str, ...]
    """The shards that were split or merged into it, whether they are listed or not."""
    is_closed: bool
    """Whether it gets no further records."""


@dataclass(frozen=True)
class Record:
    """One record of a shard."""

    shard: str
    sequence: str
    """A number of up to 129 digits; those of one shard grow."""
    key: str | None
    """None if the producer left it to the stream to choose a shard."""
    value: bytes
    arrived: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Answer:
    """The answer to one call for records."""

    records: tuple[Record, ...]
    following: str | None
    """The next iterator; None at the end of a closed shard."""
    behind: float
    """Seconds between the end of the answer and the newest record; 0 at the newest."""


class UnknownSequenceError(Exception):
    """Kinesis cannot begin at a sequence number."""


class ExpiredIteratorError(Exception):
    """An iterator is older than five minutes."""


class Stream:
    """One stream. All methods raise `StoppedError` if the run is stopped while they wait."""

    def __init__(self, source: SourceStream, stopped: Callable[[], bool]) -> None:
        """Connects with AWS's usual credentials.

        Raises:
            UsageError: boto3, the region or credentials are missing.
        """
        self._source = source
        self._stopped = stopped
        self._called: dict[str, float] = {}
        boto, region = aws.session(
            "Kinesis needs a package that is not installed, boto3: run "
            f'{installs("kinesis")}, or `pip install "meshhouse[kinesis]"`.'
        )
        from botocore.config import Config  # an extra

        if not (region := source.region or region):
            raise UsageError(
                f"The region of stream `{source.name}` is not known: add `region` beside "
                "`kinesis`, or set AWS_REGION."
            )
        self._where = f"stream `{source.name}` in {region}"
        config = Config(connect_timeout=aws.SECONDS, retries={"total_max_attempts": _ATTEMPTS})
        with aws.usable_settings():
            aws.credentials(boto, "Kinesis")
            self._client = boto.client("kinesis", region_name=region, config=config)

    def facts(self) -> Facts:
        """The stream as it is now.

        Raises:
            UsageError: there is no such stream, or it is not ready.
            MeshError: Kinesis refuses.
        """
        found = self._ask("describe_stream_summary", StreamName=self._source.name)
        found = found["StreamDescriptionSummary"]
        if found["StreamStatus"] in ("CREATING", "DELETING"):
            doing = {"CREATING": "created", "DELETING": "deleted"}[found["StreamStatus"]]
            raise UsageError(f"The {self._where} is being {doing}. Wait until that ends.")
        return Facts(
            found["StreamARN"],
            found["StreamCreationTimestamp"].timestamp(),
            found["RetentionPeriodHours"] * 3600,
        )

    def shards(self) -> dict[str, Shard]:
        """Name -> shard, of all shards that may still hold records.

        Raises:
            MeshError: Kinesis refuses.
        """
        found: dict[str, Shard] = {}
        asked = {"StreamName": self._source.name}
        while True:
            answer = self._ask("list_shards", **asked)
            for each in answer["Shards"]:
                parents = each.get("ParentShardId"), each.get("AdjacentParentShardId")
                is_closed = each["SequenceNumberRange"].get("EndingSequenceNumber") is not None
                name = each["ShardId"]
                found[name] = Shard(name, tuple(filter(None, parents)), is_closed)
            if not answer.get("NextToken"):
                return found
            asked = {"NextToken": answer["NextToken"]}

    def iterator(self, shard: str, after: str | None) -> str:
        """Where to read a shard: after a sequence number, or at its oldest record.

        Raises:
            UnknownSequenceError: Kinesis cannot begin there.
            MeshError: Kinesis refuses.
        """
        place = {"ShardIteratorType": "TRIM_HORIZON"}
        if after is not None:
            place = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after
            }  # fmt: skip
        asked = {"StreamName": self._source.name, "ShardId": shard, **place}
        return self._ask("get_shard_iterator", **asked)["ShardIterator"]

    def records(self, shard: str, iterator: str) -> Answer:
        """The next records of a shard.

        Raises:
            ExpiredIteratorError: get another iterator.
            MeshError: Kinesis refuses.
        """
        self._wait(self._called.get(shard, 0.0) + _BETWEEN_CALLS - time.monotonic())
        answer = self._ask("get_records", ShardIterator=iterator)
        self._called[shard] = time.monotonic()
        records = tuple(_record(shard, each) for each in answer["Records"])
        behind = answer.get("MillisBehindLatest") or 0
        return Answer(records, answer.get("NextShardIterator") or None, behind / 1000)

    def _ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # an extra

        waited, pauses = 0.0, iter(_PAUSES)
        while True:
            try:
                return getattr(self._client, call)(**arguments)
            except ClientError as error:
                code = error.response["Error"].get("Code", "")
                if code not in _THROTTLED or waited >= _PATIENCE:
                    raise self._refused(code, call) from error
            except BotoCoreError as error:
                raise MeshError(
                    f"Kinesis does not answer at {self._where} ({type(error).__name__}). Check the "
                    "region, the network and AWS_ENDPOINT_URL; then run the same command again."
                ) from error
            pause = next(pauses, _PAUSES[-1])
            self._wait(pause)
            waited += pause

    def _refused(self, code: str, call: str) -> Exception:
        action = "kinesis:" + "".join(each.capitalize() for each in call.split("_"))
        if code.startswith("KMS"):
            action = "kms:Decrypt"
        if code == "ExpiredIteratorException":
            return ExpiredIteratorError()
        if code == "InvalidArgumentException" and call == "get_shard_iterator":
            return UnknownSequenceError()
        if code == "ResourceNotFoundException" and call == "describe_stream_summary":
            return UsageError(
                f"There is no {self._where} for these credentials. Correct `kinesis` and `region`, "
                "or create the stream."
            )
        if code.startswith("KMS") and code not in _THROTTLED:
            return MeshError(
                f"The key of {self._where} cannot be used ({code}). Enable it, or allow "
                "kms:Decrypt."
            )
        if code in _REFUSALS:
            return MeshError(
                f"Kinesis refuses access to {self._where} ({code}). Check your AWS credentials; "
                f"they need {action}."
            )
        if code in _THROTTLED:
            return MeshError(
                f"Kinesis throttled {action} of {self._where} for {_PATIENCE} s ({code}). Read it "
                "with fewer consumers, or give it more shards; then run the same command again."
            )
        return MeshError(
            f"Kinesis failed at {self._where}: {action} gave {code}. Run the same command again."
        )

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped():
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))
        raise StoppedError


def _record(shard: str, found: dict[str, Any]) -> Record:
    arrived = found.get("ApproximateArrivalTimestamp")
    return Record(
        shard,
        found["SequenceNumber"],
        found.get("PartitionKey"),
        found["Data"],
        arrived.timestamp() if arrived else time.time(),
    )
