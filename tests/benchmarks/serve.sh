#!/bin/sh
# Start the server for a benchmark: serve.sh HOST PORT. BENCHMARK_PYTHON names the Python to use.
exec "${BENCHMARK_PYTHON:-python3}" -m graph serve --no-sample --host "$1" --port "$2"
