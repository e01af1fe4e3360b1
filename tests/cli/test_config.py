"""The configuration file."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nightreel.cli import config
from nightreel.cli.main import app
from nightreel.cli.output import UsageError

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "nightreel.example.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "nightreel.yaml"
        file.write_text(text)
        return file

    return write


def parsed(*words) -> dict:
    found = typer.main.get_command(app).commands["launch"]
    return found.make_context("launch", ["films", *map(str, words)]).params


def test_the_file_goes_before_the_default(write):
    values = parsed("--config", write("workers: 9\nspot: true\nhours: 2.5\nfallback-type: [a.b, c.d]"))
    assert (values["workers"], values["spot"], values["hours"], values["fallback_type"]) == (
        9,
        True,
        2.5,
        ["a.b", "c.d"],
    )


def test_the_command_line_goes_before_the_file(write):
    assert parsed("--config", write("workers: 9"), "--workers", "3")["workers"] == 3


def test_the_environment_goes_before_the_file(write, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_AMI", "ami-environment")
    assert parsed("--config", write("ami: ami-file"))["ami"] == "ami-environment"


def test_the_file_may_be_named_in_the_environment(write, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_CONFIG", str(write("workers: 9")))
    assert parsed()["workers"] == 9


def test_a_mapping_gives_pairs(write):
    values = parsed("--config", write("tag:\n  team: films\n  centre: 4711\nprice:\n  m7i.large: 0.1"))
    assert (values["tag"], values["price"]) == (["team=films", "centre=4711"], ["m7i.large=0.1"])


def test_former_names_and_underscores_are_understood(write):
    values = parsed("--config", write("slaves: 4\ninstance_type: c7i.large"))
    assert (values["workers"], values["instance_type"]) == (4, "c7i.large")


def test_paths_are_meant_from_the_folder_of_the_file(write, tmp_path):
    assert parsed("--config", write("user-data: prepare.sh"))["user_data"] == tmp_path / "prepare.sh"


def test_an_empty_file_says_nothing(write):
    assert config.read_config(write("# nothing yet\n")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker: 3", "no option 'worker' for a file; the nearest is 'workers'"),
        ("master_typ: a.b", "the nearest is 'master-type'"),
        ("nothing-like-it: 1", "no option 'nothing-like-it' for a file; there are access-key-file, ami,"),
        ("ship: /etc", "no option 'ship' for a file"),
        ("yes: true", "'yes' may not stand in a file"),
        ("assume-yes: true", "'assume-yes' may not stand in a file"),
        ("token: secret", "'token' may not stand in a file"),
        ("config: other.yaml", "'config' may not stand in a file"),
        ("workers: 3\nworkers: 4", "'workers' stands there twice"),
        ("tag: {team: a, team: b}", "'team' stands there twice"),
        ("tag: {team: null}", "tag team must be a text (put it in quotes), not None"),
        ("tag: {on: 1}", "tag has the key True, which is no text: put it in quotes"),
        ("tag: {version: 1.10}", "tag version must be a text (put it in quotes), not 1.1"),
        ("spark-version: 4.30", "spark-version must be a text (put it in quotes), not 4.3"),
        ("workers: many", "workers must be a whole number"),
        ("workers: true", "workers must be a whole number"),
        ("workers: 2.5", "workers must be a whole number"),
        ("hours: soon", "hours must be a number"),
        ("spot: 1", "spot must be true or false"),
        ("ami: [a, b]", "ami must be a text"),
        ("ami:", "ami must be a text"),
        ("workers: 3\nslaves: 4", "twice"),
        ("- workers", "holds no options"),
        ("workers: [", "is no YAML"),
    ],
)
def test_what_is_no_option_is_refused_by_name(write, text, said):
    with pytest.raises(UsageError, match=r"nightreel\.yaml") as error:
        config.read_config(write(text))
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_a_wrong_call(tmp_path):
    result = CliRunner().invoke(app, ["describe", "films", "--config", str(tmp_path / "none")])
    assert isinstance(result.exception, UsageError)


def test_the_example_is_understood():
    values = parsed("--config", EXAMPLE)
    assert (values["workers"], values["spot_or_on_demand"], values["cost_cap"]) == (4, True, 20)


def test_every_line_of_the_example_that_is_left_out_is_an_option(tmp_path):
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines() if line.startswith("# ")]
    optional = [line for line in lines if line.split(":")[0].replace("-", "").isalpha() and ": " in line]
    assert len(optional) >= 9
    (tmp_path / "all.yaml").write_text("\n".join(optional))
    assert len(config.read_config(tmp_path / "all.yaml")) == len(optional)
