{{/*
Everything that one service needs. Takes `root`, `component`, `values` (its part of the values), `public` and
`internal` (its ports); a service without a public port is given none.
*/}}
{{- define "tidewire.service" }}
{{- $name := printf "%s-%s" (include "tidewire.fullname" .root) .component }}
{{- $labels := include "tidewire.labels" . }}
{{- $selector := include "tidewire.selector" . }}
{{- $values := .values }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicaCount }}
  {{- end }}
  revisionHistoryLimit: 5
  # A new pod serves, and has served for a while, before an old one goes.
  minReadySeconds: {{ $values.minReadySeconds }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels: {{- $selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $labels | nindent 8 }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # A change of the configuration rolls the pods.
        checksum/config: {{ printf "%s%s" (include "tidewire.toml" .root) .root.Values.model | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "tidewire.serviceAccount" .root }}
      automountServiceAccountToken: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      # The pause before SIGTERM, the drain, and room for a slow end.
      terminationGracePeriodSeconds: {{ add $values.preStopSeconds $values.drainWindowSeconds 15 }}
      securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 8 }}
      containers:
        - name: {{ .component }}
          image: {{ include "tidewire.image" .root | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          command: [{{ .component }}, --config, /etc/tidewire/tidewire.toml]
          {{- $env := list }}
          {{- if eq .component "gateway" }}
          {{- $env = append $env (dict "name" "TIDEWIRE__GATEWAY__DRAIN_WINDOW" "value" (printf "%ds" (int $values.drainWindowSeconds))) }}
          {{- end }}
          {{- if .root.Values.model }}
          {{- $env = append $env (dict "name" "TIDEWIRE__MODEL__FILE" "value" "/etc/tidewire/model.toml") }}
          {{- end }}
          {{- with concat $env $values.env }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $values.envFrom }}
          envFrom: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- if .public }}
            - {name: public, containerPort: {{ .public }}}
            {{- end }}
            - {name: internal, containerPort: {{ .internal }}}
          startupProbe:
            httpGet: {path: /health/startup, port: internal}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /health/live, port: internal}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /health/ready, port: internal}
            periodSeconds: 3
            timeoutSeconds: 2
            failureThreshold: 2
          lifecycle:
            preStop:
              # Until the endpoints are updated everywhere, new sockets still come.
              sleep: {seconds: {{ $values.preStopSeconds }}}
          resources: {{- toYaml $values.resources | nindent 12 }}
          securityContext: {{- toYaml .root.Values.securityContext | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/tidewire, readOnly: true}
            {{- if .root.Values.existingSecret }}
            - {name: secrets, mountPath: /run/secrets/tidewire, readOnly: true}
            {{- end }}
            {{- with $values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: config
          configMap: {name: {{ include "tidewire.fullname" .root }}}
        {{- with .root.Values.existingSecret }}
        - name: secrets
          secret: {secretName: {{ . }}, defaultMode: 0440}
        {{- end }}
        {{- with $values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      topologySpreadConstraints:
        {{- if $values.topologySpreadConstraints }}
        {{- toYaml $values.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- $selector | nindent 14 }}
        {{- end }}
        {{- end }}
      {{- with $values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
{{- if .public }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
  {{- with $values.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $values.service.type }}
  selector: {{- $selector | nindent 4 }}
  ports:
    - {name: http, port: {{ $values.service.port }}, targetPort: public}
{{- end }}
---
# Metrics, health and administration: never for the public.
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-internal
  labels:
    {{- $labels | nindent 4 }}
    tidewire/port: internal
  {{- with $values.internalService.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: ClusterIP
  selector: {{- $selector | nindent 4 }}
  ports:
    - {name: internal, port: {{ .internal }}, targetPort: internal}
{{- if $values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- $selector | nindent 6 }}
{{- end }}
{{- with $values.autoscaling }}
{{- if .enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $name }}}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    {{- if .targetCPU }}
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .targetCPU }}}}
    {{- end }}
    {{- if .targetMemory }}
    - type: Resource
      resource: {name: memory, target: {type: Utilization, averageUtilization: {{ .targetMemory }}}}
    {{- end }}
    {{- if .targetConnections }}
    - type: Pods
      pods:
        metric: {name: tidewire_connections}
        target: {type: AverageValue, averageValue: {{ .targetConnections | int64 | quote }}}
    {{- end }}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      policies:
        - {type: Percent, value: 100, periodSeconds: 60}
    scaleDown:
      stabilizationWindowSeconds: {{ .scaleDown.stabilizationWindowSeconds }}
      policies:
        - {type: Pods, value: {{ .scaleDown.pods }}, periodSeconds: {{ .scaleDown.periodSeconds }}}
{{- end }}
{{- end }}
{{- with $values.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .tls }}
  tls: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- $paths := .paths }}
    {{- range default (list "") .hosts }}
    -{{ with . }} host: {{ . | quote }}
     {{ end }} http:
        paths:
          {{- range $paths }}
          - path: {{ . }}
            pathType: Prefix
            backend: {service: {name: {{ $name }}, port: {name: http}}}
          {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- with $values.httpRoute }}
{{- if .enabled }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs: {{- toYaml .parentRefs | nindent 4 }}
  {{- with .hostnames }}
  hostnames: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - matches:
        {{- range .paths }}
        - path: {type: PathPrefix, value: {{ . }}}
        {{- end }}
      # 0s: an open socket is not a request that takes too long.
      timeouts: {request: 0s}
      backendRefs:
        - {name: {{ $name }}, port: {{ $values.service.port }}}
{{- end }}
{{- end }}
{{- $public := .public }}
{{- with .root.Values.networkPolicy }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- $selector | nindent 6 }}
  policyTypes: [Ingress{{ if .egress }}, Egress{{ end }}]
  {{- if or $public .internalFrom }}
  ingress:
    {{- if $public }}
    - ports: [{port: public}]
      {{- with .publicFrom }}
      from: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with .internalFrom }}
    - ports: [{port: internal}]
      from: {{- toYaml . | nindent 8 }}
    {{- end }}
  {{- end }}
  {{- with .egress }}
  egress: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- if .root.Values.serviceMonitor.enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ $name }}
  labels:
    {{- $labels | nindent 4 }}
    {{- with .root.Values.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- $selector | nindent 6 }}
      tidewire/port: internal
  endpoints:
    - port: internal
      path: /metrics
      interval: {{ .root.Values.serviceMonitor.interval }}
{{- end }}
{{- end }}
