import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Network

import pytest

from nightreel.cluster.errors import ClusterError
from nightreel.cluster.firewall import operator_cidr, public_address

VPC = "172.31.0.0/16"
HOME = (IPv4Network("192.168.1.0/24"),)


def test_operator_cidr_is_the_vpc_for_a_machine_inside() -> None:
    inside = [*HOME, IPv4Network("172.31.16.0/20")]
    assert operator_cidr(VPC, ask=lambda: "8.8.4.4", own_networks=inside) == VPC


def test_operator_cidr_knows_the_networks_of_this_machine() -> None:
    assert operator_cidr("127.77.0.0/16", ask=lambda: "8.8.4.4") == "127.77.0.0/16"


def test_operator_cidr_is_the_public_address_for_a_machine_outside() -> None:
    assert operator_cidr(VPC, ask=lambda: "8.8.4.4\n", own_networks=HOME) == "8.8.4.4/32"


@pytest.mark.parametrize(
    "answer", ["", "<html>log in to the hotel's network</html>", "0.0.0.0", "10.0.0.7", "127.0.0.1", "2001:db8::1",
               "8.8.4.4/0", "8.8.4.4 8.8.8.8"],
)  # fmt: skip
def test_operator_cidr_refuses_what_is_no_public_address(answer: str) -> None:
    with pytest.raises(ClusterError, match="--operator-cidr"):
        operator_cidr(VPC, ask=lambda: answer, own_networks=HOME)


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"8.8.4.4\n" + b"x" * 1000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_public_address_reads_no_more_than_an_address(url: str) -> None:
    assert public_address(url).startswith("8.8.4.4\n")
    assert len(public_address(url)) == 100


def test_public_address_says_how_to_give_it_when_nobody_answers() -> None:
    with pytest.raises(ClusterError, match="--operator-cidr"):
        public_address("http://127.0.0.1:1")
