{{- /* A variable, or nothing if its value is empty. Takes (list name value). */ -}}
{{- define "keptn-remedy.variable" -}}
{{- if and (not (kindIs "invalid" (index . 1))) (ne (toString (index . 1)) "") }}
- name: {{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{- end }}
{{- end -}}

{{- /* Variables and extra ones, none of them twice. Takes (list variables extra where). */ -}}
{{- define "keptn-remedy.withExtra" -}}
{{- $ours := index . 0 | trim -}}
{{- $where := index . 2 -}}
{{- $names := list -}}
{{- range fromYamlArray $ours -}}{{- $names = append $names .name -}}{{- end -}}
{{- range index . 1 -}}
{{- if or (has .name $names) (regexMatch "^(REMEDY_(ACTIONS|CHANNELS|DRAIN_SECONDS|EVENT_URL|HOST|INTAKE_HOST|INTAKE_PORT|JOURNAL|NOTIFY|OPERATORS_FILE|OPERATOR_TOKEN_FILE|OPS_HOST|OPS_PORT|PAGE_URL|PAUSE_FILE|POLICY|PORT|REMEDIATIONS|SOURCES|TRANSPORT)|(PROJECT|STAGE|SERVICE)_FILTER)(_FILE)?$" .name) -}}
{{- fail (printf "%s: %s is set by the chart, or listed twice" $where .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{ $ours }}
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.unleashVariables" -}}
{{- $folder := include "keptn-remedy.unleashFolder" . -}}
{{- with .Values.unleash }}
{{- include "keptn-remedy.variable" (list "UNLEASH_URL" .url) }}
{{- if .secret.name }}
{{- include "keptn-remedy.variable" (list "UNLEASH_API_TOKEN_FILE" (printf "%s/api-token" $folder)) }}
{{- if .secret.clientTokenKey }}
{{- include "keptn-remedy.variable" (list "UNLEASH_CLIENT_TOKEN_FILE" (printf "%s/client-token" $folder)) }}
{{- end }}
{{- if and .secret.urlKey (not .url) }}
{{- include "keptn-remedy.variable" (list "UNLEASH_URL_FILE" (printf "%s/url" $folder)) }}
{{- end }}
{{- end }}
{{- include "keptn-remedy.variable" (list "UNLEASH_PROJECT" .project) }}
{{- include "keptn-remedy.variable" (list "UNLEASH_ENVIRONMENT" .environment) }}
{{- include "keptn-remedy.variable" (list "UNLEASH_ON_WITHOUT_STRATEGY" .onWithoutStrategy) }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.flagsVariables" -}}
{{- range $name, $value := .Values.flags.settings }}
{{- include "keptn-remedy.variable" (list $name $value) }}
{{- end }}
{{- if include "keptn-remedy.flagsSecret" . }}
{{- range $name, $key := .Values.flags.secret.keys }}
{{- include "keptn-remedy.variable" (list (printf "%s_FILE" $name) (printf "%s/%s" (include "keptn-remedy.flagsFolder" $) $name)) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.kubernetesVariables" -}}
{{- with .Values.kubernetes }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_NAMESPACE_TEMPLATE" .namespaceTemplate) }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_WORKLOAD_TEMPLATE" .workloadTemplate) }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_MAX_REPLICAS" .maxReplicas) }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_ALLOW_ZERO" .allowZero) }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_OWNER_POLICY" .ownerPolicy) }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_SETTLE_SECONDS" .settleSeconds) }}
{{- include "keptn-remedy.variable" (list "KUBERNETES_RELEASE_FIELDS" .releaseFields) }}
{{- end }}
{{- end -}}

