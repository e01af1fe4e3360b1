"""What the command line says of the way to AWS, and how it says it."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

INSTANCES = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>
<instancesSet><item><instanceId>i-0123456789abcdef0</instanceId><instanceType>c7i.metal-24xlarge</instanceType>
<launchTime>2026-01-31T23:59:59.000Z</launchTime><privateIpAddress>172.31.100.100</privateIpAddress>
<placement><availabilityZone>ap-southeast-1a</availabilityZone></placement>
<instanceState><code>80</code><name>stopped</name></instanceState><tagSet><item><key>nightreel:cluster</key>
<value>films</value></item></tagSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"""
NO_GROUPS = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>"


@pytest.fixture
def answering():
    """Start an endpoint that answers every request with this text; `DescribeSecurityGroups` with none."""
    servers = []

    def answer(text: str) -> str:
        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                body = (NO_GROUPS if b"DescribeSecurityGroups" in asked else text).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield answer
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def describe(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`describe films` as another process whose output is no terminal, with this environment alone."""
    variables = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}
    command = [sys.executable, "-m", "nightreel.cli.main", "describe", "films"]
    return subprocess.run(
        command, env=variables | environment, text=True, capture_output=True, timeout=120, check=False
    )


REGION = {"AWS_DEFAULT_REGION": "us-east-1"}
KEY = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        (KEY, "Give --region"),
        (REGION, "Give --access-key-file"),
        (REGION | KEY | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Check --region, AWS_ENDPOINT_URL"),
    ],
)
def test_what_is_in_the_way_to_aws_is_said_with_its_remedy(tmp_path, environment, remedy):
    said = describe(tmp_path, **environment)
    assert said.returncode == 1
    assert remedy in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("text", ["<html>log in to the hotel's network</html>", "<html><p>log in"])
def test_an_answer_that_is_none_of_aws_is_told_as_that(tmp_path, answering, text):
    said = describe(tmp_path, AWS_ENDPOINT_URL=answering(text), **REGION, **KEY)
    assert said.returncode == 1
    assert "the answer is none of AWS's" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("columns", [{}, {"COLUMNS": "80"}])
def test_an_instances_id_stays_in_one_line(tmp_path, answering, columns):
    said = describe(tmp_path, AWS_ENDPOINT_URL=answering(INSTANCES), **REGION, **KEY, **columns)
    assert "i-0123456789abcdef0" in said.stdout, said.stderr
    if not columns:
        assert any("i-0123456789abcdef0" in line and "ap-southeast-1a" in line for line in said.stdout.splitlines())
