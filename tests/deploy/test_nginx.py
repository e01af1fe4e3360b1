"""The example of nginx before the site, by a real nginx with TLS on loopback."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nightreel.bundle.publish import publish
from tests.web.live_site import TOKEN, LiveSite, live_site
from tests.web.made_bundles import make_bundle

EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx.example.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SITE, AIRFLOW = "films.example.org", "airflow.example.org"
HEADERS = ("Host", "X-Forwarded-For", "X-Forwarded-Proto")

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="no nginx here: apt-get install nginx-light"),
    pytest.mark.timeout(600),
]


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = "\n".join(self.headers.get(name, "") for name in HEADERS).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Proxy:
    """The nginx that runs, and whom it stands before."""

    http: int
    https: int
    certificate: Path
    site: LiveSite

    def get(self, path: str, *, name: str = SITE, scheme: str = "https", **headers: str) -> httpx.Response:
        """Ask it by a name that no name service knows."""
        port = self.https if scheme == "https" else self.http
        # The one certificate that is trusted is for the two names, which the handshake is told.
        with httpx.Client(verify=str(self.certificate), trust_env=False, timeout=60) as client:
            return client.get(
                f"{scheme}://127.0.0.1:{port}{path}",
                headers={"Host": name, **headers},
                extensions={"sni_hostname": name},
            )


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SITE)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SITE), x509.DNSName(AIRFLOW)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)
    (folder / "fullchain.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return folder / "fullchain.pem"


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _configuration(folder: Path, *, http: int, https: int, site: int, airflow: int) -> Path:
    """The example as it stands, with this machine's ports and folder, in a configuration that writes nowhere else."""
    text = EXAMPLE.read_text()
    for before, after in {
        "/etc/ssl/nightreel": str(folder),
        "listen 80 ": f"listen 127.0.0.1:{http} ",
        "listen 443 ": f"listen 127.0.0.1:{https} ",
        "127.0.0.1:8000;": f"127.0.0.1:{site};",
        "127.0.0.1:8080;": f"127.0.0.1:{airflow};",
    }.items():
        assert before in text
        text = text.replace(before, after)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    whole = (
        f"{user}\ndaemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{text}\n}}\n"
    )
    file = folder / "nginx.conf"
    file.write_text(whole)
    return file


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    certificate = _certificate(folder)
    echo = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    settings = {
        "NIGHTREEL_SITE_HOSTS": SITE,
        "NIGHTREEL_SITE_INTERNAL_HOSTS": "127.0.0.1,web",  # as which the test publishes
        "NIGHTREEL_SITE_TLS": "1",
        "NIGHTREEL_SITE_TRUSTED_PROXIES": "1",
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
    }
    with live_site(folder, **settings) as site:
        make_bundle(folder / "model.arrow")
        publish(folder / "model.arrow", server=site.url, token=TOKEN)
        http, https = _free_ports(2)
        file = _configuration(folder, http=http, https=https, site=site.port, airflow=echo.server_address[1])
        assert NGINX is not None
        process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file)], start_new_session=True)
        try:
            found = Proxy(http=http, https=https, certificate=certificate, site=site)
            _await_door(found, process, folder / "error.log")
            yield found
        finally:
            process.terminate()
            process.wait(30)
    echo.shutdown()
    echo.server_close()


def _await_door(proxy: Proxy, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", proxy.https), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nginx did not start:\n{log.read_text()}")


def test_a_visitor_gets_the_page_over_tls(proxy: Proxy) -> None:
    answer = proxy.get("/")
    assert (answer.status_code, "Nightreel" in answer.text) == (200, True)
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_cookies_are_for_tls_alone_and_links_lead_to_it(proxy: Proxy) -> None:
    answer = proxy.get("/list")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert f"http://{SITE}" not in answer.text


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    answer = proxy.get("/list", scheme="http")
    assert (answer.status_code, answer.headers["Location"]) == (308, f"https://{SITE}/list")


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_what_is_for_probes_is_not_shown_outside(proxy: Proxy, path: str) -> None:
    assert (proxy.get(path).status_code, httpx.get(proxy.site.url + path, trust_env=False).status_code != 404) == (
        404,
        True,
    )


def test_a_name_of_others_gets_no_answer(proxy: Proxy) -> None:
    with pytest.raises(httpx.TransportError):
        proxy.get("/", name="web")


def test_a_visitor_can_not_choose_his_address(proxy: Proxy) -> None:
    echoed = proxy.get("/", name=AIRFLOW, **{"X-Forwarded-For": "198.51.100.7"})
    assert echoed.text.splitlines() == [AIRFLOW, "127.0.0.1", "https"]


def test_tasks_of_airflow_can_not_be_spoken_for_from_outside(proxy: Proxy) -> None:
    assert proxy.get("/execution/", name=AIRFLOW).status_code == 404


def test_neighbours_ask_the_site_without_tls_and_others_do_not(proxy: Proxy) -> None:
    asked = {
        name: httpx.get(f"{proxy.site.url}/api/v1/model", headers={"Host": name}, trust_env=False).status_code
        for name in ("web", "web:8000", SITE)
    }
    assert asked == {"web": 200, "web:8000": 200, SITE: 301}
