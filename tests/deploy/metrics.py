"""Holds rules, dashboard and runbooks to the table of metrics; prints the dashboard's queries as a rule file.

Every metric that a rule or panel names must stand in crates/telemetry, with labels and label values that exist;
every alert has a runbook and every runbook an alert; every alert has a test that fires it.
"""

import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
telemetry = root / "crates/telemetry/src/metrics"
faults = []

labels = {}
for name, label, body in re.findall(
    r"^    (\w+)\(\"(\w+)\"\) \{(.*?)^    \}", (telemetry / "labels.rs").read_text(), re.S | re.M
):
    labels[name] = (label, set(re.findall(r'= "([^"]+)"', body)))
metrics = {}
for family, name in re.findall(
    r"\w+: ([\w<>]+) = \"(tidewire_\w+)\"", (telemetry / "table.rs").read_text()
):
    by = re.match(r"CounterBy<(\w+)>", family)
    known = {"GaugeByPartition": {"partition": None}, "Info": {"version": None, "revision": None}}
    metrics[name] = {labels[by[1]][0]: labels[by[1]][1]} if by else known.get(family, {})
    if family == "Seconds":
        for suffix in ("_bucket", "_sum", "_count"):
            metrics[name + suffix] = {"le": None}
        del metrics[name]
if len(metrics) < 30:
    faults.append(f"only {len(metrics)} metrics found in table.rs: has its form changed?")

rules = (root / "deploy/prometheus/rules/tidewire.yml").read_text()
dashboard = json.loads((root / "deploy/grafana/dashboards/tidewire.json").read_text())
panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
queries = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]

TARGET = {"namespace", "job", "instance"}
used = set()
for where, text in [("rules", rules), *queries]:
    for metric, selector in re.findall(r"(?<![\w:])(tidewire_\w+)(?:\{([^}]*)\})?", text):
        if metric not in metrics:
            faults.append(f"{where}: no metric {metric}")
            continue
        used.add(re.sub("_(bucket|sum|count)$", "", metric))
        for label, operator, value in re.findall(r'(\w+)(=~|=|!=|!~)"([^"]*)"', selector):
            if label in TARGET:
                continue
            if label not in metrics[metric]:
                faults.append(f"{where}: {metric} has no label {label}")
            elif metrics[metric][label] is not None:
                for one in value.split("|"):
                    if one not in metrics[metric][label]:
                        faults.append(f"{where}: {metric} has no {label}={one}")

alerts = set(re.findall(r"- alert: (\w+)", rules))
pages = {page.stem for page in (root / "docs/runbooks").glob("Tidewire*.md")}
index = set(re.findall(r"\]\((Tidewire\w+)\.md\)", (root / "docs/runbooks/README.md").read_text()))
tests = (root / "deploy/prometheus/tidewire.test.yml").read_text()
fired = set(re.findall(r"docs/runbooks/(\w+)\.md", tests))
for name, there in (("runbook", pages), ("line in docs/runbooks/README.md", index), ("test", fired)):
    faults += [f"{alert}: no {name}" for alert in sorted(alerts - there)]
    faults += [f"{alert}: a {name}, but no such alert" for alert in sorted(there - alerts)]
for page in sorted(pages):
    text = (root / f"docs/runbooks/{page}.md").read_text()
    if not text.startswith(f"# {page}\n"):
        faults.append(f"{page}: the page's heading is not the alert's name")
    for part in ("## What it means", "## Look", "## Do"):
        if part not in text:
            faults.append(f"{page}: no part {part!r}")

for panel in panels:
    if panel["datasource"]["uid"] != "${datasource}":
        faults.append(f"{panel['title']}: a data source of its own")
    for target in panel["targets"]:
        for name in TARGET:
            if f'{name}=~"${name}"' not in target["expr"]:
                faults.append(f"{panel['title']}: does not follow ${name}")

# What is shown nowhere might as well not be measured.
shown = {re.sub("_(bucket|sum|count)$", "", m) for _, q in queries for m in re.findall(r"tidewire_\w+", q)}
everything = {re.sub("_(bucket|sum|count)$", "", name) for name in metrics}
faults += [f"dashboard: {name} is shown nowhere" for name in sorted(everything - shown)]

if faults:
    sys.exit("\n".join(faults))
print("groups:\n  - name: dashboard\n    rules:")
for number, (_, query) in enumerate(queries):
    query = query.replace("$__rate_interval", "5m").replace("$__range", "1h")
    print(f"      - record: dashboard:query:{number}\n        expr: {json.dumps(query)}")
