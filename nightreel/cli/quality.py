"""How good a model is, as a table."""

from __future__ import annotations

from rich.table import Table

from nightreel.bundle.schema import BundleMetadata
from nightreel.cli.output import console
from nightreel.recommend.evaluation import quality_table


def show_quality(metadata: BundleMetadata) -> None:
    """Print a bundle's evaluation as a table, or that there is none."""
    if not metadata.evaluation:
        console.print("The model was not evaluated.")
        return
    header, *rows = quality_table(metadata.evaluation)
    table = Table(title="Three seeds of an unseen user: the rest of their likes among ten answers")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        "Familiar is there to foresee the rest of a list, which is mostly what everybody likes; balanced keeps most of "
        "that and does better in the long tail. Curious, where the site starts, and adventurous give some of it for "
        "films of the same kind and films that fewer people know."
    )
