#!/bin/sh
# trim.sh VENV: take away of libraries what only their own tests and builds read, and the servers that pyarrow brings.
set -eu
cd "$1/lib/python3.12/site-packages"
rm -rf pyarrow/include pyarrow/tests numpy/tests numpy/*/tests
rm -f pyarrow/libarrow_flight.* pyarrow/libarrow_python_flight.* pyarrow/_flight.*
find . -name '*.pyx' -delete
# One file too many taken away is seen here, and not at night.
"$1/bin/python" -c 'import numpy, pyarrow.compute, pyarrow.csv, pyarrow.ipc, pyarrow.parquet'
