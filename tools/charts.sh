#!/usr/bin/env bash
# Pulls the charts that the tests know into a directory, from the repositories of Istio and Kiali.
#
#   charts.sh DIR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=$1
mkdir -p "$dir"
helm=$(tests/lab/tools.sh helm)

# pull REPOSITORY CHART VERSION...
pull() {
    local repository=$1 chart=$2 version
    shift 2
    for version in "$@"; do
        [[ -e $dir/$chart-$version.tgz ]] ||
            "$helm" pull "$chart" --repo "$repository" --version "$version" --destination "$dir"
    done
}

for chart in base istiod gateway; do
    pull https://istio-release.storage.googleapis.com/charts "$chart" 1.19.3 1.30.3
done
pull https://kiali.org/helm-charts kiali-server 1.74.0 2.29.0
