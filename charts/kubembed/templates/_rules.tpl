{{/* Rights of the operator over models and their children. No Secrets: tokens are named in pod specs, never read. */}}
{{- define "kubembed.operatorRules" -}}
- { apiGroups: [kubembed.dev], resources: [embeddingmodels], verbs: [list, watch, create, patch, delete] }
- { apiGroups: [kubembed.dev], resources: [embeddingmodels/status], verbs: [patch] }
# For owner references that block deletion, where the server asks for this right.
- { apiGroups: [kubembed.dev], resources: [embeddingmodels/finalizers], verbs: [update] }
# Children are found by lists, and by watches: none is read by its name.
- { apiGroups: [apps], resources: [deployments], verbs: [list, watch, create, patch, delete] }
- { apiGroups: [batch], resources: [jobs], verbs: [list, watch, create, patch, delete] }
- { apiGroups: [""], resources: [services, serviceaccounts], verbs: [list, watch, create, patch, delete] }
- { apiGroups: [""], resources: [configmaps, persistentvolumeclaims], verbs: [list, watch, create, patch] }
- { apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list, watch, create, patch, delete] }
- { apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [list, watch, create, patch, delete] }
- { apiGroups: [""], resources: [pods], verbs: [list, watch] }
# Which pods are a model's own: labels prove nothing.
- { apiGroups: [apps], resources: [replicasets], verbs: [list, watch] }
# Whether another release lives that an EmbeddingModel says it is managed by.
- { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get] }
# Read where a pod does not start: only its events say why.
- { apiGroups: [""], resources: [events], verbs: [list, create, patch] }
{{- if .Values.watch.namespaceSelector }}
- { apiGroups: [""], resources: [namespaces], verbs: [list, watch] }
{{- end }}
{{- end -}}

{{/* Rights of the router: it reads names and addresses, and writes nothing. */}}
{{- define "kubembed.routerRules" -}}
- { apiGroups: [kubembed.dev], resources: [embeddingmodels], verbs: [list, watch] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
{{- end -}}
