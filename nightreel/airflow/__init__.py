"""Thin Airflow operators, the job trigger and the rules of retrying: each calls one thing below."""
