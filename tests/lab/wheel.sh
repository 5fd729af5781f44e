#!/bin/sh
# A wheel from a clean tree, installed where there is no node: JupyterLab finds all of it.
# Usage: wheel.sh PYTHON...
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q . "$work/tree"
"$1" -m venv "$work/build"
"$work/build/bin/python" -m pip wheel -qq --disable-pip-version-check --no-deps -w "$work" "$work/tree"
for python in "$@"; do
  echo "== $("$python" --version)"
  rm -rf "$work/venv"
  "$python" -m venv "$work/venv"
  "$work/venv/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt "$(echo "$work"/*.whl)[lab]"
  cd "$work"
  export JUPYTER_CONFIG_DIR="$work/config" JUPYTER_DATA_DIR="$work/data"
  venv/bin/jupyter labextension list 2>&1 | grep -E "pushpals.*enabled.*OK"
  venv/bin/jupyter server extension list 2>&1 | grep -E "pushpals.*OK"
  venv/bin/python -c "from pushpals import Console; print(Console())"
  cd - >/dev/null
done
