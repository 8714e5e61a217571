"""Who may use a bus, and how it is reached over TLS: from Python and from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.request

import pytest
import trustme

from conftest import wait_until
from jimbot.mcp.bus import AsyncEventBusClient, BusUnreachable, EventBusClient, NotAllowed
from jimbot.mcp.endpoints import service_url
from jimbot.proto.base_pb2 import Event, EventType

TOKEN = "0123456789abcdef-and-more"
HEARTBEAT = Event(type=EventType.EVENT_TYPE_HEARTBEAT, event_id="h")


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority, a certificate of this host that it signed with its key, and another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    for blob in server.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    server.private_key_pem.write_to_path(folder / "key.pem")
    return folder


@pytest.fixture
def tls_bus(start_bus, certificates, token_file):
    tls = ("--tls-cert", str(certificates / "cert.pem"), "--tls-key", str(certificates / "key.pem"))
    bus = start_bus(*tls, "--token-file", str(token_file))
    bus.url = bus.url.replace("http:", "https:")
    return bus


def jimbot(bus, *arguments, given="", **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JIMBOT_", "SSL_CERT"))}
    return subprocess.run(
        [bus.binary, *map(str, arguments)],
        input=given,
        env={**clean, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_token_is_asked_of_every_call(start_bus, token_file):
    bus = start_bus("--token-file", str(token_file))
    for right in ({"token": TOKEN}, {"token_file": token_file}):
        with EventBusClient(bus.url, **right) as client, client.subscribe() as subscription:
            client.publish(HEARTBEAT)
            with client.publisher() as publisher:
                publisher.send(HEARTBEAT)
            assert subscription.read(30).event.event_id == "h"
            assert len(list(client.history())) % 2 == 0
    for wrong in ({}, {"token": "fedcba9876543210-or-other"}):
        with EventBusClient(bus.url, **wrong) as client:
            for ask in (lambda: client.publish(HEARTBEAT), client.subscribe, lambda: list(client.history()), client.last_sequence):
                with pytest.raises(NotAllowed, match="token_file=") as caught:
                    ask()
                assert caught.value.code == "UNAUTHENTICATED"
            with pytest.raises(NotAllowed), client.publisher() as publisher:
                publisher.send(HEARTBEAT)


def test_a_token_that_is_no_longer_right_ends_a_subscription_with_the_reason(start_bus, token_file):
    bus = start_bus("--token-file", str(token_file))
    with EventBusClient(bus.url, token=TOKEN) as client, client.subscribe() as subscription:
        bus.end()
        token_file.write_text("another-token-of-the-bus")
        bus.start()
        with pytest.raises(NotAllowed):
            subscription.read(60)


def test_tls_and_a_token(tls_bus, certificates):
    with EventBusClient(tls_bus.url, token=TOKEN, ca_file=certificates / "ca.pem") as client:
        with client.subscribe(durable="worker") as subscription, client.publisher() as publisher:
            publisher.send([HEARTBEAT] * 10)
            assert [subscription.read(30).position for _ in range(10)] == list(range(1, 11))
            tls_bus.restart()
            client.publish(HEARTBEAT)
            assert subscription.read(60).position == 11
    with EventBusClient(tls_bus.url.replace("127.0.0.1", "localhost"), token=TOKEN, ca_file=certificates / "ca.pem") as client:
        assert client.publish(HEARTBEAT).last_position == 12

    async def main():
        async with AsyncEventBusClient(tls_bus.url, token=TOKEN, ca_file=certificates / "ca.pem") as client:
            async with client.subscribe(start="earliest") as subscription:
                assert (await subscription.read(30)).event.event_id == "h"

    asyncio.run(main())


def test_the_authorities_of_the_environment_are_trusted(tls_bus, certificates, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with EventBusClient(tls_bus.url, token=TOKEN) as client:
        assert client.publish(HEARTBEAT).stored == 1


def test_a_certificate_of_nobody_known_is_refused(tls_bus, certificates):
    for trusted in (None, certificates / "other.pem"):
        with EventBusClient(tls_bus.url, token=TOKEN, ca_file=trusted, timeout=1) as client:
            with pytest.raises(BusUnreachable, match="(?i)certificate|handshake|ssl"):
                client.publish(HEARTBEAT)
    with EventBusClient(tls_bus.url.replace("https", "http"), token=TOKEN, timeout=1) as client:
        with pytest.raises(BusUnreachable):
            client.publish(HEARTBEAT)
    with pytest.raises(FileNotFoundError):
        EventBusClient(tls_bus.url, ca_file=certificates / "none.pem")


def test_the_command_line_speaks_tls(tls_bus, certificates, token_file):
    line = '{"type":"EVENT_TYPE_HEARTBEAT","eventId":"from the shell"}\n'
    trusting = {"SSL_CERT_FILE": certificates / "ca.pem"}
    publish = ("publish", "--bus", tls_bus.url, "--token-file", token_file)
    told = jimbot(tls_bus, *publish, given=line, **trusting)
    assert (told.returncode, told.stdout) == (0, "1 events published, 0 were there before\n"), told.stderr
    tail = ("tail", "--bus", tls_bus.url, "--token-file", token_file, "--from-start", "--count", "1")
    told = jimbot(tls_bus, *tail, **trusting)
    assert told.returncode == 0 and '"eventId":"from the shell"' in told.stdout, told.stderr
    for environment in ({"SSL_CERT_FILE": certificates / "other.pem"}, {}):
        told = jimbot(tls_bus, *tail, **environment)
        assert (told.returncode, told.stdout) == (1, "") and "certificate" in told.stderr.lower(), told.stderr
    told = jimbot(tls_bus, *(part if part != tls_bus.url else tls_bus.url.replace("https", "http") for part in tail))
    assert (told.returncode, told.stdout) == (1, "") and "no bus at http://" in told.stderr, told.stderr


def test_a_service_publishes_over_tls_with_a_token(tls_bus, certificates, token_file, shm_dir, tmp_path):
    told = open(tmp_path / "told", "w+")
    service = subprocess.Popen(
        [tls_bus.binary, "serve", "--listen", "127.0.0.1:0", "--shm-dir", str(shm_dir), "--log-bytes", "8MiB"]
        + ["--max-batch-bytes", "128KiB", "--bus", tls_bus.url, "--bus-token-file", str(token_file)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "SSL_CERT_FILE": str(certificates / "ca.pem")},
        stdout=told,
        stderr=told,
    )
    try:
        wait_until((shm_dir / "endpoints.json").exists, "the service")
        with EventBusClient(tls_bus.url, token_file=token_file, ca_file=certificates / "ca.pem") as client:
            with client.subscribe("game.>", start="earliest") as subscription:
                url = service_url(shm_dir) + "/api/v1/events"
                body = json.dumps({"type": "HAND_PLAYED", "event_id": "from a game", "payload": {}}).encode()
                with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=30):
                    pass
                received = subscription.read(60)
                assert received is not None and received.event.event_id == "from a game"
    finally:
        service.terminate()
        code = service.wait(60)
        told.close()
    assert code == 0


def test_a_certificate_and_a_key_that_are_none_are_refused_at_start(start_bus, service_binary, certificates, tmp_path):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    class Binary:
        binary = service_binary

    start = ("bus", "--listen", "127.0.0.1:0", "--store", "memory")
    for cert, key, code in [
        (certificates / "cert.pem", nonsense, 1),
        (nonsense, certificates / "key.pem", 1),
        (tmp_path / "none.pem", certificates / "key.pem", 2),
    ]:
        told = jimbot(Binary, *start, "--tls-cert", cert, "--tls-key", key)
        assert (told.returncode, told.stdout) == (code, ""), told
        assert "certificate or key" in told.stderr or "none.pem" in told.stderr, told.stderr
    told = jimbot(Binary, *start, "--tls-cert", certificates / "cert.pem")
    assert told.returncode == 2 and "--tls-key" in told.stderr
