"""What a night makes, as Airflow's Assets: other DAGs can be scheduled on them and read what is said with them."""

from airflow.sdk import Asset

# No URI of their own: then `Asset("nightreel_…")` in another DAG is the same one, and Airflow need not load what all
# its providers know of URIs, boto3 among it, whenever a task starts.

RATINGS = Asset(name="nightreel_ratings")
"""The ratings that a night learns from; with it: run, as_of, folder, visitors, visitor_ratings."""

MATRIX = Asset(name="nightreel_published_matrix")
"""The model that the site serves; with it: run, sha256, movies, bytes, quality, estimate, cost."""

CLUSTER = Asset(name="nightreel_ended_cluster")
"""A cluster that is gone; with it: run, cluster, estimate, cost, machine seconds, what is left (zeros)."""
