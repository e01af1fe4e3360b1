#!/bin/sh
# trim.sh VENV: take away of libraries what only their own tests and builds read, and the servers that pyarrow brings.
set -eu
cd "$1/lib/python3.12/site-packages"
rm -rf pyarrow/include pyarrow/tests numpy/tests numpy/*/tests
rm -f pyarrow/libarrow_flight.* pyarrow/libarrow_python_flight.* pyarrow/_flight.* \
  pyarrow/libarrow_substrait.* pyarrow/_substrait.*
find . -name '*.pyx' -delete
