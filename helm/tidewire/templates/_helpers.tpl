{{- define "tidewire.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "tidewire.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tidewire.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tidewire.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "tidewire.selector" -}}
app.kubernetes.io/name: {{ include "tidewire.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of everything; `component` may be missing. */}}
{{- define "tidewire.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "tidewire.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: tidewire
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "tidewire.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tidewire.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "tidewire.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* A value as TOML. Numbers of values files are floats: whole ones are written without a point. */}}
{{- define "tidewire.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{ range $index, $key := keys . | sortAlpha }}{{ if $index }}, {{ end }}{{ $key | toJson }} = {{ include "tidewire.tomlValue" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "tidewire.tomlValue" $item }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ . | toJson }}
{{- else if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* The file that all services read: keys without a section first, as TOML wants it. */}}
{{- define "tidewire.toml" -}}
{{- range $key := keys .Values.config | sortAlpha }}
{{- $value := get $.Values.config $key }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ include "tidewire.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $section := keys .Values.config | sortAlpha }}
{{- $value := get $.Values.config $section }}
{{- if kindIs "map" $value }}

[{{ $section }}]
{{- range $key := keys $value | sortAlpha }}
{{ $key }} = {{ include "tidewire.tomlValue" (get $value $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What would only show once pods crash. */}}
{{- define "tidewire.check" -}}
{{- $config := .Values.config -}}
{{- if hasKey (default dict $config.gateway) "drain_window" }}{{ fail "config.gateway.drain_window: set gateway.drainWindowSeconds instead, so that the grace period follows it" }}{{ end -}}
{{- range $section := list "http" "internal" }}
{{- if hasKey (default dict (get $config $section)) "listen" }}{{ fail (printf "config.%s.listen: ports are the chart's (gateway 8080 and 8081, capture 8082 and 8083, alerts 8087)" $section) }}{{ end -}}
{{- end }}
{{- if and .Values.model (default dict $config.model).file }}{{ fail "config.model.file: the chart sets it when `model` is given" }}{{ end -}}
{{- end }}
