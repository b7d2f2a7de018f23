"""Judges the rendered chart: chart.py minimal|full RENDERED SCHEMA_VERSION."""

import json
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

WHICH, RENDERED, VERSION = sys.argv[1:]
root = Path(__file__).resolve().parents[2]
objects = [found for found in yaml.safe_load_all(Path(RENDERED).read_text()) if found]
values = yaml.safe_load((root / f"helm/tidewire/ci/{WHICH}-values.yaml").read_text())
CUSTOM = {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}


def check(what, got, expected):
    if got != expected:
        sys.exit(f"FAILED: chart, {WHICH}: {what}: got {got!r}, expected {expected!r}")


for found in objects:
    if found["kind"] not in CUSTOM:
        kubernetes_validate.validate(found, VERSION, strict=True)
by = {(found["kind"], found["metadata"]["name"]): found for found in objects}
check("names are unique", len(by), len(objects))
check("no Secret is made", [o for o in objects if o["kind"] == "Secret"], [])


def get(kind, name):
    if (kind, name) not in by:
        sys.exit(f"FAILED: chart, {WHICH}: no {kind} {name}")
    return by[kind, name]


# The file holds what was given, and only keys that exist.
config_map = get("ConfigMap", "t-tidewire")
config = tomllib.loads(config_map["data"]["tidewire.toml"])
check("configuration", config, values["config"])
defaults = tomllib.loads((root / "crates/config/defaults.toml").read_text())
OPEN = {("kafka", "properties"), ("kafka", "property_files"), ("rights", "read"), ("model", "self_base_urls")}


def known(part, allowed, path=()):
    for key, value in part.items():
        if path in OPEN:
            continue
        check(f"{'.'.join((*path, key))} is a setting", key in allowed, True)
        if isinstance(value, dict):
            known(value, allowed[key], (*path, key))


known(config, defaults)
known(tomllib.loads((root / "deploy/config/production.toml").read_text()), defaults)


def environment_is_known(names, where):
    for name in names:
        if name.startswith("TIDEWIRE__"):
            at = defaults
            for part in name.lower().split("__")[1:]:
                check(f"{where}: {name} is a setting", isinstance(at, dict) and part in at, True)
                at = at[part]


environment_is_known(yaml.safe_load((root / "docker-compose.yml").read_text())["x-environment"], "compose")

drain = {"gateway": values.get("gateway", {}).get("drainWindowSeconds", 20), "capture": 20, "alerts": 20}
for component, public, internal in (("gateway", 8080, 8081), ("capture", 8082, 8083), ("alerts", None, 8087)):
    name = f"t-tidewire-{component}"
    spec = get("Deployment", name)["spec"]
    scaled = values.get(component, {}).get("autoscaling", {}).get("enabled", False)
    check("replicas are left to the autoscaler", "replicas" in spec, not scaled)
    update = {"maxSurge": 1, "maxUnavailable": 0}
    check("rolling update", spec["strategy"], {"type": "RollingUpdate", "rollingUpdate": update})
    check("minReadySeconds", spec["minReadySeconds"], 30 if component == "gateway" else 10)
    labels = spec["template"]["metadata"]["labels"]
    selector = spec["selector"]["matchLabels"]
    check("the selector matches its pods", selector.items() <= labels.items(), True)
    check("checksum", len(spec["template"]["metadata"]["annotations"]["checksum/config"]), 64)
    pod = spec["template"]["spec"]
    pause = 1 if component == "alerts" else 5
    check("grace > pause + drain", pod["terminationGracePeriodSeconds"], pause + drain[component] + 15)
    check("no API token", pod["automountServiceAccountToken"], False)
    context = pod["securityContext"]
    check("non-root", (context["runAsNonRoot"], context["runAsUser"]), (True, 65532))
    check("seccomp", context["seccompProfile"], {"type": "RuntimeDefault"})
    check("spread", [s["topologyKey"] for s in pod["topologySpreadConstraints"]][0], "kubernetes.io/hostname")
    (container,) = pod["containers"]
    check("command", container["command"], [component, "--config", "/etc/tidewire/tidewire.toml"])
    check("hardened", container["securityContext"], {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    })
    ports = {"internal": internal} if public is None else {"public": public, "internal": internal}
    check("ports", {p["name"]: p["containerPort"] for p in container["ports"]}, ports)
    for probe, path in (("startupProbe", "startup"), ("livenessProbe", "live"), ("readinessProbe", "ready")):
        check(probe, container[probe]["httpGet"], {"path": f"/health/{path}", "port": "internal"})
    check("preStop", container["lifecycle"]["preStop"], {"sleep": {"seconds": pause}})
    environment = {e["name"]: e.get("value") for e in container.get("env", [])}
    environment_is_known(environment, component)
    if component == "gateway":
        check("drain window", environment["TIDEWIRE__GATEWAY__DRAIN_WINDOW"], f"{drain['gateway']}s")
    mounts = {m["name"] for m in container["volumeMounts"]}
    check("secrets only where one is named", "secrets" in mounts, "existingSecret" in values)
    check("volumes", mounts, {v["name"] for v in pod["volumes"]})
    services = [(f"{name}-internal", "internal")] + ([(name, "public")] if public else [])
    check("a public service only with a public port", ("Service", name) in by, public is not None)
    for service, port in services:
        found = get("Service", service)["spec"]
        check("service", (found["selector"], found["ports"][0]["targetPort"]), (selector, port))
    check("no public way to the internal port", get("Service", f"{name}-internal")["spec"]["type"], "ClusterIP")
    budget = get("PodDisruptionBudget", name)["spec"]
    check("budget", budget, {"maxUnavailable": 1, "selector": {"matchLabels": selector}})

