{{- /* Where the distributor runs, if there is one: beside the provider, or apart. */ -}}
{{- define "keptn-remedy.hasSidecar" -}}
{{- if and (eq .Values.transport "distributor") (not .Values.distributor.separate) }}yes{{ end -}}
{{- end -}}

{{- /* What a provider without a distributor registers with Keptn. Empty with one. */ -}}
{{- define "keptn-remedy.registers" -}}
{{- if and (eq .Values.transport "polling") (not .Values.keptn.apiEndpoint) -}}
{{- fail "transport: polling needs keptn.apiEndpoint, https://HOST/api of Keptn" -}}
{{- end -}}
{{- if and (eq .Values.transport "nats") .Values.keptn.apiEndpoint -}}
{{- fail "keptn.apiEndpoint: with `transport: nats` Keptn is in this cluster; use `transport: polling`" -}}
{{- end -}}
{{- if has .Values.transport (list "nats" "polling") }}yes{{ end -}}
{{- end -}}

{{- define "keptn-remedy.hasSeparateDistributor" -}}
{{- if and .Values.distributor.separate (ne .Values.transport "distributor") -}}
{{- fail (printf "distributor.separate: with `transport: %s` there is no distributor" .Values.transport) -}}
{{- end -}}
{{- if .Values.distributor.separate }}yes{{ end -}}
{{- end -}}

{{- /* Keptn renamed its NATS in 0.14 (docs/keptn.md#k46). */ -}}
{{- define "keptn-remedy.pubsubUrl" -}}
{{- $tag := .Values.distributor.image.tag -}}
{{- $isOld := and (regexMatch "^v?[0-9]+\\.[0-9]+\\.[0-9]+" $tag) (semverCompare "<0.14.0-0" (regexFind "^v?[0-9]+\\.[0-9]+\\.[0-9]+" $tag | default "1.0.0")) -}}
{{- default (ternary "nats://keptn-nats-cluster" "nats://keptn-nats" $isOld) .Values.distributor.pubsubUrl -}}
{{- end -}}

{{- /* The projects, stages and services whose events the provider handles. */ -}}
{{- define "keptn-remedy.filters" -}}
{{- with .Values.distributor.filters }}
{{- include "keptn-remedy.variable" (list "PROJECT_FILTER" (join "," .projects)) }}
{{- include "keptn-remedy.variable" (list "STAGE_FILTER" (join "," .stages)) }}
{{- include "keptn-remedy.variable" (list "SERVICE_FILTER" (join "," .services)) }}
{{- end }}
{{- end -}}

{{- /* Event types. On a remote plane a distributor polls for triggered events only. */ -}}
{{- define "keptn-remedy.topics" -}}
{{- $topics := list -}}
{{- $wanted := .Values.distributor.subscribe -}}
{{- range $wanted.tasks -}}
{{- $topics = append $topics (printf "sh.keptn.event.%s.triggered" .) -}}
{{- end -}}
{{- $isRemote := not (empty .Values.keptn.apiEndpoint) -}}
{{- $sequences := list -}}
{{- if kindIs "slice" $wanted.sequenceEnds -}}
{{- $sequences = $wanted.sequenceEnds -}}
{{- else if $wanted.sequenceEnds -}}
{{- $sequences = list "*" -}}
{{- else if and (kindIs "invalid" $wanted.sequenceEnds) (not $isRemote) -}}
{{- $sequences = list "remediation" -}}
{{- end -}}
{{- $untold := false -}}
{{- range $wanted.events -}}
{{- $untold = or $untold (not (regexMatch "^sh\\.keptn\\.event\\.[^.*]+\\.triggered$" .)) -}}
{{- end -}}
{{- if and $isRemote (or $wanted.problems $sequences $untold) -}}
{{- fail "distributor.subscribe: with keptn.apiEndpoint the distributor receives only triggered events" -}}
{{- end -}}
{{- $undoes := include "keptn-remedy.undoesOnClosed" . -}}
{{- if or $wanted.problems (and (kindIs "invalid" $wanted.problems) $undoes (not $isRemote)) -}}
{{- $topics = append $topics "sh.keptn.events.problem" -}}
{{- end -}}
{{- range $sequences -}}
{{- $topics = append $topics (printf "sh.keptn.event.*.%s.finished" .) -}}
{{- end -}}
{{- join "," (concat $topics $wanted.events | uniq) -}}
{{- end -}}

{{- define "keptn-remedy.distributorEnvironment" -}}
{{- $d := .Values.distributor -}}
{{- if .Values.keptn.apiEndpoint }}
- name: KEPTN_API_ENDPOINT
  value: {{ include "keptn-remedy.apiEndpoint" . | quote }}
- name: KEPTN_API_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.keptn.apiTokenSecret.name }}
      key: {{ .Values.keptn.apiTokenSecret.key }}
- name: HTTP_SSL_VERIFY
  value: {{ .Values.keptn.verifyTls | quote }}
{{- else }}
- name: PUBSUB_URL
  value: {{ include "keptn-remedy.pubsubUrl" . | quote }}
{{- end }}
- name: PUBSUB_TOPIC
  value: {{ include "keptn-remedy.topics" . }}
- name: PUBSUB_RECIPIENT
  value: {{ ternary (include "keptn-remedy.fullname" .) "127.0.0.1" $d.separate | quote }}
- name: API_PROXY_PORT
  value: {{ $d.proxyPort | quote }}
{{- include "keptn-remedy.filters" . }}
- name: DISTRIBUTOR_VERSION
  value: {{ $d.image.tag | splitList "@" | first | quote }}
- name: VERSION
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['app.kubernetes.io/version']"}}
{{- include "keptn-remedy.registration" . }}
{{- end -}}

{{- /* What the Bridge shows of whoever registers. */ -}}
{{- define "keptn-remedy.registration" }}
- name: LOCATION
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['app.kubernetes.io/component']"}}
- name: K8S_DEPLOYMENT_NAME
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['app.kubernetes.io/name']"}}
- name: K8S_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: K8S_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: K8S_NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end -}}

{{- /* It has no probes: its ports are on loopback, and it exits if it can't register. */ -}}
{{- define "keptn-remedy.distributor" -}}
{{- $d := .Values.distributor -}}
name: distributor
image: {{ printf "%s:%s" $d.image.repository $d.image.tag }}
imagePullPolicy: {{ $d.image.pullPolicy }}
env: {{- include "keptn-remedy.withExtra" (list (include "keptn-remedy.distributorEnvironment" .) $d.extraEnv "distributor.extraEnv") | nindent 2 }}
resources: {{- toYaml $d.resources | nindent 2 }}
securityContext: {{- include "keptn-remedy.containerSecurity" $d.user | nindent 2 }}
{{- end -}}
