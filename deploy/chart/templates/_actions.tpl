{{- /* The enabled actions, separated by commas. An empty REMEDY_ACTIONS would enable all. */ -}}
{{- define "keptn-remedy.actions" -}}
{{- $on := list -}}
{{- range $name, $wanted := .Values.actions -}}
{{- if $wanted -}}{{- $on = append $on $name -}}{{- end -}}
{{- end -}}
{{- range .Values.extraActions -}}
{{- $spelled := lower . | replace "-" "" | replace "_" "" -}}
{{- if has $spelled (list "togglefeature" "featuretoggle" "scale" "scaling" "scalereplicas" "increment" "rollback" "rolloutundo" "undorollout" "restart" "rolloutrestart" "restartpods" "webhook" "http" "callurl" "generic" "wait" "waitfor" "sleep" "runjob" "job" "jobexecutor" "evict" "evictpods" "drainnode" "drain" "uncordon" "uncordonnode" "resize" "resizepods" "verticalscale" "pauserollout" "rolloutpause" "pausedeployment" "argocd" "argocdapplication") -}}
{{- fail (printf "extraActions: %s is built in: switch it on in actions, which also gives it its rights" .) -}}
{{- end -}}
{{- $on = append $on . -}}
{{- end -}}
{{- if not $on -}}{{- fail "switch on an action: actions or extraActions" -}}{{- end -}}
{{- join "," $on -}}
{{- end -}}

{{- /* Whether a cluster action is enabled. Booleans of helpers are "true" and "". */ -}}
{{- define "keptn-remedy.clusterActions" -}}
{{- with .Values.actions -}}
{{- if or .scale .rollback .restart .evict .uncordon .resize .argocd (index . "run-job") (index . "drain-node") (index . "pause-rollout") -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Whether flags are in FeatureFlag resources of the cluster. */ -}}
{{- define "keptn-remedy.featureFlags" -}}
{{- if and (index .Values.actions "toggle-feature") (hasKey .Values.flags.settings "OPENFEATURE_FLAGS") -}}true{{- end -}}
{{- end -}}

{{- /* Whether anything in the pod talks to the API server. */ -}}
{{- define "keptn-remedy.clusterAccess" -}}
{{- if or (include "keptn-remedy.clusterActions" .) (include "keptn-remedy.featureFlags" .) .Values.rbac.extraRules -}}true{{- end -}}
{{- end -}}

{{- /* Whether an enabled action needs a Role in the target namespaces. */ -}}
{{- define "keptn-remedy.namespacedAccess" -}}
{{- with .Values.actions -}}
{{- if or .scale .rollback .restart .evict .resize (index . "run-job") (index . "pause-rollout") (include "keptn-remedy.featureFlags" $) $.Values.rbac.extraRules -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Whether an enabled action acts on nodes, which belong to no namespace. */ -}}
{{- define "keptn-remedy.nodeAccess" -}}
{{- with .Values.actions -}}
{{- if or .uncordon (index . "drain-node") -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Whether an action uses the Unleash Secret. */ -}}
{{- define "keptn-remedy.unleashSecret" -}}
{{- if and (index .Values.actions "toggle-feature") .Values.unleash.secret.name -}}true{{- end -}}
{{- end -}}

{{- /* Whether an action uses the Secret of another store of flags. */ -}}
{{- define "keptn-remedy.flagsSecret" -}}
{{- if and (index .Values.actions "toggle-feature") .Values.flags.secret.name -}}true{{- end -}}
{{- end -}}

{{- /* The rights that the enabled actions need in a namespace, and no more. */ -}}
{{- define "keptn-remedy.rules" -}}
{{- $on := .Values.actions -}}
{{- $rbac := .Values.rbac -}}
{{- $changesTemplates := or $on.rollback $on.restart (and $on.resize .Values.resize.templates) -}}
{{- $looks := or $on.scale $on.rollback $on.restart $on.evict $on.resize -}}
{{- if $looks }}
- apiGroups: [apps]
  resources: [deployments, statefulsets{{ if or $changesTemplates $on.evict $on.resize }}, daemonsets{{ end }}]
  verbs: [get, list{{ if $changesTemplates }}, patch{{ end }}]
- apiGroups: [""]
  resources: [pods]
  verbs: [list{{ if $on.rollback }}, delete{{ end }}]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- if $rbac.argoRollouts }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [get, list{{ if $changesTemplates }}, patch{{ end }}]
{{- end }}
{{- end }}
{{- if $on.scale }}
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [get, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, patch]
{{- if $rbac.argoRollouts }}
- apiGroups: [argoproj.io]
  resources: [rollouts/scale]
  verbs: [get, patch]
{{- end }}
{{- if $rbac.keda }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, patch]
{{- end }}
{{- range $rbac.scaleTargets }}
- apiGroups: [{{ .apiGroup | quote }}]
  resources: [{{ .resource }}]
  verbs: [get, list]
- apiGroups: [{{ .apiGroup | quote }}]
  resources: [{{ .resource }}/scale]
  verbs: [get, patch]
{{- end }}
{{- end }}
{{- if or $on.scale $on.restart }}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
{{- end }}
{{- if $on.rollback }}
- apiGroups: [apps]
  resources: [replicasets, controllerrevisions]
  verbs: [list]
{{- if $rbac.argoRollouts }}
# Shows whether an aborted update has ended.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get]
- apiGroups: [argoproj.io]
  resources: [rollouts/status]
  verbs: [patch]
{{- end }}
{{- end }}
{{- if or $on.evict $on.resize }}
- apiGroups: [""]
  resources: [pods]
  verbs: [get]
{{- end }}
{{- if $on.evict }}
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
{{- end }}
{{- if $on.resize }}
- apiGroups: [""]
  resources: [pods/resize]
  verbs: [get, patch]
{{- end }}
{{- if index $on "pause-rollout" }}
{{- if has "deployments" .Values.pauseRollout.kinds }}
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, patch]
{{- end }}
{{- if has "rollouts" .Values.pauseRollout.kinds }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [get, list, patch]
{{- end }}
{{- if not $looks }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- end }}
{{- if include "keptn-remedy.featureFlags" . }}
- apiGroups: [core.openfeature.dev]
  resources: [featureflags]
  verbs: [get, patch]
{{- end }}
{{- if index $on "run-job" }}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
{{- if not $looks }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}
{{- with $rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}
