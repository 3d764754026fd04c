"""Who is answered: a path without the token is not found, an address outside the networks is forbidden."""

import logging
import os
import shlex
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from adapter.errors import SetupError
from adapter.metrics import Metrics
from adapter.security import check_certificate, client_address, protect
from adapter.settings import Settings, load
from tests.support.certificates import make_certificate

TOKEN = "correct-horse-battery-staple"
NOT_FOUND = (404, '{"detail":"Not Found"}')


def settings(**options: Any) -> Settings:
    return Settings(**options)


def app(**options: Any) -> tuple[FastAPI, Metrics]:
    """An application that answers every path with it."""
    made, metrics = FastAPI(), Metrics()

    @made.get("/{path:path}")
    def echo(request: Request) -> str:
        return request.url.path

    protect(made, settings(**options), metrics.refusals)
    return made, metrics


def client(peer: str = "192.0.2.7", **options: Any) -> TestClient:
    return TestClient(app(**options)[0], client=(peer, 50000))


class TestToken:
    @pytest.mark.parametrize("path", ["/", "/ping", "/predict", "/a/b"])
    def test_what_lies_under_the_token_is_answered_without_it(self, path: str) -> None:
        answer = client(token=TOKEN).get(f"/{TOKEN}{path}")
        assert (answer.status_code, answer.json()) == (200, path)

    @pytest.mark.parametrize(
        "path",
        [
            *("/", "/ping", "/predict", "/metrics", "/%ff%00é/ping"),
            *(f"/{TOKEN}", f"/{TOKEN}x/ping", f"/{TOKEN[:-1]}/ping", f"/{TOKEN.upper()}/ping"),
            *(f"/x/{TOKEN}/ping", f"//{TOKEN}/ping"),
        ],
    )
    def test_everything_else_is_not_found(self, path: str) -> None:
        answer = client(token=TOKEN).get(f"http://testserver{path}")
        assert (answer.status_code, answer.text) == NOT_FOUND

    def test_a_wrong_path_under_the_token_is_answered_alike(self) -> None:
        bare = FastAPI()
        protect(bare, settings(token=TOKEN), Metrics().refusals)
        answer = TestClient(bare).get(f"/{TOKEN}/no-such-page")
        assert (answer.status_code, answer.text) == NOT_FOUND

    def test_neither_log_nor_settings_show_it(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "adapter")
        client(token=TOKEN).get(f"/{TOKEN[:-1]}/ping")
        assert TOKEN[:-1] not in caplog.text
        assert "refused with 404" in caplog.text
        assert TOKEN not in repr(settings(token=TOKEN))

    @pytest.mark.parametrize("wrong", ["short", "sixteen/characters", "white space and dots..."])
    def test_a_token_that_is_no_good_path_is_refused_and_not_repeated(
        self, monkeypatch: pytest.MonkeyPatch, wrong: str
    ) -> None:
        monkeypatch.setenv("IMMICH_TRITON_TOKEN", wrong)
        with pytest.raises(SetupError, match=r"IMMICH_TRITON_TOKEN: .*openssl rand") as caught:
            load()
        assert wrong not in str(caught.value) + str(caught.value.__cause__)


