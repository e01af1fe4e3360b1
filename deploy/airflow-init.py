#!/opt/venv/bin/python
"""Bring Airflow's database up to this release, and let it have what the stack decides: the login, and where EC2 is.

Run once before Airflow's parts start; running it again changes nothing but what was changed around it.
"""

import json
import os
import subprocess
from pathlib import Path

from airflow.models.connection import Connection
from airflow.models.variable import Variable
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.utils.session import create_session
from sqlalchemy import select

LOGIN = os.environ.get("NIGHTREEL_AIRFLOW_LOGIN", "operator")
PASSWORD_FILE = Path("/run/secrets/airflow_password")
SANDBOX = "the sandbox of this stack"
"""By this description a connection is known as one that was made here, and may be taken away here."""
CONNECTION = "nightreel_aws"
IMAGE = "nightreel_ami"


def set_login() -> None:
    """Let the administrator of the name LOGIN have the password of the secret; no process list ever shows it."""
    password = PASSWORD_FILE.read_text().strip()
    with get_application_builder() as builder:
        manager = builder.sm
        user = manager.find_user(username=LOGIN)
        if user is None:
            role = manager.find_role("Admin")
            manager.add_user(LOGIN, LOGIN, "Nightreel", f"{LOGIN}@localhost", role, password)
        else:
            manager.reset_password(user.id, password)


def point_at(endpoint: str, image: str) -> None:
    """Let `nightreel_aws` be the sandbox at this endpoint; "" takes that away, and leaves one of the operator's be."""
    with create_session() as session:
        there = session.scalar(select(Connection).where(Connection.conn_id == CONNECTION))
        if there is not None and there.description == SANDBOX:
            session.delete(there)
            session.flush()
            Variable.delete(IMAGE, session=session)
            there = None
        if not endpoint:
            return
        if there is not None:
            raise SystemExit(f"the connection {CONNECTION} is yours: rename it, or leave the profile `sandbox` away")
        found = Connection(conn_id=CONNECTION, conn_type="aws", description=SANDBOX, login="sandbox")
        found.set_password(os.urandom(20).hex())  # it takes any
        found.set_extra(json.dumps({"endpoint_url": endpoint, "region_name": "us-east-1"}))
        session.add(found)
        Variable.set(IMAGE, image, session=session)


def main() -> None:
    """Migrate, then set what the environment asks for."""
    endpoint = os.environ.get("NIGHTREEL_SANDBOX_ENDPOINT", "")
    if not endpoint:
        subprocess.run(["airflow", "db", "migrate"], check=True)
        set_login()
    point_at(endpoint, os.environ.get("NIGHTREEL_SANDBOX_IMAGE", ""))


if __name__ == "__main__":
    main()
