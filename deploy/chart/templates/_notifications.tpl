{{- /* The channels file; empty if there are no channels. */ -}}
{{- define "keptn-remedy.channels" -}}
{{- with .Values.notifications.channels -}}
{{- toYaml (dict "version" 1 "channels" .) -}}
{{- end -}}
{{- end -}}

{{- define "keptn-remedy.channelsFolder" -}}/etc/keptn-remedy/channels{{- end -}}

{{- define "keptn-remedy.channelSecretsFolder" -}}/etc/keptn-remedy/channel-secrets{{- end -}}

{{- define "keptn-remedy.notificationVariables" -}}
{{- if include "keptn-remedy.channels" . }}
{{- include "keptn-remedy.variable" (list "REMEDY_CHANNELS" (printf "%s/channels.yaml" (include "keptn-remedy.channelsFolder" .))) }}
{{- include "keptn-remedy.variable" (list "REMEDY_NOTIFY" (join "," .Values.notifications.notify)) }}
{{- end }}
{{- include "keptn-remedy.variable" (list "REMEDY_PAGE_URL" .Values.notifications.pageUrl) }}
{{- end -}}
