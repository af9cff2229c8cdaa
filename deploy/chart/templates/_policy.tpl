{{- /* The text of the policy for its ConfigMap; empty if there is none. */ -}}
{{- define "keptn-remedy.policy" -}}
{{- with .Values.policy -}}
{{- if not (kindIs "string" .) -}}{{- toYaml . -}}{{- else if trim . -}}{{- . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "keptn-remedy.policyConfigMap" -}}
{{- if include "keptn-remedy.policy" . -}}
{{- if .Values.policyConfigMap -}}{{- fail "policy and policyConfigMap exclude each other" -}}{{- end -}}
{{- include "keptn-remedy.fullname" . -}}-policy
{{- else -}}
{{- .Values.policyConfigMap -}}
{{- end -}}
{{- end -}}

{{- define "keptn-remedy.pauseConfigMap" -}}
{{- default (printf "%s-pause" (include "keptn-remedy.fullname" .)) .Values.pause.configMap -}}
{{- end -}}

{{- /* Whether a rule undoes changes when the problem closes. */ -}}
{{- define "keptn-remedy.undoesOnClosed" -}}
{{- $found := "" -}}
{{- with include "keptn-remedy.policy" . -}}
{{- $policy := fromYaml . -}}
{{- with $policy.Error -}}{{- fail (printf "policy: %s; `remedy policy check` says more" .) -}}{{- end -}}
{{- range (kindIs "slice" $policy.rules | ternary $policy.rules list) -}}
{{- $undo := (kindIs "map" . | ternary . dict).undo -}}
{{- if kindIs "map" $undo -}}
{{- if eq (toString $undo.on_closed) "true" -}}{{- $found = "true" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}
