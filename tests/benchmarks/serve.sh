#!/bin/sh
# Start the server for a benchmark: serve.sh HOST PORT. ORDERGRAPH_PYTHON names the Python to use.
exec "${ORDERGRAPH_PYTHON:-python3}" -m graph serve --no-sample --host "$1" --port "$2"
