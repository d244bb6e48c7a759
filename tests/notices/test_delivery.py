"""Messages reach a real HTTP server and a real mail server: in order, signed, none lost."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from socket import create_server
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshhouse.errors import MeshError
from meshhouse.notices.causes import Cause, causes, compared
from meshhouse.notices.channels import Channel, Channels, is_address
from meshhouse.notices.deliver import MOST, addressed, deliver, digest, send, wait
from meshhouse.notices.facts import FailureFact, JobFailure, Situation
from meshhouse.notices.message import CLOSED, NOTICE, OPEN, Message
from meshhouse.notices.outbox import Outbox
from meshhouse.notices.refusal import Refused
from meshhouse.notices.secrets import without_secrets
from meshhouse.notices.webhook import slack_escaped, slack_text
from tests.support.receivers import Receiver, hook_server, mail_server, slow_server

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
HOSTILE = "<!channel> <https://evil.example|pay> @all & *x* \r\nBcc: a@b.example\x1b[31m\u202e"


def message(number: int = 1, state: str = OPEN, **others) -> Message:
    return Message(f"late:{number}", state, "late", "shop", f"product {number} is late", **others)


def channels(*found: Channel) -> Channels:
    return Channels({each.name: each for each in found})


def webhook(port: int, path: str = "/hook", **others) -> Channel:
    return Channel("webhook", "webhook", "MESH_ALERT_WEBHOOK", f"http://127.0.0.1:{port}{path}",
                   **others)  # fmt: skip


@pytest.fixture
def outbox(tmp_path) -> Outbox:
    return Outbox(tmp_path / "notices" / "outbox.sqlite")


def queue(outbox: Outbox, *messages: Message, channel: str = "webhook", now=NOW) -> None:
    since = now - timedelta(minutes=1)
    ones = addressed(
        messages, lambda _: [channel], lambda name: outbox.recent(name, since, now), now
    )
    outbox.decide([], [], ones, {}, now)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with hook_server() as receiver:
        yield receiver


@pytest.fixture
def post(monkeypatch) -> Iterator[Receiver]:
    with mail_server() as receiver:
        monkeypatch.setenv("MESH_SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("MESH_SMTP_PORT", str(receiver.port))
        monkeypatch.setenv("MESH_SMTP_SECURITY", "none")
        monkeypatch.setenv("MESH_ALERT_EMAIL_FROM", "Mesh <mesh@mesh.example>")
        yield receiver


EMAIL = Channel("email", "email", "MESH_ALERT_EMAIL_TO", "team@mesh.example, boss@mesh.example")


def test_a_message_is_sent_once(outbox, hook):
    queue(outbox, message())
    for _ in range(3):
        deliver(outbox, channels(webhook(hook.port)), NOW)
    [request] = hook.posted
    assert request.json["key"] == "late:1"
    assert (request.json["state"], request.json["kind"]) == ("open", "late")
    queue(outbox, message())  # the same decision again
    assert outbox.waiting() == []


def test_a_server_that_was_down_gets_everything_in_order_when_it_is_up(outbox):
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    queue(outbox, message(1), message(2))
    queue(outbox, message(1, CLOSED))
    down = deliver(outbox, channels(webhook(port)), NOW)
    assert down.problems == ["MESH_ALERT_WEBHOOK: Connection refused."]  # asked once
    assert (down.sent, down.waiting) == (0, 3)
    with hook_server(port) as hook:
        soon = deliver(outbox, channels(webhook(port)), NOW + timedelta(seconds=20))
        # The first one waits 30 s, and what is about the same cause waits with it.
        assert [each.json["key"] for each in hook.posted] == ["late:2"]
        assert soon.waiting == 2
        deliver(outbox, channels(webhook(port)), NOW + timedelta(seconds=31))
        assert [(each.json["key"], each.json["state"]) for each in hook.posted] == [
            ("late:2", "open"), ("late:1", "open"), ("late:1", "closed"),
        ]  # fmt: skip
    assert outbox.waiting() == []


def test_waits_grow_and_end_at_an_hour():
    assert [wait(each).total_seconds() for each in (0, 1, 2)] == [30, 60, 120]
    assert wait(7) == wait(10_000) == timedelta(hours=1)


def test_a_message_that_is_refused_stops_no_other_one(outbox, post):
    post.refused = {"gone@mesh.example"}
    gone = replace(EMAIL, name="email:shop:shop", address="gone@mesh.example")
    queue(outbox, message(1), channel="email:shop:shop")
    queue(outbox, message(2), channel="email")
    done = deliver(outbox, channels(EMAIL, gone), NOW)
    assert done.problems == [
        "MESH_ALERT_EMAIL_TO: SMTP 550 for every address. To give up: `mesh notices drop "
        f"{message(1).identity}`."
    ]
    assert [each["Subject"] for each in post.mailed] == ["Mesh: product 2 is late"]


def test_an_address_that_is_refused_is_reported_though_others_got_the_message(outbox, post):
    post.refused = {"boss@mesh.example"}
    queue(outbox, message(), channel="email")
    done = deliver(outbox, channels(EMAIL), NOW)
    assert done.sent == 1
    assert done.problems == ["MESH_ALERT_EMAIL_TO: 1 of 2 addresses were refused."]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
def test_only_success_counts_as_sent(outbox, hook, status):
    hook.answers["/token-of-the-hook"] = status
    queue(outbox, message())
    done = deliver(outbox, channels(webhook(hook.port, "/token-of-the-hook")), NOW)
    [problem] = done.problems
    assert problem.startswith(f"MESH_ALERT_WEBHOOK: HTTP {status}.")
    assert ("mesh notices drop" in problem) == (status < 429)
    assert "token-of-the-hook" not in str(outbox.waiting())
    assert hook.pinged == []  # a redirect is not followed by GET
    hook.answers.clear()
    assert deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(minutes=1)).sent == 1


def test_a_channel_whose_setting_is_gone_keeps_its_messages(outbox, hook):
    queue(outbox, message())
    done = deliver(outbox, channels(), NOW)
    assert done.problems == [
        "Messages wait for webhook, which is not set any more. To give up: `mesh notices drop "
        "webhook`."
    ]
    assert deliver(outbox, channels(webhook(hook.port)), NOW).sent == 1


def test_a_storm_becomes_one_digest_that_has_everything(outbox, hook):
    queue(outbox, *map(message, range(MOST)))
    queue(outbox, *map(message, range(MOST, MOST + 30)), now=NOW + timedelta(seconds=30))
    later = NOW + timedelta(minutes=2)
    queue(outbox, message(100), now=later)
    deliver(outbox, channels(webhook(hook.port)), later)
    bodies = [each.json for each in hook.posted]
    assert len(bodies) == MOST + 2
    storm = bodies[MOST]
    assert (storm["state"], storm["title"]) == ("digest", "30 notices at once: 30 late open")
    assert "product 49 is late" in storm["text"]
    assert {each["key"] for each in storm["facts"]["messages"]} == {
        f"late:{number}" for number in range(MOST, MOST + 30)
    }
    # The receivers of a digest hear when its causes are over.
    assert outbox.told("late:49") == []  # there was no cause to remember
    ones = addressed([message(1), message(2)], lambda _: ["webhook"], lambda _: MOST, NOW)
    assert ones[0].about == ("late:1", "late:2")


def test_a_closing_message_waits_for_the_digest_that_has_its_opening_one(outbox, hook):
    hook.answers["/hook"] = 503
    queue(outbox, *map(message, range(MOST + 1)))
    deliver(outbox, channels(webhook(hook.port)), NOW)
    hook.answers.clear()
    hook.posted.clear()
    queue(outbox, message(3, CLOSED), message(99))
    for seconds in (20, 31):  # the digest is due after 30
        deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(seconds=seconds))
    assert [each.json["state"] for each in hook.posted] == ["open", "digest", "closed"]


def test_a_digest_waits_for_the_opening_messages_of_what_it_closes(outbox, hook):
    hook.answers["/hook"] = 503
    queue(outbox, message(3))
    deliver(outbox, channels(webhook(hook.port)), NOW)
    hook.answers.clear()
    hook.posted.clear()
    queue(outbox, *(message(each, CLOSED) for each in range(MOST + 1)))
    for seconds in (20, 31):
        deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(seconds=seconds))
    assert [each.json["state"] for each in hook.posted] == ["open", "digest"]


def test_a_clock_that_was_ahead_holds_nothing_back(outbox, hook):
    ahead = NOW + timedelta(days=365)
    hook.answers["/hook"] = 503
    queue(outbox, *(message(each) for each in range(MOST)), now=ahead)
    assert not deliver(outbox, channels(webhook(hook.port)), ahead).is_overdue
    assert deliver(outbox, channels(webhook(hook.port)), NOW).is_overdue
    hook.answers.clear()
    hook.posted.clear()
    queue(outbox, message(98), message(99))  # those of the future do not make it a storm
    deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(minutes=2))
    assert len(hook.posted) == MOST + 2
    assert {each.json["state"] for each in hook.posted} == {"open"}


def test_a_digest_that_is_too_large_arrives_as_parts_of_it(outbox, hook, monkeypatch):
    def answer() -> None:
        ones = hook.posted[-1].json["facts"].get("messages", ())
        hook.answers["/hook"] = 413 if len(ones) > 2 else 200

    hook.before_answer = answer
    queue(outbox, *map(message, range(MOST + 1)))
    done = deliver(outbox, channels(webhook(hook.port)), NOW)
    assert (done.sent, done.waiting, done.problems) == (1, 0, [])
    parts = [each.json["facts"].get("messages") or [each.json] for each in hook.posted]
    keys = [each["key"] for part in parts for each in part if len(part) <= 2]
    assert sorted(keys) == sorted(f"late:{number}" for number in range(MOST + 1))
    identities = [each.json["id"] for each in hook.posted]
    assert len(set(identities)) == len(identities)


def test_what_is_refused_for_good_can_be_dropped(outbox, hook):
    hook.answers["/hook"] = 413
    queue(outbox, message(1), message(2))
    later = NOW + timedelta(days=1)
    assert deliver(outbox, channels(webhook(hook.port)), later).is_overdue
    [dropped] = outbox.drop(message(1).identity)
    assert (dropped.title, [each.key for each in outbox.waiting()]) == (
        "product 1 is late", ["late:2"],
    )  # fmt: skip
    assert len(outbox.drop("webhook")) == 1
    assert outbox.drop("webhook") == []
    assert not deliver(outbox, channels(webhook(hook.port)), later).is_overdue


def test_who_did_not_hear_of_a_begin_does_not_hear_of_the_end(outbox):
    cause = Cause("late", "shop.orders", NOW, "shop", "shop.orders is late")
    ones = addressed([cause.opening()], lambda _: ["webhook", "slack"], lambda _: 0, NOW)
    outbox.decide([cause], [], ones, {}, NOW)
    outbox.drop("webhook")
    assert outbox.told(cause.key) == ["slack"]


def test_a_message_whose_sending_cannot_be_stored_is_not_sent_at_each_look(
    outbox, hook, monkeypatch
):
    def full(*_: object) -> None:
        raise MeshError("The disk is full.")

    queue(outbox, message())
    with monkeypatch.context() as disk:
        disk.setattr(outbox, "mark_sent", full)
        with pytest.raises(MeshError):
            deliver(outbox, channels(webhook(hook.port)), NOW)
    deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(seconds=20))
    assert len(hook.posted) == 1
    with monkeypatch.context() as disk:
        disk.setattr(outbox, "attempt", full)
        with pytest.raises(MeshError):
            deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(seconds=40))
    assert len(hook.posted) == 1
    deliver(outbox, channels(webhook(hook.port)), NOW + timedelta(seconds=40))
    assert [each.body for each in hook.posted] == [hook.posted[0].body] * 2


@pytest.mark.parametrize("channel", [webhook(0), EMAIL])
def test_a_receiver_that_answers_byte_by_byte_is_given_up(channel, outbox, monkeypatch):
    monkeypatch.setattr("meshhouse.notices.deadline.SECONDS", 0.3)
    with slow_server(b"220-" if channel.kind == "email" else b"HTTP/1.1 200 OK\r\nX: ") as port:
        monkeypatch.setenv("MESH_SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("MESH_SMTP_PORT", str(port))
        monkeypatch.setenv("MESH_SMTP_SECURITY", "none")
        monkeypatch.setenv("MESH_ALERT_EMAIL_FROM", "mesh@mesh.example")
        if channel.kind == "webhook":
            channel = webhook(port)
        with pytest.raises(Refused, match=r"no complete answer within 0\.3 s"):
            send(channel, "msg_1", message().body(NOW))


def test_five_lines_of_python_verify_a_signature_and_no_changed_byte_passes(outbox, hook):
    queue(outbox, message())
    deliver(outbox, channels(webhook(hook.port, secret=f"whsec_{SECRET}")), NOW)
    [request] = hook.posted
    headers = request.headers

    def verify(headers: dict, body: bytes) -> bool:
        key = base64.b64decode(SECRET)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        return hmac.compare_digest(b"v1," + expected, headers["webhook-signature"].encode())

    assert headers["webhook-id"] == request.json["id"]
    assert verify(headers, request.body)
    for at in range(len(request.body)):
        changed = bytearray(request.body)
        changed[at] ^= 1
        assert not verify(headers, bytes(changed))
    assert not verify({**headers, "webhook-timestamp": "1"}, request.body)
    assert not verify({**headers, "webhook-id": "msg_0"}, request.body)


@pytest.mark.parametrize("secret", ["short", "c2hvcnQ=", "not base64 at all, and long enough"])
def test_a_secret_that_is_not_a_key_sends_nothing(outbox, hook, secret):
    queue(outbox, message())
    done = deliver(outbox, channels(webhook(hook.port, secret=secret)), NOW)
    assert "openssl rand -base64" in done.problems[0]
    assert secret not in done.problems[0]
    assert hook.posted == []


def test_hostile_text_is_only_text_in_slack_and_in_mail(outbox, hook, post):
    hostile = Message(f"late:{HOSTILE}", NOTICE, HOSTILE, "shop", HOSTILE, (HOSTILE,))
    slack = Channel("slack", "slack", "MESH_ALERT_SLACK", f"http://127.0.0.1:{hook.port}/slack")
    for name in ("slack", "email"):
        queue(outbox, hostile, channel=name)
    assert deliver(outbox, channels(slack, EMAIL), NOW).sent == 2
    [request] = hook.posted
    text = request.json["text"]
    assert "<" not in text
    assert "&lt;!channel&gt;" in text
    assert "@all" not in text
    assert text.count("\n") == 1
    [raw], [mail] = post.raw, post.mailed
    assert "\nBcc:" not in raw.partition("\r\n\r\n")[0]
    assert mail["To"] == "team@mesh.example, boss@mesh.example"
    assert "\x1b" not in mail.get_content()
    assert "\u202e" not in mail["Subject"]


@pytest.mark.parametrize(
    "text",
    ["@all", "-@channel", ".@all", "+@here", "_@all_", "*@all*", "(@all)", "a @all", "@@all"],
)
def test_a_mention_after_any_sign_is_broken(text):
    escaped = slack_escaped(text)
    assert all(each.startswith("\u200b") for each in escaped.split("@")[1:])
    assert slack_escaped("ann.lee@mesh.example") == "ann.lee@mesh.example"


def test_slack_shows_names_as_they_are_and_loads_nothing(outbox, hook):
    slack = Channel("slack", "slack", "MESH_ALERT_SLACK", f"http://127.0.0.1:{hook.port}/slack")
    said = "*All is well* ![](https://evil.example/x.png)"
    queue(outbox, Message("k", OPEN, "late", "shop", said, link="https://mesh.example/a?b"),
          channel="slack")  # fmt: skip
    deliver(outbox, channels(slack), NOW)
    sent = hook.posted[0].json
    assert (sent["mrkdwn"], sent["unfurl_links"], sent["unfurl_media"]) == (False, False, False)
    assert "](" not in sent["text"]
    assert sent["text"].endswith("\nhttps://mesh.example/a?b")


@given(st.text())
def test_no_text_is_a_mention_or_a_link_in_slack(text):
    escaped = slack_escaped(text)
    assert not set(escaped) & set("<>")
    document = {"state": "open", "text": text, "link": ""}
    assert not set(slack_text(document)) & set("<>")


@given(st.text())
def test_every_message_can_be_stored_and_mailed(text):
    body = Message(text, OPEN, text, text, text, (text,), {"name": text}).body(NOW)
    assert body.isascii()
    assert digest([message(1), Message(text, OPEN, text, text, text)]).body(NOW)


@pytest.mark.parametrize(
    "address",
    ["", "a", "@b", "a@", "a@b\r\nBcc: c@d", "a@b, c@d", "a b@c", "a@b@c", "<a@b>", "a@\u202eb"],
)
def test_what_is_not_one_address_is_none(address):
    assert not is_address(address)


def test_a_secret_of_the_environment_is_in_no_message(outbox, hook, monkeypatch):
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "open sesame")
    monkeypatch.setenv("MESH_ALERT_WEBHOOK_SHOP", "https://hooks.example/T0/secret")
    said = 'denied for "open sesame" at https://hooks.example/T0/secret'
    queue(outbox, Message("late:1", OPEN, "late", "shop", said, (said,), {"reasons": [said]}))
    deliver(outbox, channels(webhook(hook.port)), NOW)
    [request] = hook.posted
    assert request.json["facts"] == {"reasons": ['denied for "***" at ***']}
    cause = Cause("failed", "shop", NOW, "shop", said, (said,), {"reasons": [said]})
    outbox.decide([cause], [], [], {}, NOW)
    for text in (request.body.decode(), str(outbox.sent(9)), str(outbox.open_causes())):
        assert "sesame" not in text
        assert "hooks.example" not in text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("postgresql://app:hunter2-x@db.example/shop", "hunter2-x"),
        ("mysql://app:p%40ss%2Fword@db.example/shop", "p@ss/word"),
        ("postgresql://app:pa/ss#wo@rd@db.example/shop", "pa/ss#wo@rd"),
        ("postgresql://db.example/shop?user=app&password=hunter2-x", "hunter2-x"),
        ("host=db.example user=app password='hunter2 x'", "hunter2 x"),
        ("Server=db;Uid=app;Pwd=hunter2-x;", "hunter2-x"),
    ],
)
def test_a_password_inside_the_value_of_any_variable_is_hidden(monkeypatch, value, said):
    monkeypatch.setenv("SHOP_DATABASE", value)
    body = Message("k", OPEN, "failed", "shop", f"refused: {said}", (f"from {value}",)).body(NOW)
    assert said not in body
    assert "refused: ***" in body


def test_the_password_of_an_address_is_hidden_though_no_variable_has_it():
    assert without_secrets("postgresql://app:abc@db/shop", []) == "postgresql://app:***@db/shop"
    began = process_time()
    without_secrets("a" * 1_000_000 + "://" * 10_000, [])
    assert process_time() - began < 5


def test_a_secret_is_hidden_before_a_reason_is_cut(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2-very-secret")
    reason = "x" * 590 + " hunter2-very-secret"
    failed = FailureFact("shop", "run1", NOW, ("orders",), "failed", reason)
    job = JobFailure("maintain", "abcdef0123", NOW, (reason,))
    found = causes(Situation(failures=(failed,), jobs=(job,)), NOW)
    title = Message("k", OPEN, "failed", "shop", "x" * 990 + " hunter2-very-secret")
    for one in (*(each.opening() for each in found), digest([title, title])):
        assert "hunter" not in one.body(NOW)


def test_an_address_gets_a_message_once_though_it_is_in_a_list():
    owner = Channel("email:shop:shop", "email", "the group shop", "boss@mesh.example")
    other = replace(owner, name="email:shop:till", address="till@mesh.example")
    found = channels(EMAIL, owner, other)
    assert found.receivers(message(groups=("shop",))) == ["email"]
    assert found.receivers(message(groups=("till",))) == ["email:shop:till", "email"]
    # A consumer's message reaches its owner, not everyone.
    assert found.receivers(message(groups=("shop",), to_consumer=True)) == ["email:shop:shop"]


def test_the_owners_of_the_groups_that_fail_hear_of_it():
    owner = Channel("email:shop:shop", "email", "the group shop", "boss@mesh.example")
    till = replace(owner, name="email:shop:till", address="till@mesh.example")
    other = replace(owner, name="email:crm:crm", address="crm@mesh.example")
    found = channels(owner, till, other)
    assert found.receivers(message(groups=("till",))) == ["email:shop:till"]
    assert found.receivers(message(groups=("shop", "till"))) == [
        "email:shop:shop", "email:shop:till",
    ]  # fmt: skip
    # Of what has no group, all owners of the domain hear.
    assert found.receivers(message()) == ["email:shop:shop", "email:shop:till"]
    assert found.receivers(Message("k", OPEN, "job_failed", "", "maintain failed")) == []


def test_a_closing_mail_answers_its_opening_one(outbox, post):
    queue(outbox, message(), message(state=CLOSED), channel="email")
    deliver(outbox, channels(EMAIL), NOW)
    opening, closing = post.mailed
    assert closing["In-Reply-To"] == opening["Message-ID"]
    assert closing["Message-ID"] != opening["Message-ID"]


@pytest.mark.parametrize("address", ["file:///etc/passwd", "mesh.example/hook", "http://[broken"])
def test_an_address_must_be_one_of_the_web(address):
    channel = Channel("webhook", "webhook", "MESH_ALERT_WEBHOOK", address)
    with pytest.raises(Refused, match="must begin with https://"):
        send(channel, "msg_1", message().body(NOW))


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_encrypted_and_the_server_proves_who_it_is(tmp_path, monkeypatch, post, security):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
         certificate], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with mail_server(context, at_once=security == "tls") as server:
        monkeypatch.setenv("MESH_SMTP_SECURITY", security)
        monkeypatch.setenv("MESH_SMTP_PORT", str(server.port))
        with pytest.raises(Refused):  # nobody signed its certificate
            send(EMAIL, "msg_1", message().body(NOW))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert send(EMAIL, "msg_1", message().body(NOW)) == ""
        assert len(server.mailed) == 1
        assert server.encrypted == [True]


def test_a_damaged_outbox_says_so(outbox, tmp_path):
    queue(outbox, message())
    path = tmp_path / "notices" / "outbox.sqlite"
    assert path.stat().st_mode & 0o007 == 0
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(MeshError, match=r"outbox\.sqlite cannot be used"):
        outbox.waiting()
    with pytest.raises(MeshError, match="move it away"):
        queue(outbox, message(2))


def test_an_outbox_whose_creator_died_at_once_is_used(outbox, tmp_path):
    (tmp_path / "notices").mkdir()
    (tmp_path / "notices" / "outbox.sqlite").touch()
    assert outbox.open_causes() == []
    queue(outbox, message())
    assert len(outbox.waiting()) == 1


def test_a_mesh_that_is_late_as_a_whole_takes_seconds(outbox, hook):
    """5,000 products with three readers each; a search in lists took 50 s."""
    late = [Cause("late", f"shop.p{each}", NOW, "shop", f"p{each}") for each in range(20_000)]
    began = process_time()
    begun, _ = compared(late, [], Situation(), NOW)
    ones = addressed([each.opening() for each in begun], lambda _: ["webhook"], lambda _: 0, NOW)
    outbox.decide(begun, [], ones, {}, NOW)
    known = [each.cause for each in outbox.open_causes()]
    assert compared(late, known, Situation(), NOW) == ([], [])
    assert compared([], known, Situation(), NOW) == ([], known)
    assert process_time() - began < 20
    assert len(ones) == 40
    assert max(len(each.body) for each in ones) < 500_000


def test_old_messages_are_forgotten_and_waiting_ones_are_not(outbox, hook):
    queue(outbox, message(1), now=NOW - timedelta(days=200))
    deliver(outbox, channels(webhook(hook.port)), NOW)
    queue(outbox, message(2), now=NOW - timedelta(days=200))
    queue(outbox, message(3), now=datetime.now(UTC) + timedelta(days=100))
    assert [each.key for each in outbox.waiting()] == ["late:2", "late:3"]
    assert outbox.sent(10) == []
