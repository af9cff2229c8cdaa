{{- define "keptn-remedy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Two names, as server-side apply can't turn a volume of one kind into one of another. */ -}}
{{- define "keptn-remedy.journalVolume" -}}
{{- ternary "journal" "passing-journal" .Values.persistence.enabled -}}
{{- end -}}

{{- define "keptn-remedy.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "keptn-remedy.serviceAccount" -}}
{{- $made := ternary (include "keptn-remedy.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{- define "keptn-remedy.location" -}}
{{- $plane := ternary "remote-execution-plane" "control-plane" (not (empty .Values.keptn.apiEndpoint)) -}}
{{- default $plane .Values.distributor.location -}}
{{- end -}}

{{- /* Takes (list . part): both parts are named alike, as the registration in Keptn asks for. */ -}}
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
app.kubernetes.io/version: {{ default $root.Chart.AppVersion $root.Values.image.tag | trunc 63 | quote }}
{{- end -}}

{{- /* The secret's keys as files of fixed names. */ -}}
{{- define "keptn-remedy.unleashFolder" -}}/etc/keptn-remedy/unleash{{- end -}}
{{- define "keptn-remedy.keptnFolder" -}}/etc/keptn-remedy/keptn{{- end -}}
{{- define "keptn-remedy.dropInsFolder" -}}/etc/keptn-remedy/actions{{- end -}}
{{- define "keptn-remedy.journalFolder" -}}/var/lib/keptn-remedy{{- end -}}
