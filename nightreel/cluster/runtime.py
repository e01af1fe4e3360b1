"""What must be on a node before Spark can run on it, and where it comes from when the image lacks it."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

ROOT = PurePosixPath("nightreel")
"""Everything of ours lies below this folder of the login's home."""
SPARK_VERSION = "4.3.0"
"""The Spark of requirements/spark.txt."""
_REMOTE = ("http", "https", "s3")
# Shells and Spark's own scripts read it on the node: no blank, no quote, no step upwards.
_PLACE = re.compile(r"~?(/(?!\.{1,2}(/|$))[A-Za-z0-9._+@-]+)+")
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Java, Python and Spark as a node should have them: an image brings them, or they are installed.

    Raises ValueError, naming the field, when a value can not work.
    """

    spark_version: str = SPARK_VERSION
    spark_home: str = "~/spark"
    """Where Spark lies on the node (`--remote-spark-home`)."""
    python: str = "~/spark-python"
    """A Python on the node that has `modules`; PySpark itself may lie below `spark_home` alone."""
    wheelhouse: Path | None = None
    """A local folder of wheels: NumPy and PyArrow, and PySpark where Spark does not come from `spark_source`."""
    spark_source: str | None = None
    """A Spark tarball: an http(s) address, which each node fetches with curl; an s3:// address, which it fetches with
    the aws command; or a path of this machine. `{v}` in it becomes the version."""
    spark_sha512: str | None = None
    spark_sha256: str | None = None
    """The tarball's checksum, in hexadecimal digits: one of the two is needed for what nodes fetch by themselves."""
    java_major: int = 17
    """The oldest Java that will do, and the one that is installed when there is none."""
    python_version: str = "3.12"
    """The Python that is installed; the wheels are for it."""
    python_modules: tuple[str, ...] | None = None
    """Modules that `python` must have besides PySpark; None: see `modules`."""
    install: bool = True
    """Install what is missing; else a node that lacks something is refused."""

    def __post_init__(self) -> None:
        for name, digits in (("spark_sha512", 128), ("spark_sha256", 64)):
            value = getattr(self, name)
            if value is not None and not (len(value) == digits and _HEX.fullmatch(value)):
                raise ValueError(f"{name} must be {digits} hexadecimal digits")
        if not _PLACE.fullmatch(self.spark_home):
            raise ValueError(
                f"spark_home must be a path such as /opt/spark or ~/spark, of letters, digits and . _ + @ - alone, not "
                f"{self.spark_home!r}"
            )
        if not re.fullmatch(r"\d+\.\d+", self.python_version):
            raise ValueError(f"python_version must be like 3.12, not {self.python_version!r}")
        if self.source is not None:
            self._check_source(self.source)

    def _check_source(self, source: str) -> None:
        scheme = urlsplit(source).scheme
        if scheme in _REMOTE and self.checksum is None:
            raise ValueError(
                f"spark_source {source} needs spark_sha512, or nobody would notice another file in its "
                f"place; Apache publishes it beside the tarball, at {source}.sha512"
            )
        if "://" in source and scheme not in _REMOTE:
            raise ValueError(f"spark_source {source} can not be fetched: give an https, http or s3 address or a path")
        if "://" not in source and not Path(source).expanduser().is_file():
            raise ValueError(f"spark_source {source} is no file of this machine")

    @property
    def source(self) -> str | None:
        """`spark_source` for this version."""
        return None if self.spark_source is None else self.spark_source.replace("{v}", self.spark_version)

    @property
    def local_source(self) -> Path | None:
        """The tarball when it lies on this machine."""
        return Path(self.source).expanduser() if self.source and "://" not in self.source else None

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The node's command that checks the tarball, and what it has to say."""
        if self.spark_sha512:
            return "sha512sum", self.spark_sha512.lower()
        if self.spark_sha256:
            return "sha256sum", self.spark_sha256.lower()
        return None

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that `python` must have besides PySpark.

        A tarball brings PySpark but neither NumPy nor PyArrow: without wheels for them they are not asked for, and
        MLlib, pandas and Arrow functions do not work, while the rest of PySpark does.
        """
        if self.python_modules is not None:
            return self.python_modules
        return () if self.spark_source and not self.wheelhouse else ("numpy", "pyarrow")
