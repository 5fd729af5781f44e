#!/bin/sh
# The flows of tests/lab in other versions of Jupyter, each in an environment of its own that is kept.
# PUSHPALS_PICTURES=FOLDER keeps pictures; EVENTS is the length of the history that comes through the kernel.
set -eu
python=${BIN:-.venv/bin}/python
into=.lab-versions

environment() {  # name, what to install
  [ -x "$into/$1/bin/jupyter" ] && return
  "$python" -m venv "$into/$1"
  "$into/$1/bin/python" -m pip install -qq --disable-pip-version-check "$2" -e '.[widget]'
}

flows() {  # name, app, more variables
  name=$1 app=$2
  shift 2
  echo "== $name"
  env "$@" PUSHPALS_LAB_PYTHON="$PWD/$into/$name/bin/python" PUSHPALS_LAB_APP="$app" \
    PUSHPALS_LAB_EVENTS="${EVENTS:-10000}" PYTHONPATH="$PWD" \
    "$python" -m pytest tests/lab/test_lab.py -q -p no:cacheprovider -p no:xdist --timeout 300
}

environment lab-4.2 'jupyterlab==4.2.*'
environment notebook-7 'notebook>=7.5,<8'
# JupyterLab 4.2 has no subshells: what is sent waits for the cell, and the widget says so.
flows lab-4.2 lab PUSHPALS_LAB_NO_SUBSHELLS=1
flows notebook-7 notebook
