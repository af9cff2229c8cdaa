{{- /* Takes the user's id. */ -}}
{{- define "keptn-remedy.containerSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "keptn-remedy.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "keptn-remedy.gracePeriod" -}}
{{- $preStop := ternary (ceil .Values.preStopSeconds) 0.0 (eq .Values.transport "distributor") -}}
{{- add $preStop (ceil .Values.drainSeconds) 5 -}}
{{- end -}}

{{- define "keptn-remedy.volumes" -}}
{{- if include "keptn-remedy.hasPostgres" . }}
{{- with .Values.postgres.secret }}
- name: postgres
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - {key: {{ .urlKey }}, path: url}
      {{- if .passwordKey }}
      - {key: {{ .passwordKey }}, path: password}
      {{- end }}
{{- end }}
{{- else }}
- name: {{ include "keptn-remedy.journalVolume" . }}
  {{- if not .Values.persistence.enabled }}
  # The journal is lost with the pod, and with it every report that was not sent yet.
  emptyDir: {sizeLimit: {{ .Values.persistence.size }}}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-journal" (include "keptn-remedy.fullname" .)) .Values.persistence.existingClaim }}
  {{- end }}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- include "keptn-remedy.standaloneVolumes" . }}
{{- with include "keptn-remedy.policyConfigMap" . }}
- name: policy
  configMap:
    name: {{ . }}
    items: [{key: policy.yaml, path: policy.yaml}]
{{- end }}
{{- if include "keptn-remedy.channels" . }}
- name: channels
  configMap:
    name: {{ include "keptn-remedy.fullname" . }}-channels
{{- with .Values.notifications.secret }}
- name: channel-secrets
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
# Create this ConfigMap, with the key `pause`, to stop all actions.
- name: pause
  configMap:
    name: {{ include "keptn-remedy.pauseConfigMap" . }}
    optional: true
{{- with .Values.operator.tokenSecret }}
{{- if .name }}
# The pod's fsGroup may read it, too.
- name: operator
  secret:
    secretName: {{ .name }}
    defaultMode: 0400
    items: [{key: {{ .key }}, path: token}]
{{- end }}
{{- end }}
{{- with .Values.operator.operatorsSecret }}
{{- if .name }}
- name: operators
  secret:
    secretName: {{ .name }}
    defaultMode: 0400
    items: [{key: {{ .key }}, path: operators.yaml}]
{{- end }}
{{- end }}
{{- with .Values.operator.agentTokenSecret }}
{{- if .name }}
- name: agents
  secret:
    secretName: {{ .name }}
    defaultMode: 0400
    items: [{key: {{ .key }}, path: token}]
{{- end }}
{{- end }}
{{- if include "keptn-remedy.clusterAccess" . }}
# Access to the API server, as Kubernetes itself would mount it, but for the provider alone.
- name: api-server
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}
{{- if include "keptn-remedy.flagsSecret" . }}
- name: flags
  secret:
    secretName: {{ .Values.flags.secret.name }}
    defaultMode: 0440
    items:
      {{- range $name, $key := .Values.flags.secret.keys }}
      - {key: {{ $key }}, path: {{ $name }}}
      {{- end }}
{{- end }}
{{- if include "keptn-remedy.unleashSecret" . }}
{{- with .Values.unleash.secret }}
- name: unleash
  secret:
    secretName: {{ .name }}
    optional: {{ .optional }}
    defaultMode: 0440
    items:
      - {key: {{ .tokenKey }}, path: api-token}
      {{- with .clientTokenKey }}
      - {key: {{ . }}, path: client-token}
      {{- end }}
      {{- if and .urlKey (not $.Values.unleash.url) }}
      - {key: {{ .urlKey }}, path: url}
      {{- end }}
{{- end }}
{{- end }}
{{- if and (index .Values.actions "run-job") .Values.runJob.templates }}
- name: jobs
  configMap: {name: {{ .Values.runJob.templates }}}
{{- end }}
{{- if .Values.actions.webhook }}
{{- range $number, $name := .Values.webhook.secrets }}
- name: webhook-{{ $number }}
  secret: {secretName: {{ $name }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with include "keptn-remedy.keptnSecret" . }}
- name: keptn
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ $.Values.keptn.apiTokenSecret.key }}, path: api-token}]
{{- end }}
{{- with include "keptn-remedy.natsSecret" . }}
- name: nats
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      {{- range $what := list "password" "token" "nkey" "credentials" "ca" }}
      {{- with index $.Values.nats.secret (printf "%sKey" $what) }}
      - {key: {{ . }}, path: {{ $what }}}
      {{- end }}
      {{- end }}
{{- end }}
{{- with .Values.dropIns.configMap }}
- name: drop-ins
  configMap: {name: {{ . }}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
