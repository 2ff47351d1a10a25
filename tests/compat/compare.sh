#!/usr/bin/env bash
# Runs the command lines of commands.txt against the API server of a kubeconfig (its current context), records what it
# says, runs them against the lab, and writes docs/compatibility.md. The namespace `compat` and the definition
# widgets.example.org are made and deleted there; nothing else is touched.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# = 1 ] || { echo "usage: $0 KUBECONFIG" >&2; exit 2; }
EGRESS_SCN_COMPAT_REAL=$(realpath "$1") EGRESS_SCN_COMPAT_WRITE=1 cargo test --locked --test compat -- --nocapture
