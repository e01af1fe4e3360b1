"""What the commands accept and refuse, without an AWS behind them."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nightreel.cli import cluster, machines, options
from nightreel.cli.access import Access, read_access_key
from nightreel.cli.main import app
from nightreel.cli.output import UsageError

BY_THE_ORIGINAL = {
    "launch": (
        "--remote-spark-home --copy-master --copy-dir -u --user -i --identity-file --ec2-access-key -s --slaves "
        "-k --key-pair -t --instance-type -r --region --private-ips -a --ami"
    ),
    "train": "--remote-server --run-local --remote-spark-home -u --user -i --identity-file --ec2-access-key -r",
    "publish": "--remote-server",
}


@pytest.fixture
def no_aws(monkeypatch, tmp_path):
    """Nobody answers at AWS's address, and the user has no secret yet; that folder."""
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NIGHTREEL_MASTER_SECRET", raising=False)
    return tmp_path / "config"


def invoke(*words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def refusal(*words) -> str:
    """What the command says to a call that can not work."""
    result = invoke(*words)
    assert isinstance(result.exception, UsageError), (result.exception, result.output)
    return str(result.exception)


def parsed(command: str, *words: str) -> dict:
    """The values of a command's options as they arrive in it."""
    found = typer.main.get_command(app).commands[command]
    context = found.make_context(command, list(words))
    return context.params


@pytest.mark.parametrize(("command", "names"), BY_THE_ORIGINAL.items())
def test_every_option_of_the_original_is_understood(command, names):
    found = typer.main.get_command(app).commands[command]
    known = {name for one in found.params for name in one.opts}
    former = {f"--{old}": f"--{new}" for old, new in options.FORMER_NAMES.items()}
    assert {former.get(name, name) for name in names.split()} <= known


def test_former_names_set_the_options_of_today():
    values = parsed(
        "launch", "films", "--slaves", "7", "--copy-dir", "a", "--copy-master", "b", "--ec2-access-key", "c"
    )
    assert (values["workers"], values["ship"], values["ship_to_master"], values["access_key_file"]) == (
        7,
        [Path("a")],
        [Path("b")],
        Path("c"),
    )


def test_former_names_are_not_in_the_help():
    assert "--slaves" not in invoke("launch", "--help").output


def test_every_former_name_is_of_an_option():
    found = typer.main.get_command(app).commands.values()
    known = {name for command in found for one in command.params for name in one.opts}
    assert not {new for new in options.FORMER_NAMES.values() if f"--{new}" not in known}


@pytest.mark.parametrize(
    "words",
    [
        ("--spot", "--spot-or-on-demand"),
        ("--open-to-the-world", "--operator-cidr", "203.0.113.0/24"),
        ("--open-to-the-world", "--private-ips"),
        ("--private-ips", "--operator-cidr", "8.8.8.0/24"),
        ("--operator-cidr", "0.0.0.0/0", "--open-to-the-world="),
        ("--identity-file", "key.pem", "--key-pair="),
        ("--minimum-workers", "3", "--workers", "2"),
        ("--spark-sha512", "a" * 128, "--spark-source="),
        ("--spark-source", "https://spark.example/spark.tgz", "--spark-sha512="),
    ],
)
def test_launch_names_both_options_that_do_not_go_together(no_aws, words):
    said = refusal("launch", "films", "--yes", *(word for word in words if not word.endswith("=")))
    for option in (word.rstrip("=") for word in words if word.startswith("--")):
        assert re.search(rf"(?<!\S){option}\b(?!-)", said)
    assert not no_aws.exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("launch", "films", "--ship", "/no/such"), "--ship"),
        (("launch", "films", "--tag", "team"), "--tag"),
        (("launch", "films", "--price", "m7i.large=cheap"), "--price"),
        (("launch", "films", "--user-data", "/no/such"), "--user-data"),
        (("launch", "films", "--wheelhouse", "/no/such"), "--wheelhouse"),
        (("launch", "films", "--access-key-file", "/no/such", "--price", "m7i.large=1"), "--access-key-file"),
        (("launch", "films", "--price", "m7i.large=-1"), "--price"),
        (("launch", "films", "--price", "m7i.large"), "--price"),
        (("launch", "films", "--tag", "Name=x"), "--tag: 'Name'"),
        (("launch", "films", "--subnet", "vpc-1"), "--subnet: 'vpc-1'"),
        (("launch", "films", "--operator-cidr", "0.0.0.0/1"), "--open-to-the-world"),
        (("launch", "films", "--remote-spark-home", ""), "--remote-spark-home"),
        (("launch", "a*", "--yes"), "name"),
        (("describe", "a*"), "name"),
        (("destroy", "a*", "--yes"), "name"),
        (("train", "--out", "x", "--cluster", "a*"), "name"),
        (("submit", "films", __file__, "--job", "a b"), "job name"),
        (("submit", "films", __file__, "--job", "x.lock"), "job name"),
        (("submit", "films", __file__, "--remote-spark-home", ""), "--remote-spark-home"),
        (("follow-job", "films", "x/y"), "job name"),
        (("destroy", "films", "--logs", "x", "--no-logs", "--yes"), "--no-logs"),
        (("train", "--out", "x", "--cluster", "films", "--run-local"), "--run-local and --cluster"),
        (("train", "--out", "x", "--cluster", "films", "--memory", "1g"), "--memory and --cluster"),
        (("submit", "films", "/no/such.py"), "/no/such.py"),
        (("copy-file", "films", "/no/such", "there"), "/no/such"),
    ],
)
def test_what_can_not_work_is_refused_by_name(no_aws, words, named):
    assert named in refusal(*words)
    assert not no_aws.exists()


