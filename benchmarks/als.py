"""What each setting that MLlib leaves to us is worth in ALS, and how far MLlib then is from implicit.

    python -m benchmarks.als --likes 1000000 [--variants blocks,blas,...] [--native FOLDER] [--implicit PYTHON]

Ratings are generated. Every variant is a JVM of its own, which fits one round to warm up and then the measured ones.
Wall time says what a user waits; processor time is compared, since other load on the machine lengthens it less.
`--native` is a folder with libblas.so.3 and liblapack.so.3; `--implicit` a Python that has requirements-implicit.txt.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import machine, table
from nightreel.recommend.generated import World, write_world

HERE = Path(__file__).parent
SHARE_OF_LIKES = 0.44


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One thing that is different from the first variant."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    conf: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Measure and print a Markdown table."""
    options = parse()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or generate(Path(scratch) / "world", likes=options.likes)
        base = {"data": str(data / "ratings.parquet"), "rank": options.rank, "iterations": options.iterations}
        measured = [(variant.name, measure(variant, base)) for variant in variants(options, Path(scratch))]
        measured += peers(options, base)
    first = measured[0][1]
    rows = [
        [name, took["wall"], took["processor"], f"{first['processor'] / took['processor']:.2f}", took.get("blas", "")]
        for name, took in measured
    ]
    print(f"\n{first['likes']:,} likes, rank {options.rank}, {options.iterations} iterations\n")
    print(table(["variant", "wall s", "processor s", "times as fast as the first", "BLAS"], rows))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--likes", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="a generated folder to use instead of a new one")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--memory", default="2g")
    parser.add_argument("--blocks", type=int, default=4, help="blocks of the variants that do not change them")
    parser.add_argument("--variants", default="", help="parts of names, comma-separated")
    parser.add_argument("--native", type=Path)
    parser.add_argument("--implicit", type=Path)
    return parser.parse_args()


def generate(folder: Path, *, likes: int) -> Path:
    """Generate about so many likes."""
    world = World.like_movielens(round(likes / SHARE_OF_LIKES), users=None, movies=None, seed=7)
    for _ in write_world(world, folder, form="parquet"):
        pass
    return folder


def variants(options: argparse.Namespace, scratch: Path) -> Iterator[Variant]:
    """All variants that were asked for."""
    wanted = [part.strip() for part in options.variants.split(",") if part.strip()]
    memory = {"spark.driver.memory": options.memory}
    blocks = {"blocks": options.blocks}
    libraries = {"LD_LIBRARY_PATH": str(options.native), "OPENBLAS_NUM_THREADS": "1"}
    kryo = {"spark.serializer": "org.apache.spark.serializer.KryoSerializer"}
    found = [
        Variant(name="MLlib's defaults (10 blocks)", settings={"blocks": 10}),
        Variant(name="4 blocks", settings={"blocks": 4}),
        *([Variant(name="BLAS: native", settings=blocks, environment=libraries)] if options.native else []),
        Variant(name="BLAS: plain Java", settings=blocks, environment=plain_java(scratch)),
        Variant(name="Kryo", settings=blocks, conf=kryo),
        Variant(name="parallel collector", settings=blocks, conf=java_options("-XX:+UseParallelGC")),
        Variant(name="2 blocks", settings={"blocks": 2}),
        Variant(name="20 blocks", settings={"blocks": 20}),
        Variant(name="storage MEMORY_ONLY", settings=blocks | {"level": "MEMORY_ONLY"}),
        Variant(name="storage DISK_ONLY", settings=blocks | {"level": "DISK_ONLY"}),
        Variant(name="input by user", settings=blocks | {"order": "by user"}),
        Variant(name="input in random order", settings=blocks | {"order": "random"}),
    ]
    for variant in found:
        if not wanted or any(part in variant.name for part in wanted):
            yield Variant(
                name=variant.name,
                settings=variant.settings,
                conf=memory | variant.conf,
                environment=variant.environment,
            )


def java_options(text: str) -> dict[str, str]:
    """Options of the JVM that does the work, which here is the driver's."""
    return {"spark.driver.extraJavaOptions": text}


def plain_java(scratch: Path) -> dict[str, str]:
    """A Java that drops the vector module, which Spark's launcher always asks for."""
    real = shutil.which("java") or "java"
    home = scratch / "java" / "bin"
    home.mkdir(parents=True, exist_ok=True)
    script = home / "java"
    script.write_text(
        "#!/bin/bash\nkept=()\n"
        'for word in "$@"; do [[ $word == --add-modules=jdk.incubator.vector ]] || kept+=("$word"); done\n'
        f'exec {real} "${{kept[@]}}"\n'
    )
    script.chmod(0o755)
    return {"JAVA_HOME": str(home.parent)}


def measure(variant: Variant, base: dict[str, Any]) -> dict[str, Any]:
    """Run one variant in a JVM of its own."""
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[*]"]
    conf = {"spark.ui.enabled": "false", "spark.log.level": "ERROR", **variant.conf}
    command += [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    command += [str(HERE / "als_fit.py"), json.dumps(base | variant.settings)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable, "PATH": path}
    return result(command, os.environ | own | variant.environment, variant.name)


def peers(options: argparse.Namespace, base: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The library implicit on the same likes."""
    if not options.implicit:
        return []
    found = []
    for solver in ("conjugate gradient", "Cholesky"):
        command = [str(options.implicit), str(HERE / "implicit_fit.py"), json.dumps(base | {"solver": solver})]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        found.append((f"implicit, {solver}", result(command, environment, solver)))
    return found


def result(command: list[str], environment: dict[str, str], name: str) -> dict[str, Any]:
    """What a process measured of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        sys.exit(f"{name} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    took: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    print(f"{name}: wall {took['wall']:.1f} s, processor {took['processor']:.1f} s", flush=True)
    return took


if __name__ == "__main__":
    main()