pod = next(o for o in objects if o["kind"] == "Pod")
check("helm test", pod["metadata"]["annotations"]["helm.sh/hook"], "test")
check("helm test asks all", [c["command"][-1] for c in pod["spec"]["containers"]], [
    "http://t-tidewire-alerts-internal:8087/health/ready",
    "http://t-tidewire-capture-internal:8083/health/ready",
    "http://t-tidewire-gateway-internal:8081/health/ready",
])

optional = {"HorizontalPodAutoscaler", "Ingress", "HTTPRoute", "NetworkPolicy", "ServiceMonitor", "PrometheusRule"}
if WHICH == "minimal":
    check("what is optional", sorted({o["kind"] for o in objects} & optional), [])
else:
    check("what is optional", {o["kind"] for o in objects} & optional, optional)
    scaler = get("HorizontalPodAutoscaler", "t-tidewire-gateway")["spec"]
    kinds = [m.get("resource", m.get("pods", {}).get("metric"))["name"] for m in scaler["metrics"]]
    check("metrics", kinds, ["cpu", "memory", "tidewire_connections"])
    down = scaler["behavior"]["scaleDown"]
    check("slow down", (down["stabilizationWindowSeconds"], down["policies"][0]["value"]), (600, 1))
    ingress = get("Ingress", "t-tidewire-gateway")["spec"]
    check("hosts", [r["host"] for r in ingress["rules"]], ["events.example.com", "live.example.com"])
    policy = get("NetworkPolicy", "t-tidewire-gateway")["spec"]
    check("policy", policy["policyTypes"], ["Ingress", "Egress"])
    doors = [(rule["ports"], "from" in rule) for rule in policy["ingress"]]
    check("the internal port is not open to all", doors, [([{"port": "public"}], False), ([{"port": "internal"}], True)])
    policy = get("NetworkPolicy", "t-tidewire-alerts")["spec"]
    check("alerts are open to monitoring alone", [rule["ports"] for rule in policy["ingress"]], [[{"port": "internal"}]])
    monitor = get("ServiceMonitor", "t-tidewire-gateway")["spec"]
    internal = get("Service", "t-tidewire-gateway-internal")["metadata"]["labels"]
    public = get("Service", "t-tidewire-gateway")["metadata"]["labels"]
    wanted = monitor["selector"]["matchLabels"].items()
    check("only the internal service is scraped", (wanted <= internal.items(), wanted <= public.items()), (True, False))
    rules = yaml.safe_load((root / "deploy/prometheus/rules/tidewire.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                url = rule["annotations"]["runbook_url"]
                rule["annotations"]["runbook_url"] = f"https://git.example.com/tidewire/{url}"
    check("rules", get("PrometheusRule", "t-tidewire")["spec"], rules)
    board = json.loads(get("ConfigMap", "t-tidewire-dashboard")["data"]["tidewire.json"])
    check("dashboard", board["uid"], "tidewire")
    check("model", config_map["data"]["model.toml"], values["model"])
    image = get("Deployment", "t-tidewire-gateway")["spec"]["template"]["spec"]["containers"][0]["image"]
    check("a digest wins", image, "registry.example.com/tidewire@" + values["image"]["digest"])