@pytest.mark.parametrize("secret", ["", "short"])
def test_a_master_secret_that_is_too_short_is_a_wrong_call(no_aws, monkeypatch, secret):
    monkeypatch.setenv("NIGHTREEL_MASTER_SECRET", secret)
    words = ("launch", "films", "--price", "m7i.large=1", "--private-ips", "--yes")
    assert "NIGHTREEL_MASTER_SECRET" in refusal(*words)


def test_user_data_of_an_unknown_kind_is_refused(no_aws, tmp_path):
    (tmp_path / "odd").write_text("hello")
    assert "#cloud-config" in refusal("launch", "films", "--yes", "--user-data", tmp_path / "odd")


@pytest.mark.parametrize(
    "words",
    [
        ("launch", "films", "--price", "m7i.large=1", "--private-ips"),
        ("destroy", "films"),
        ("stop", "films"),
        ("stop-spark", "films"),
        ("remove-workers", "films", "--to", "1"),
        ("kill-job", "films", "job"),
    ],
)
def test_nobody_is_asked_where_nobody_can_answer(no_aws, words):
    assert "--yes" in refusal(*words)


def test_the_cap_is_enforced_before_anything_is_asked_of_ec2(no_aws):
    result = invoke("launch", "films", "--price", "m7i.large=1", "--hours", "10", "--cost-cap", "25", "--yes")
    assert "could cost $30" in str(result.exception)
    assert "worst case" in result.stderr
    assert not no_aws.exists()


def test_a_price_that_nobody_knows_does_not_pass_a_cap(no_aws):
    assert "is not known" in str(invoke("launch", "films", "--cost-cap", "25", "--yes").exception)


def test_the_worlds_network_needs_its_own_option():
    spec = machines.Machines(open_to_the_world=True).spec("films", Access())
    assert (spec.operator_cidr, spec.allow_world) == ("0.0.0.0/0", True)


def test_machines_become_a_description():
    options_given = {
        "spot_or_on_demand": True,
        "fallback_type": ["m6i.large"],
        "tag": ["a=b=c"],
        "subnet": ["subnet-1"],
    }
    spec = machines.Machines(**options_given).spec("films", Access(user="admin"))
    assert (spec.market, spec.fallback_types, spec.tags, spec.subnets, spec.user) == (
        "spot-or-on-demand",
        ("m6i.large",),
        {"a": "b=c"},
        ("subnet-1",),
        "admin",
    )


TODAY = "Access key ID,Secret access key\r\nAKIA1,s/e+c\r\n"
FORMER = "User name,Password,Access key ID,Secret access key,Console login link\r\nme,,AKIA1,s/e+c,https://x\r\n"


@pytest.mark.parametrize("text", [TODAY, FORMER, "\n" + TODAY])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_an_access_key_is_read_as_the_console_gives_it(tmp_path, text, encoding):
    file = tmp_path / "keys.csv"
    file.write_bytes(text.encode(encoding))
    assert read_access_key(file) == {"aws_access_key_id": "AKIA1", "aws_secret_access_key": "s/e+c"}


def test_the_session_takes_the_access_key_of_the_file(tmp_path):
    (tmp_path / "keys.csv").write_text(TODAY)
    found = Access(access_key_file=tmp_path / "keys.csv", region="eu-central-1").session()
    assert (found.get_credentials().access_key, found.region_name) == ("AKIA1", "eu-central-1")


@pytest.mark.parametrize("key", ["AKI A1,s/e+c", "AKI\tA1,s/e+c", "AKIA1,s/ e+c", "AKIA/1,s/e+c", "AKIÄ,s/e+c"])
def test_an_access_key_that_no_request_can_carry_is_refused(tmp_path, key):
    (tmp_path / "keys.csv").write_text(TODAY.replace("AKIA1,s/e+c", key))
    with pytest.raises(UsageError, match=r"keys\.csv: the '(Access key ID|Secret access key)' has a character"):
        read_access_key(tmp_path / "keys.csv")


@pytest.mark.parametrize("text", ["", "Access key ID,Secret access key\r\n", "a,b\n1,2\n", "Access key ID\nAKIA1\n"])
def test_a_file_without_an_access_key_is_refused_by_name(tmp_path, text):
    (tmp_path / "keys.csv").write_text(text)
    with pytest.raises(UsageError, match=r"keys\.csv has no '(Access key ID|Secret access key)'"):
        read_access_key(tmp_path / "keys.csv")


def test_what_is_not_there_is_described_without_making_a_secret(no_aws, monkeypatch):
    monkeypatch.setattr(cluster, "find_nodes", lambda *_, **__: [])
    nothing = {"name": "films", "state": "absent", "nodes": []}
    monkeypatch.setattr(cluster.lifecycle, "describe", lambda *_, connect: nothing if connect is None else {})
    assert json.loads(invoke("describe", "films", "--json").stdout)["state"] == "absent"
    assert not no_aws.exists()
