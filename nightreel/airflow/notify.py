"""Tell somebody: always in the log, and by webhook or e-mail where the operator made a connection for it."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import httpx
from airflow.sdk import BaseHook, BaseNotifier, Context
from airflow.sdk.exceptions import AirflowNotFoundException

CONNECTION = "nightreel_notify"
"""An HTTP connection is a webhook; an SMTP one sends mail to the addresses in its extra's `to`."""

log = logging.getLogger(__name__)


def tell(subject: str, facts: Mapping[str, Any]) -> str:
    """Say it in the log and by the connection; by which way it went: `log`, `webhook` or `e-mail`.

    That nobody can be told fails nothing.
    """
    text = "\n".join([subject, *(f"{key}: {value}" for key, value in facts.items() if value)])
    log.warning("%s", text)
    try:
        return _send(subject, text, facts)
    except AirflowNotFoundException:
        return "log"
    except Exception:
        log.exception("nobody could be told by the connection %s", CONNECTION)
        return "log"


def _send(subject: str, text: str, facts: Mapping[str, Any]) -> str:
    connection = BaseHook.get_connection(CONNECTION)
    if connection.conn_type == "smtp":
        from airflow.providers.smtp.hooks.smtp import SmtpHook

        with SmtpHook(smtp_conn_id=CONNECTION) as mail:
            mail.send_email_smtp(to=connection.extra_dejson["to"], subject=subject, html_content=f"<pre>{text}</pre>")
        return "e-mail"
    port = f":{connection.port}" if connection.port else ""
    url = f"{connection.schema or 'https'}://{connection.host}{port}{connection.extra_dejson.get('path', '/')}"
    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    body = {"text": text, "subject": subject, **{key: str(value) for key, value in facts.items()}}
    httpx.post(url, json=body, headers=headers, timeout=20, trust_env=False).raise_for_status()
    return "webhook"


class RunFailed(BaseNotifier):
    """Tells of a red run."""

    def notify(self, context: Context) -> None:
        """Say which run, and why Airflow holds it for failed."""
        dag = context["dag"].dag_id
        tell(f"{dag}: the run {context['run_id']} failed", {"reason": context.get("reason")})


class GateRefused(BaseNotifier):
    """Tells of a model that the gate refused."""

    def notify(self, context: Context) -> None:
        """Say which run, and the gate's sentence."""
        dag = context["dag"].dag_id
        tell(
            f"{dag}: the model of {context['run_id']} is not published; the site goes on with the one it has",
            {"reason": context.get("exception")},
        )


async def deadline_missed(context: Any = None, **kwargs: Any) -> None:
    """Tells of a run that has not ended by the time that the operator set; Airflow calls it in the triggerer."""
    run = (context or {}).get("dag_run", {})
    due = (context or {}).get("deadline", {}).get("deadline_time")
    facts = {"state": run.get("state"), "due": due}
    subject = f"{run.get('dag_id')}: the run {run.get('dag_run_id')} has published nothing by its deadline"
    await asyncio.to_thread(tell, subject, facts)
