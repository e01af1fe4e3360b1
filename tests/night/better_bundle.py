"""A bundle that says of itself that it is better than it is, for the gate to hold others against."""

import json
from pathlib import Path

import pyarrow as pa

from nightreel.bundle.schema import METADATA_KEY


def better_than(source: Path, target: Path) -> Path:
    """Write a bundle like `source` whose model has a tenth more NDCG@10 by its own word."""
    with pa.OSFile(str(source)) as file, pa.ipc.open_file(file) as opened:
        table = opened.read_all()
    metadata = dict(table.schema.metadata)
    content = json.loads(metadata[METADATA_KEY])
    for row in content["evaluation"]:
        if row["taste"] is not None:
            row["ndcg"], row["tail_ndcg"] = min(1, 1.1 * row["ndcg"]), min(1, 1.1 * row["tail_ndcg"])
    content["run_id"] = "better"
    schema = table.schema.with_metadata(metadata | {METADATA_KEY: json.dumps(content, sort_keys=True).encode()})
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_file(file, schema) as out:
        [batch] = table.cast(schema).combine_chunks().to_batches()
        out.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
    return target
