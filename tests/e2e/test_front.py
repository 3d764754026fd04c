"""HAProxy with the config of deploy/haproxy before hosts that die, leave, come back and join."""

import http.client
import re
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.asking import clip_entries, face_entries, ocr_entries
from tests.support.certificates import make_certificate
from tests.support.front import FOLDER, Front, Host, hosts, needs_haproxy, until

pytestmark = needs_haproxy

SEARCH, PREVIEW, LARGEST, TOO_LARGE = 1_000, 500_000, 4_190_000, 6_000_000
"""Sizes of pictures in bytes. What is so small counts as a search."""


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    """Two hosts, which are up."""
    found = Host("a").start(), Host("b").start()
    yield found
    for host in found:
        host.answers.set()
        host.die()


def send(front: Front, size: int, entries: dict[str, Any] | None = None) -> httpx.Response:
    """A picture of so many bytes."""
    return front.predict(entries or clip_entries("visual"), image=bytes(size))


def test_the_config_is_valid_and_each_host_is_in_both_lists(tmp_path: Path) -> None:
    listed = (FOLDER / "hosts" / "hosts.cfg").read_text()
    photos, searches = re.findall(r"^backend (?:photos|searches) .*\n((?:    .*\n)+)", listed, re.MULTILINE)
    servers = re.compile(r"server (\S+ \S+)")
    assert servers.findall(photos) == servers.findall(searches)
    (tmp_path / "hosts.cfg").write_text(listed.replace("adapter:", "127.0.0.1:"))
    check = ["haproxy", "-c", "-f", str(FOLDER / "haproxy.cfg"), "-f", str(tmp_path)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "Configuration file is valid\n")


@pytest.mark.parametrize("size", [SEARCH, PREVIEW, LARGEST])
def test_a_request_whose_host_dies_is_sent_again_to_another(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor, size: int
) -> None:
    with Front(tmp_path, hosts(*(host.address for host in pair))) as front:
        asked = clients.submit(send, front, size)
        until(lambda: pair[0].held + pair[1].held)
        dying, other = pair if pair[0].held else pair[::-1]
        other.answers.set()
        dying.die()
        assert asked.result().text == other.name
        dying.answers.set()
        dying.start()


def test_a_body_that_is_too_large_to_be_kept_is_lost_with_its_host(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor
) -> None:
    with Front(tmp_path, hosts(pair[0].address)) as front:
        asked = clients.submit(send, front, TOO_LARGE)
        until(lambda: pair[0].held)
        pair[0].die()
        assert asked.result().status_code == 502
        pair[0].answers.set()
        pair[0].start()


@pytest.mark.parametrize("size", [SEARCH, PREVIEW, TOO_LARGE])
def test_requests_wait_while_no_host_is_up(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor, size: int
) -> None:
    host, _ = pair
    host.answers.set()
    host.die()
    with Front(tmp_path, hosts(host.address)) as front:
        front.wait_for("photos/a", "DOWN")
        asked = [clients.submit(send, front, size) for _ in range(4)]
        with pytest.raises(TimeoutError):
            asked[0].result(1)
        host.start()
        assert [one.result().text for one in asked] == ["a"] * 4


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("size", [SEARCH, PREVIEW])
def test_requests_wait_when_all_hosts_die_in_the_middle_of_their_work(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor, size: int, number: int
) -> None:
    up = pair[:number]
    with Front(tmp_path, hosts(*(host.address for host in up))) as front:
        for host in up:
            host.answers.set()
        assert [send(front, size).status_code for _ in range(4)] == [200] * 4
        for host in up:
            host.answers.clear()
        asked = [clients.submit(send, front, size) for _ in range(8)]
        until(lambda: sum(host.held for host in up) == 8)
        for host in up:
            host.die()
            host.answers.set()
        front.wait_for("searches/a", "DOWN")
        for host in up:
            host.start()
        assert [one.result().status_code for one in asked] == [200] * 8


@pytest.mark.parametrize("before", [[], [SEARCH, PREVIEW]], ids=["kept connection", "held"])
def test_what_another_haproxy_held_before_a_reload_is_answered_when_a_host_is_back(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor, before: list[int]
) -> None:
    """It goes on with what it has, and no longer looks which hosts are up."""
    host, _ = pair
    host.answers.set()
    with Front(tmp_path, hosts(host.address)) as front:
        send(front, PREVIEW)  # its connection is kept
        if before:
            host.die()
            front.wait_for("photos/a", "DOWN")
        held = [clients.submit(send, front, size) for size in before]
        front.reload()
        if not before:
            host.die()
        held.append(clients.submit(send, front, SEARCH))
        with pytest.raises(TimeoutError):
            held[0].result(6)
        host.start()
        assert {one.result(20).text for one in held} == {"a"}


def test_what_has_waited_too_long_is_refused_with_a_reason(tmp_path: Path) -> None:
    config = (FOLDER / "haproxy.cfg").read_text().replace("retries 280", "retries 1")
    with Front(tmp_path, hosts(Host("a").address), config) as front:
        front.wait_for("photos/a", "DOWN")
        answer = send(front, PREVIEW)
        assert (answer.status_code, answer.json()) == (503, {"detail": "No host was there for 280 s."})


def test_searches_pass_photos_that_wait(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor
) -> None:
    host, _ = pair
    config = (FOLDER / "haproxy.cfg").read_text().replace("maxconn 64", "maxconn 1")
    with Front(tmp_path, hosts(host.address), config) as front:
        photos = [clients.submit(send, front, PREVIEW) for _ in range(3)]
        until(lambda: host.held)
        searches = [clients.submit(send, front, SEARCH) for _ in range(3)]
        until(lambda: host.held == 4)
        assert sum(size > PREVIEW for _, size, _ in host.seen) == 1
        host.answers.set()
        assert {one.result().status_code for one in (*photos, *searches)} == {200}


