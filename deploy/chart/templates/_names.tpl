{{- define "keptn-remedy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $made := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full := default $made .Values.fullnameOverride | trunc 50 | trimAll "-" -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" $full) -}}
{{- fail (printf "%s can't be the name of a Service (RFC 1035): set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- /* Two names, because server-side apply can't change the kind of a volume. */ -}}
{{- define "keptn-remedy.journalVolume" -}}
{{- ternary "journal" "passing-journal" .Values.persistence.enabled -}}
{{- end -}}

{{- define "keptn-remedy.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "keptn-remedy.serviceAccount" -}}
{{- $sa := .Values.serviceAccount -}}
{{- if and (not (or $sa.create $sa.name)) .Values.rbac.create (include "keptn-remedy.clusterAccess" .) -}}
{{- fail "the Roles need a ServiceAccount of their own: set serviceAccount.name, or serviceAccount.create to true; otherwise they would be bound to `default`, which all pods without one share" -}}
{{- end -}}
{{- default (ternary (include "keptn-remedy.fullname" .) "default" $sa.create) $sa.name -}}
{{- end -}}

{{- define "keptn-remedy.location" -}}
{{- $plane := ternary "remote-execution-plane" "control-plane" (not (empty .Values.keptn.apiEndpoint)) -}}
{{- default $plane .Values.distributor.location -}}
{{- end -}}

{{- /* Takes (list . part). Both parts share one name, as Keptn's registration requires. */ -}}
{{- define "keptn-remedy.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "keptn-remedy.fullname" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
keptn-remedy/part: {{ index . 1 }}
{{- end -}}

{{- define "keptn-remedy.labels" -}}
{{- $root := index . 0 -}}
{{ include "keptn-remedy.selector" . }}
app.kubernetes.io/part-of: keptn
app.kubernetes.io/component: {{ include "keptn-remedy.location" $root }}
app.kubernetes.io/version: {{ include "keptn-remedy.version" $root | quote }}
{{- end -}}

{{- /* The tag as a label value: without a digest, and with a letter or digit at both ends. */ -}}
{{- define "keptn-remedy.version" -}}
{{- $tag := .Values.image.tag | splitList "@" | first | trunc 63 | trimAll "-_." -}}
{{- default .Chart.AppVersion $tag -}}
{{- end -}}

{{- /* Keptn's API as seen from outside its cluster, without a slash at the end. */ -}}
{{- define "keptn-remedy.apiEndpoint" -}}
{{- .Values.keptn.apiEndpoint | trimSuffix "/" -}}
{{- end -}}

{{- /* The Secret with Keptn's API token, where the provider reads it; with OAuth there may be none. */ -}}
{{- define "keptn-remedy.keptnSecret" -}}
{{- $name := .Values.keptn.apiTokenSecret.name -}}
{{- if eq .Values.transport "standalone" }}{{ $name = "" }}{{ else if not (or $name (eq .Values.transport "polling")) -}}
{{- fail "keptn.apiTokenSecret.name: only `transport: polling` does without a token, with OAuth" -}}
{{- end -}}
{{- if not (include "keptn-remedy.hasSidecar" .) }}{{ $name }}{{ end -}}
{{- end -}}

{{- /* The Secret with what NATS asks for, if there is one. */ -}}
{{- define "keptn-remedy.natsSecret" -}}
{{- if eq .Values.transport "nats" }}{{ .Values.nats.secret.name }}{{ end -}}
{{- end -}}

{{- /* Where the pod mounts its volumes. */ -}}
{{- define "keptn-remedy.unleashFolder" -}}/etc/keptn-remedy/unleash{{- end -}}
{{- define "keptn-remedy.flagsFolder" -}}/etc/keptn-remedy/flags{{- end -}}
{{- define "keptn-remedy.webhookFolder" -}}/etc/keptn-remedy/webhook{{- end -}}
{{- define "keptn-remedy.jobsFolder" -}}/etc/keptn-remedy/jobs{{- end -}}
{{- define "keptn-remedy.keptnFolder" -}}/etc/keptn-remedy/keptn{{- end -}}
{{- define "keptn-remedy.natsFolder" -}}/etc/keptn-remedy/nats{{- end -}}
{{- define "keptn-remedy.dropInsFolder" -}}/etc/keptn-remedy/actions{{- end -}}
{{- define "keptn-remedy.policyFolder" -}}/etc/keptn-remedy/policy{{- end -}}
{{- define "keptn-remedy.pauseFolder" -}}/etc/keptn-remedy/pause{{- end -}}
{{- define "keptn-remedy.operatorFolder" -}}/etc/keptn-remedy/operator{{- end -}}
{{- define "keptn-remedy.operatorsFolder" -}}/etc/keptn-remedy/operators{{- end -}}
{{- define "keptn-remedy.agentsFolder" -}}/etc/keptn-remedy/agents{{- end -}}
{{- define "keptn-remedy.hasPostgres" -}}{{- if .Values.postgres.secret.name }}true{{- end }}{{- end -}}

{{- define "keptn-remedy.postgresFolder" -}}/etc/keptn-remedy/postgres{{- end -}}

{{- define "keptn-remedy.journalFolder" -}}/var/lib/keptn-remedy{{- end -}}
