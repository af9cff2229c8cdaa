{{- /* Whether problems come from alerts, without Keptn. */ -}}
{{- define "keptn-remedy.isStandalone" -}}
{{- if eq .Values.transport "standalone" -}}
{{- if not .Values.standalone.sources -}}
{{- fail "standalone.sources: `transport: standalone` needs sources, as docs/standalone.md has them" -}}
{{- end -}}
yes
{{- end -}}
{{- end -}}

{{- define "keptn-remedy.sourcesFolder" -}}/etc/keptn-remedy/sources{{- end -}}

{{- define "keptn-remedy.sourceSecretsFolder" -}}/etc/keptn-remedy/source-secrets{{- end -}}

{{- define "keptn-remedy.remediationsFolder" -}}/etc/keptn-remedy/remediations{{- end -}}

{{- define "keptn-remedy.standaloneVariables" -}}
{{- include "keptn-remedy.variable" (list "REMEDY_TRANSPORT" "standalone") }}
{{- include "keptn-remedy.variable" (list "REMEDY_SOURCES" (printf "%s/sources.yaml" (include "keptn-remedy.sourcesFolder" .))) }}
{{- include "keptn-remedy.variable" (list "REMEDY_REMEDIATIONS" (include "keptn-remedy.remediationsFolder" .)) }}
{{- include "keptn-remedy.variable" (list "REMEDY_INTAKE_HOST" "0.0.0.0") }}
{{- end -}}

{{- define "keptn-remedy.standaloneMounts" -}}
{{- if include "keptn-remedy.isStandalone" . }}
- name: sources
  mountPath: {{ include "keptn-remedy.sourcesFolder" . }}
  readOnly: true
- name: source-secrets
  mountPath: {{ include "keptn-remedy.sourceSecretsFolder" . }}
  readOnly: true
- name: remediations
  mountPath: {{ include "keptn-remedy.remediationsFolder" . }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "keptn-remedy.standaloneVolumes" -}}
{{- if include "keptn-remedy.isStandalone" . }}
# Both files are read again when they change; no restart is needed.
- name: sources
  configMap:
    name: {{ include "keptn-remedy.fullname" . }}-sources
    items: [{key: sources.yaml, path: sources.yaml}]
- name: remediations
  configMap:
    name: {{ include "keptn-remedy.fullname" . }}-sources
    items:
      {{- range $number, $path := keys .Values.standalone.remediations | sortAlpha }}
      - {key: {{ printf "file-%d" $number }}, path: {{ $path | quote }}}
      {{- end }}
# One Secret for each source.
- name: source-secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $source, $_ := .Values.standalone.sources.sources }}
      {{- $secret := required (printf "standalone.secrets.%s: the Secret of this source is missing" $source) (index $.Values.standalone.secrets $source) }}
      - secret:
          name: {{ $secret.name }}
          items: [{key: {{ default "secret" $secret.key }}, path: {{ $source }}}]
      {{- end }}
{{- end }}
{{- end -}}