class TestNetworks:
    @pytest.mark.parametrize(
        ("peer", "status"),
        [
            ("192.0.2.7", 200),
            ("::ffff:192.0.2.7", 200),
            ("198.51.100.1", 403),
            ("::ffff:198.51.100.1", 403),
            ("2001:db8::5", 200),
            ("2001:db9::5", 403),
            ("testclient", 403),
            ("127.0.0.1", 403),
        ],
    )
    def test_only_the_given_ones_are_answered(self, peer: str, status: int) -> None:
        answer = client(peer, allowed_networks="192.0.2.0/24, 2001:db8::/32").get("/predict")
        assert answer.status_code == status
        assert status == 200 or answer.json() == {"detail": "Your address is not allowed here."}

    @pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_this_host_may_ask_how_the_service_is(self, peer: str) -> None:
        here = client(peer, allowed_networks="192.0.2.0/24")
        assert (here.get("/ping").status_code, here.get("/").status_code) == (200, 403)
        forwarded = here.get("/ping", headers={"x-forwarded-for": "192.0.2.1"})
        assert forwarded.status_code == 200, "not a trusted proxy: its word is nothing"

    def test_a_ping_that_a_trusted_proxy_here_hands_on_is_not_this_hosts_own(self) -> None:
        proxy = client("127.0.0.1", allowed_networks="192.0.2.0/24", trusted_proxies="127.0.0.0/8")
        assert proxy.get("/ping", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403
        assert proxy.get("/ping", headers={"x-forwarded-for": "192.0.2.9"}).status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.1, 203.0.113.9 , 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.1", "203.0.113.9, 10.0.0.2", "10.0.0.3"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::9]:4711"], "2001:db8::9"),
        ("10.0.0.1", ["192.0.2.1, unknown"], None),
        ("10.0.0.1", [""], None),
    ],
)
def test_the_client_is_the_last_address_that_a_trusted_proxy_did_not_make_up(
    peer: str, forwarded: list[str], client: str | None
) -> None:
    expected = ip_address(client) if client else None
    assert client_address(peer, forwarded, [ip_network("10.0.0.0/8")]) == expected


def test_networks_go_before_the_token_and_refusals_are_counted_by_reason() -> None:
    made, metrics = app(allowed_networks="192.0.2.0/24", token=TOKEN)
    stranger, friend = (TestClient(made, client=(peer, 1)) for peer in ("198.51.100.1", "192.0.2.1"))
    paths = (f"/{TOKEN}/ping", "/ping", "/x/ping")
    assert [stranger.get(path).status_code for path in paths] == [403] * 3, "it learns nothing of the token"
    assert [friend.get(path).status_code for path in paths] == [200, 404, 404]
    counted = [
        metrics.registry.get_sample_value("immich_triton_refusals_total", {"reason": reason})
        for reason in ("network", "path")
    ]
    assert counted == [3, 2]


class TestCertificate:
    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        return make_certificate(tmp_path, "one")

    def test_a_pair_that_fits_is_taken_and_so_is_none(self, pair: tuple[Path, Path]) -> None:
        check_certificate(*pair)
        check_certificate(None, None)

    @pytest.mark.parametrize(
        ("certificate", "key", "said"),
        [
            ("one.crt", None, "IMMICH_TRITON_TLS_KEY is not set"),
            (None, "one.key", "IMMICH_TRITON_TLS_CERTIFICATE is not set"),
            ("one.crt", "nowhere.key", "cannot read .*nowhere.key: No such file"),
            ("one.crt", "two.key", "KEY_VALUES_MISMATCH"),
            ("words.crt", "one.key", "words.crt and .* are no certificate"),
        ],
    )
    def test_a_pair_that_does_not_fit_is_refused_with_the_reason(
        self, tmp_path: Path, certificate: str | None, key: str | None, said: str
    ) -> None:
        for name in ("one", "two"):
            make_certificate(tmp_path, name)
        (tmp_path / "words.crt").write_text("no certificate")
        with pytest.raises(SetupError, match=said):
            check_certificate(*(tmp_path / name if name else None for name in (certificate, key)))

    def test_a_key_with_a_password_is_refused_and_none_is_asked_for(self, pair: tuple[Path, Path]) -> None:
        locked = pair[1].with_name("locked.pem")
        subprocess.run(
            ["openssl", "pkcs8", "-topk8", "-in", pair[1], "-out", locked, "-passout", "pass:secret"],
            check=True,
            capture_output=True,
        )
        with pytest.raises(SetupError, match="without a password"):
            check_certificate(pair[0], locked)
        said = _on_a_terminal(sys.executable, "-m", "adapter", "serve", certificate=pair[0], key=locked)
        assert "without a password" in said
        assert "pass phrase" not in said


def _on_a_terminal(*command: str, certificate: Path, key: Path) -> str:
    """What a command writes that could ask back."""
    files = {"IMMICH_TRITON_TLS_CERTIFICATE": str(certificate), "IMMICH_TRITON_TLS_KEY": str(key)}
    done = subprocess.run(
        ["script", "--quiet", "--command", shlex.join(command), "/dev/null"],
        env={**os.environ, **files, "COLUMNS": "9999"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout
