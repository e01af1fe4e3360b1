"""`nightreel`: one command line for the cluster, the model, the sandbox and the demo."""

import logging
import os
import signal
import sys

import typer
from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError
from httpx import HTTPError
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from nightreel.bundle.errors import PublishError
from nightreel.cli import cluster, demo, model, sandbox, serve
from nightreel.cli.output import UsageError
from nightreel.cluster.errors import ClusterError
from nightreel.local.services import ServiceError
from nightreel.sandbox.settings import SandboxError

# Of errors of the way to AWS, what to do about them.
_REMEDIES: dict[type[Exception] | tuple[type[Exception], ...], str] = {
    (aws.NoCredentialsError, aws.PartialCredentialsError): "Give --access-key-file, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or a profile of AWS's",
    aws.NoRegionError: "Give --region, or set AWS_DEFAULT_REGION",
    (aws.ConnectionError, aws.HTTPClientError): "Check --region, AWS_ENDPOINT_URL if it is set, and the network",
    BotoCoreError: "Check the credentials and --region",
}
EXPECTED = (ClusterError, PublishError, SandboxError, ServiceError, BotoCoreError, HTTPError, ValueError, OSError)
"""What can go wrong for a reason that a sentence explains; anything else is a mistake of ours and shows its trace."""

app = typer.Typer(
    name="nightreel",
    help="A movie recommender that retrains itself every night on a Spark cluster that never leaks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cluster.register(app)
model.register(app)
demo.register(app)
serve.register(app)
app.add_typer(sandbox.app, name="sandbox")


def main() -> None:
    """Run the command line. What went wrong is said in a sentence, with exit code 1, or 2 when nothing was tried."""
    if sys.stderr.isatty():
        screen = RichHandler(console=Console(stderr=True), show_path=False, show_level=False)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[screen])
    else:  # a file is no screen: its lines are as long as they are
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for noisy in ("botocore", "boto3", "paramiko", "urllib3", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Ended politely, a command cleans up behind itself: `launch` its machines, `train` its Spark.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except EXPECTED as error:
        if os.environ.get("NIGHTREEL_DEBUG"):
            raise
        console = Console(stderr=True, soft_wrap=True)
        said = "\n".join([str(error), *getattr(error, "__notes__", ())])
        console.print(f"[bold red]nightreel:[/] {escape(said)}", highlight=False)
        if remedy := _remedy(error):
            console.print(f'{remedy}. For the sandbox: eval "$(nightreel sandbox env)"', markup=False, highlight=False)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def _remedy(error: BaseException) -> str | None:
    """What to do about an error of the way to AWS, which an error of ours may have taken the words of."""
    for one in (error, error.__cause__):
        for kinds, remedy in _REMEDIES.items():
            if isinstance(one, kinds):
                return remedy
    return None


if __name__ == "__main__":
    main()