def test_a_host_that_leaves_finishes_what_it_has_and_gets_nothing_more(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor
) -> None:
    with Front(tmp_path, hosts(*(host.address for host in pair))) as front:
        asked = clients.submit(send, front, PREVIEW)
        until(lambda: pair[0].held + pair[1].held)
        leaving, staying = pair if pair[0].held else pair[::-1]
        leaving.ready = False
        staying.answers.set()
        for backend in ("photos", "searches"):
            front.wait_for(f"{backend}/{leaving.name}", "DOWN")
        assert {send(front, size).text for size in (SEARCH, PREVIEW) * 2} == {staying.name}
        leaving.answers.set()
        assert asked.result().text == leaving.name


def test_a_host_of_three_times_the_weight_has_three_times_as_many_photos(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor
) -> None:
    listed = hosts(f"{pair[0].address} weight 3", f"{pair[1].address} weight 1")
    with Front(tmp_path, listed) as front:
        asked = [clients.submit(send, front, PREVIEW) for _ in range(8)]
        until(lambda: pair[0].held + pair[1].held == 8)
        assert (pair[0].held, pair[1].held) == (6, 2)
        for host in pair:
            host.answers.set()
        assert {one.result().status_code for one in asked} == {200}


def test_a_backend_that_is_called_after_a_task_takes_its_photos(
    tmp_path: Path, pair: tuple[Host, Host]
) -> None:
    for host in pair:
        host.answers.set()
    listed = hosts(pair[0].address) + hosts(pair[1].address, backends=["ocr"])
    with Front(tmp_path, listed) as front:
        tasks = (clip_entries("visual"), face_entries(), ocr_entries("detection"))
        assert [send(front, PREVIEW, entries).text for entries in tasks] == ["a", "a", "b"]


def test_a_new_list_is_read_under_load_and_no_request_is_lost(
    tmp_path: Path, pair: tuple[Host, Host], clients: ThreadPoolExecutor
) -> None:
    old, new = pair
    for host in pair:
        host.answers.set()
    answered: list[str] = []

    def ask() -> None:
        while "b" not in answered[-100:-50]:
            answered.append(send(front, PREVIEW).text)

    with Front(tmp_path, hosts(old.address)) as front:
        asking: list[Future[None]] = [clients.submit(ask) for _ in range(4)]
        for address in (old.address, old.address, new.address):
            seen = len(answered)
            until(lambda seen=seen: len(answered) > seen + 20)  # type: ignore[misc]
            front.list(hosts(address))
            front.reload()
        for one in asking:
            one.result()
    assert set(answered) == {"a", "b"}


def test_a_client_that_keeps_its_connection_is_not_cut_off_by_a_reload(
    tmp_path: Path, pair: tuple[Host, Host]
) -> None:
    pair[0].answers.set()
    with (
        Front(tmp_path, hosts(pair[0].address)) as front,
        closing(http.client.HTTPConnection(front.origin)) as client,
    ):
        client.auto_open = 0
        client.connect()
        assert asked(client) is None
        front.reload()
        assert asked(client) == "close"


def asked(client: http.client.HTTPConnection) -> str | None:
    """Whether the answer closes the connection."""
    client.request("POST", "/predict", b"x")
    answer = client.getresponse()
    assert answer.read() == b"a"
    return answer.headers["connection"]


def test_hosts_are_told_the_clients_address_and_the_log_does_not_know_the_path(
    tmp_path: Path, pair: tuple[Host, Host]
) -> None:
    for host in pair:
        host.answers.set()
    token = "0123456789abcdef-secret_path"
    with Front(tmp_path, hosts(pair[0].address, Host("c").address), IMMICH_TRITON_TOKEN=token) as front:
        made_up = {"x-forwarded-for": "192.0.2.9"}
        for _ in range(4):
            assert front.client.post(f"/{token}/predict", content=b"x", headers=made_up).text == "a"
    assert pair[0].seen == [(f"/{token}/predict", 1, ["192.0.2.9", "127.0.0.1"])] * 4
    assert token not in front.log.read_text()


def test_the_fronts_metrics_are_those_that_alerts_and_docs_name(tmp_path: Path) -> None:
    root = FOLDER.parents[1]
    texts = [(root / name).read_text() for name in ("deploy/monitoring/alerts.yml", "docs/monitoring.md")]
    named = set(re.findall(r"\bhaproxy_\w+", "".join(texts)))
    with Front(tmp_path, hosts(Host("a").address)) as front:
        front.wait_for("photos/a", "DOWN")
        scrape = httpx.get(f"http://{front.metrics}/metrics").text
    assert len(named) == 5
    assert [name for name in named if f'\n{name}{{proxy="photos"' not in scrape] == []
    assert '\nhaproxy_backend_active_servers{proxy="photos"} 0\n' in scrape


def test_https_is_answered_with_the_certificate_that_is_named(
    tmp_path: Path, pair: tuple[Host, Host]
) -> None:
    pair[0].answers.set()
    certificate, key = make_certificate(tmp_path, "front")
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    with Front(tmp_path, hosts(pair[0].address), FRONT_CERTIFICATE=str(both)) as front:
        trusting = ssl.create_default_context(cafile=certificate)
        answer = httpx.post(f"https://{front.origin}/predict", content=b"x", verify=trusting)
        assert answer.text == "a"
