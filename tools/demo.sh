#!/usr/bin/env bash
# Rehearses a pipeline with target/release/meshrun and says whose charts it renders.
#
#   demo.sh PIPELINE
#
# Charts: $MESHRUN_CHARTS, else their repositories where these answer, else the stand-ins of the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pipeline=$1
meshrun=${CARGO_TARGET_DIR:-target}/release/meshrun
MESHRUN_HELM=$(tests/lab/tools.sh helm)
export MESHRUN_HELM

# Asked with helm, because helm will pull: the same proxy, the same certificates. A machine without a network waits for
# the time limit at most.
answers() { timeout 10 "$MESHRUN_HELM" show chart "$1" --repo "$2" >/dev/null 2>&1; }

if [[ -n ${MESHRUN_CHARTS:-} ]]; then
    charts="from $MESHRUN_CHARTS"
elif answers base https://istio-release.storage.googleapis.com/charts &&
    answers kiali-server https://kiali.org/helm-charts; then
    charts="from their repositories"
else
    export MESHRUN_CHARTS=tests/fixtures/charts
    charts="stand-ins from $MESHRUN_CHARTS (no repository answers; MESHRUN_CHARTS names a directory with the real ones)"
fi

echo "helm:    $MESHRUN_HELM"
echo "charts:  $charts"
echo "\$ meshrun rehearse $pipeline"
echo
"$meshrun" rehearse "$pipeline"
cat <<EOF

Next:
  $meshrun graph $pipeline        the steps and what they need
  $meshrun plan $pipeline         what it would change on the cluster of your kubeconfig
  $meshrun $pipeline              do it
No cluster? \`make lab-up\` starts a real control plane on this machine.
EOF
