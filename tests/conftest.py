"""What every test stands on: no settings of the machine's user reach the code under test."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

# A shell that starts the tests in the background lets them ignore SIGINT, and whatever they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Airflow and Django read the environment when they are imported, which is before any fixture runs.
_HOME = Path(tempfile.mkdtemp(prefix="nightreel-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "AWS_", "NIGHTREEL_SITE_", "NIGHTREEL_SSH"))]:
    del os.environ[name]
os.environ |= {
    "COLUMNS": "200",  # tables are as wide as they like, wherever the tests run
    "AIRFLOW_HOME": str(_HOME / "airflow"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[1] / "dags"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME / 'airflow.db'}",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "AIRFLOW_VAR_NIGHTREEL_SETTINGS": "",
    "NIGHTREEL_SITE_DATA": str(_HOME / "site"),
    "XDG_CONFIG_HOME": str(_HOME / "config"),
    "XDG_STATE_HOME": str(_HOME / "state"),
}
(_HOME / "site").mkdir()
