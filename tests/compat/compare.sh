#!/usr/bin/env bash
# Has a real control plane answer the command lines of commands.txt, records what it says, has the lab answer them too,
# and writes docs/compatibility.md.
#
#   tests/compat/compare.sh [KUBECONFIG]
#
# Without KUBECONFIG: kube-apiserver, etcd, kube-controller-manager and istiod under a lab's node agent (tests/real/build,
# cached). With it: the cluster of its current context, which must have Istio; the namespace `compat`, the definition
# widgets.example.org and Istio objects in `mesh-test` are made and deleted there.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -le 1 ] || { echo "usage: $0 [KUBECONFIG]" >&2; exit 2; }
parts=$(tests/real/build)
export PATH=$parts:$PATH
work=$(mktemp -d)
trap 'XDG_RUNTIME_DIR=$work target/debug/egress-scn lab down --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
if [ $# = 1 ]; then
  kubeconfig=$(realpath "$1")
else
  kubeconfig=$work/kubeconfig
  cargo build --locked
  XDG_RUNTIME_DIR=$work target/debug/egress-scn lab up --detach --kubeconfig "$kubeconfig" --istiod "$parts/pilot-discovery" \
    --kube-apiserver "$parts/kube-apiserver" --etcd "$parts/etcd" \
    --kube-controller-manager "$parts/kube-controller-manager" --istio-crds "$parts/istio-crds.yaml"
fi
EGRESS_SCN_COMPAT_REAL=$kubeconfig EGRESS_SCN_COMPAT_WRITE=1 cargo test --locked --test compat -- --nocapture