{{- /* Where reports go: to the sidecar, or else to Keptn's API, because a distributor in another pod
listens on its own loopback only. */ -}}
{{- define "keptn-remedy.keptnVariables" -}}
{{- if include "keptn-remedy.hasSidecar" . }}
{{- include "keptn-remedy.variable" (list "REMEDY_EVENT_URL" (printf "http://localhost:%v/event" .Values.distributor.proxyPort)) }}
{{- else }}
{{- $api := default (trimSuffix "/" .Values.keptn.gateway) (include "keptn-remedy.apiEndpoint" .) }}
{{- if include "keptn-remedy.hasSeparateDistributor" . }}
{{- include "keptn-remedy.variable" (list "REMEDY_HOST" "0.0.0.0") }}
{{- include "keptn-remedy.variable" (list "REMEDY_EVENT_URL" (printf "%s/v1/event" $api)) }}
{{- else if include "keptn-remedy.registers" . }}
{{- include "keptn-remedy.variable" (list "REMEDY_TRANSPORT" .Values.transport) }}
{{- include "keptn-remedy.registration" . }}
{{- end }}
{{- if eq .Values.transport "polling" }}
{{- include "keptn-remedy.variable" (list "KEPTN_API_ENDPOINT" $api) }}
{{- include "keptn-remedy.variable" (list "HTTP_SSL_VERIFY" .Values.keptn.verifyTls) }}
{{- else }}
{{- if eq .Values.transport "nats" }}
{{- include "keptn-remedy.variable" (list "PUBSUB_URL" (include "keptn-remedy.pubsubUrl" .)) }}
{{- include "keptn-remedy.natsVariables" . }}
{{- end }}
{{- if not (hasKey .Values.settings "REMEDY_KEPTN_API") }}
{{- include "keptn-remedy.variable" (list "REMEDY_KEPTN_API" $api) }}
{{- end }}
{{- end }}
{{- if include "keptn-remedy.keptnSecret" . }}
{{- include "keptn-remedy.variable" (list "KEPTN_API_TOKEN_FILE" (printf "%s/api-token" (include "keptn-remedy.keptnFolder" .))) }}
{{- end }}
{{- if and (include "keptn-remedy.hasSeparateDistributor" .) (not (hasKey .Values.settings "REMEDY_ERROR_LOG")) }}
{{- /* Log entries have no effect in Keptn's API; only distributors forward them. */ -}}
{{- include "keptn-remedy.variable" (list "REMEDY_ERROR_LOG" "never") }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.natsVariables" -}}
{{- include "keptn-remedy.variable" (list "REMEDY_NATS_STREAM" .Values.nats.stream) }}
{{- include "keptn-remedy.variable" (list "REMEDY_NATS_QUEUE" .Values.nats.queue) }}
{{- include "keptn-remedy.variable" (list "REMEDY_NATS_USER" .Values.nats.user) }}
{{- if include "keptn-remedy.natsSecret" . }}
{{- range $what := list "password" "token" "nkey" "credentials" "ca" }}
{{- if index $.Values.nats.secret (printf "%sKey" $what) }}
{{- include "keptn-remedy.variable" (list (printf "REMEDY_NATS_%s_FILE" (upper $what)) (printf "%s/%s" (include "keptn-remedy.natsFolder" $) $what)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.environment" -}}
{{- include "keptn-remedy.variable" (list "REMEDY_ACTIONS" (include "keptn-remedy.actions" .)) }}
{{- $aliases := list -}}
{{- range $name, $action := .Values.aliases -}}{{- $aliases = append $aliases (printf "%s=%s" $name $action) -}}{{- end -}}
{{- include "keptn-remedy.variable" (list "REMEDY_ALIASES" (join "," $aliases)) }}
{{- include "keptn-remedy.variable" (list "REMEDY_OPS_HOST" "0.0.0.0") }}
{{- if include "keptn-remedy.hasPostgres" . }}
{{- include "keptn-remedy.variable" (list "REMEDY_JOURNAL_FILE" (printf "%s/url" (include "keptn-remedy.postgresFolder" .))) }}
{{- if .Values.postgres.secret.passwordKey }}
{{- include "keptn-remedy.variable" (list "REMEDY_JOURNAL_PASSWORD_FILE" (printf "%s/password" (include "keptn-remedy.postgresFolder" .))) }}
{{- end }}
{{- else }}
{{- include "keptn-remedy.variable" (list "REMEDY_JOURNAL" (printf "%s/journal.db" (include "keptn-remedy.journalFolder" .))) }}
{{- end }}
{{- include "keptn-remedy.variable" (list "REMEDY_DRAIN_SECONDS" .Values.drainSeconds) }}
{{- if include "keptn-remedy.isStandalone" . }}
{{- include "keptn-remedy.standaloneVariables" . }}
{{- else }}
{{- include "keptn-remedy.keptnVariables" . }}
{{- end }}
{{- include "keptn-remedy.filters" . }}
{{- if include "keptn-remedy.policyConfigMap" . }}
{{- include "keptn-remedy.variable" (list "REMEDY_POLICY" (printf "%s/policy.yaml" (include "keptn-remedy.policyFolder" .))) }}
{{- end }}
{{- include "keptn-remedy.variable" (list "REMEDY_PAUSE_FILE" (printf "%s/pause" (include "keptn-remedy.pauseFolder" .))) }}
{{- include "keptn-remedy.notificationVariables" . }}
{{- if .Values.operator.tokenSecret.name }}
{{- include "keptn-remedy.variable" (list "REMEDY_OPERATOR_TOKEN_FILE" (printf "%s/token" (include "keptn-remedy.operatorFolder" .))) }}
{{- end }}
{{- if .Values.operator.operatorsSecret.name }}
{{- include "keptn-remedy.variable" (list "REMEDY_OPERATORS_FILE" (printf "%s/operators.yaml" (include "keptn-remedy.operatorsFolder" .))) }}
{{- end }}
{{- if .Values.operator.agentTokenSecret.name }}
{{- include "keptn-remedy.variable" (list "REMEDY_AGENT_TOKEN_FILE" (printf "%s/token" (include "keptn-remedy.agentsFolder" .))) }}
{{- end }}
{{- if .Values.dropIns.configMap }}
{{- include "keptn-remedy.variable" (list "REMEDY_ACTIONS_DIR" (include "keptn-remedy.dropInsFolder" .)) }}
{{- end }}
{{- if index .Values.actions "toggle-feature" }}
{{- include "keptn-remedy.unleashVariables" . }}
{{- include "keptn-remedy.flagsVariables" . }}
{{- end }}
{{- if .Values.actions.evict }}
{{- include "keptn-remedy.variable" (list "EVICT_MOST_PODS" .Values.evict.mostPods) }}
{{- end }}
{{- if .Values.actions.resize }}
{{- include "keptn-remedy.variable" (list "RESIZE_MOST_CPU" .Values.resize.mostCpu) }}
{{- include "keptn-remedy.variable" (list "RESIZE_MOST_MEMORY" .Values.resize.mostMemory) }}
{{- include "keptn-remedy.variable" (list "RESIZE_STEP_CPU" .Values.resize.stepCpu) }}
{{- include "keptn-remedy.variable" (list "RESIZE_STEP_MEMORY" .Values.resize.stepMemory) }}
{{- include "keptn-remedy.variable" (list "RESIZE_TEMPLATES" .Values.resize.templates) }}
{{- end }}
{{- if index .Values.actions "pause-rollout" }}
{{- include "keptn-remedy.variable" (list "PAUSE_ROLLOUT_KINDS" (join "," .Values.pauseRollout.kinds)) }}
{{- end }}
{{- if .Values.actions.argocd }}
{{- include "keptn-remedy.variable" (list "ARGOCD_NAMESPACE" .Values.argocd.namespace) }}
{{- include "keptn-remedy.variable" (list "ARGOCD_APPLICATION_TEMPLATE" .Values.argocd.applicationTemplate) }}
{{- include "keptn-remedy.variable" (list "ARGOCD_PRUNE" .Values.argocd.prune) }}
{{- end }}
{{- if include "keptn-remedy.nodeAccess" . }}
{{- include "keptn-remedy.variable" (list "DRAIN_MOST_NODES" .Values.drain.mostNodes) }}
{{- include "keptn-remedy.variable" (list "DRAIN_MOST_PODS" .Values.drain.mostPods) }}
{{- include "keptn-remedy.variable" (list "DRAIN_NODE_TEMPLATE" .Values.drain.nodeTemplate) }}
{{- end }}
{{- if index .Values.actions "run-job" }}
{{- include "keptn-remedy.variable" (list "RUN_JOB_IMAGES" (join "," .Values.runJob.images)) }}
{{- include "keptn-remedy.variable" (list "RUN_JOB_NAMESPACE" .Values.runJob.namespace) }}
{{- include "keptn-remedy.variable" (list "RUN_JOB_SECONDS" .Values.runJob.seconds) }}
{{- if .Values.runJob.templates }}
{{- include "keptn-remedy.variable" (list "RUN_JOB_TEMPLATES" (include "keptn-remedy.jobsFolder" .)) }}
{{- end }}
{{- end }}
{{- if .Values.actions.wait }}
{{- include "keptn-remedy.variable" (list "WAIT_LONGEST" .Values.wait.longest) }}
{{- end }}
{{- if .Values.actions.webhook }}
{{- include "keptn-remedy.variable" (list "WEBHOOK_HOSTS" (join "," .Values.webhook.hosts)) }}
{{- include "keptn-remedy.variable" (list "WEBHOOK_LOOPBACK_HOSTS" (join "," .Values.webhook.loopbackHosts)) }}
{{- $pairs := list }}
{{- range $secret, $hosts := .Values.webhook.secretHosts }}
{{- range $hosts }}{{ $pairs = append $pairs (printf "%s=%s" $secret .) }}{{ end }}
{{- end }}
{{- if $pairs }}
{{- include "keptn-remedy.variable" (list "WEBHOOK_SECRET_HOSTS" (join "," $pairs)) }}
{{- end }}
{{- if .Values.webhook.secrets }}
{{- include "keptn-remedy.variable" (list "WEBHOOK_SECRETS_DIR" (include "keptn-remedy.webhookFolder" .)) }}
{{- end }}
{{- end }}
{{- if include "keptn-remedy.clusterActions" . }}
{{- include "keptn-remedy.kubernetesVariables" . }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- include "keptn-remedy.variable" (list $name $value) }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.mounts" -}}
{{- if include "keptn-remedy.hasPostgres" . }}
- name: postgres
  mountPath: {{ include "keptn-remedy.postgresFolder" . }}
  readOnly: true
{{- else }}
- name: {{ include "keptn-remedy.journalVolume" . }}
  mountPath: {{ include "keptn-remedy.journalFolder" . }}
{{- end }}
- name: tmp
  mountPath: /tmp
{{- include "keptn-remedy.standaloneMounts" . }}
{{- if include "keptn-remedy.channels" . }}
- name: channels
  mountPath: {{ include "keptn-remedy.channelsFolder" . }}
  readOnly: true
{{- if .Values.notifications.secret }}
- name: channel-secrets
  mountPath: {{ include "keptn-remedy.channelSecretsFolder" . }}
  readOnly: true
{{- end }}
{{- end }}
{{- if include "keptn-remedy.policyConfigMap" . }}
- name: policy
  mountPath: {{ include "keptn-remedy.policyFolder" . }}
  readOnly: true
{{- end }}
- name: pause
  mountPath: {{ include "keptn-remedy.pauseFolder" . }}
  readOnly: true
{{- if .Values.operator.tokenSecret.name }}
- name: operator
  mountPath: {{ include "keptn-remedy.operatorFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.operator.operatorsSecret.name }}
- name: operators
  mountPath: {{ include "keptn-remedy.operatorsFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.operator.agentTokenSecret.name }}
- name: agents
  mountPath: {{ include "keptn-remedy.agentsFolder" . }}
  readOnly: true
{{- end }}
{{- if include "keptn-remedy.clusterAccess" . }}
- name: api-server
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- if include "keptn-remedy.flagsSecret" . }}
- name: flags
  mountPath: {{ include "keptn-remedy.flagsFolder" . }}
  readOnly: true
{{- end }}
{{- if include "keptn-remedy.unleashSecret" . }}
- name: unleash
  mountPath: {{ include "keptn-remedy.unleashFolder" . }}
  readOnly: true
{{- end }}
{{- if and (index .Values.actions "run-job") .Values.runJob.templates }}
- name: jobs
  mountPath: {{ include "keptn-remedy.jobsFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.actions.webhook }}
{{- range $number, $name := .Values.webhook.secrets }}
- name: webhook-{{ $number }}
  mountPath: {{ include "keptn-remedy.webhookFolder" $ }}/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- if include "keptn-remedy.keptnSecret" . }}
- name: keptn
  mountPath: {{ include "keptn-remedy.keptnFolder" . }}
  readOnly: true
{{- end }}
{{- if include "keptn-remedy.natsSecret" . }}
- name: nats
  mountPath: {{ include "keptn-remedy.natsFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.dropIns.configMap }}
- name: drop-ins
  mountPath: {{ include "keptn-remedy.dropInsFolder" . }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* What a distributor needs: one that is not there loses events. Empty without one. */ -}}
{{- define "keptn-remedy.lifecycle" -}}
{{- if eq .Values.transport "distributor" -}}
postStart:
  exec:
    command:
      - python
      - -c
      - | {{- .Files.Get "files/wait_for_event_port.py" | trim | nindent 8 }}
      - "8080"
      - {{ .Values.startupSeconds | quote }}
{{- if include "keptn-remedy.hasSeparateDistributor" . }}
# SIGTERM comes after this, when the Service no longer routes here.
{{- else }}
# SIGTERM comes after this, when the distributor has left. Until then its events are accepted.
{{- end }}
preStop:
  exec:
    command: [sleep, {{ .Values.preStopSeconds | quote }}]
{{- end -}}
{{- end -}}

{{- define "keptn-remedy.provider" -}}
name: keptn-remedy
image: {{ include "keptn-remedy.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  {{- if include "keptn-remedy.hasSeparateDistributor" . }}
  - {name: events, containerPort: 8080}
  {{- end }}
  - {name: ops, containerPort: 8090}
  {{- if include "keptn-remedy.isStandalone" . }}
  - {name: intake, containerPort: 8070}
  {{- end }}
env: {{- include "keptn-remedy.withExtra" (list (include "keptn-remedy.environment" .) .Values.extraEnv "extraEnv") | nindent 2 }}
volumeMounts: {{- include "keptn-remedy.mounts" . | trim | nindent 2 }}
{{- with include "keptn-remedy.lifecycle" . | trim }}
lifecycle: {{- . | nindent 2 }}
{{- end }}
startupProbe:
  httpGet: {path: /healthz, port: ops}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add (ceil .Values.startupSeconds) 1) 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: ops}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: ops}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- include "keptn-remedy.containerSecurity" .Values.user | nindent 2 }}
{{- end -}}
