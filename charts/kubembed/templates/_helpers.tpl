{{/* Name of everything in the release: `kubembed` when the release is called so. */}}
{{- define "kubembed.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "kubembed.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: kubembed
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- range $name, $value := .Values.commonLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Labels that select the pods of one component: dict "root" $ "component" "router". Immutable in a Deployment. */}}
{{- define "kubembed.selector" -}}
app.kubernetes.io/name: kubembed
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Image reference: dict "root" $ "image" .Values.images.runtime */}}
{{- define "kubembed.image" -}}
{{- $missing := "images.registry is not set: name the registry that the images were pushed to, or localhost for images that are on the nodes already; docs/install.md says how" -}}
{{- $name := printf "%s/%s" (required $missing .root.Values.images.registry) .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Service account of a component: dict "root" $ "component" "router" */}}
{{- define "kubembed.serviceAccountName" -}}
{{- $given := (get .root.Values .component).serviceAccount -}}
{{- default (ternary (printf "%s-%s" (include "kubembed.fullname" .root) .component) "default" $given.create) $given.name -}}
{{- end -}}

{{/* `watch.namespaceSelector` as the API server takes it in a request. */}}
{{- define "kubembed.namespaceSelector" -}}
{{- $terms := list -}}
{{- range $key, $value := .Values.watch.namespaceSelector.matchLabels -}}{{- $terms = append $terms (printf "%s=%s" $key $value) -}}{{- end -}}
{{- range .Values.watch.namespaceSelector.matchExpressions -}}
{{- if eq .operator "Exists" -}}{{- $terms = append $terms .key -}}
{{- else if eq .operator "DoesNotExist" -}}{{- $terms = append $terms (printf "!%s" .key) -}}
{{- else -}}{{- $terms = append $terms (printf "%s %s (%s)" .key (lower .operator) (join "," .values)) -}}
{{- end -}}
{{- end -}}
{{- join "," $terms -}}
{{- end -}}

{{- define "kubembed.catalogName" -}}
{{ default (printf "%s-catalog" (include "kubembed.fullname" .)) .Values.catalog.existingConfigMap }}
{{- end -}}

{{/* All ConfigMaps of the list, in order. */}}
{{- define "kubembed.catalogNames" -}}
{{ join "," (prepend .Values.catalog.moreConfigMaps (include "kubembed.catalogName" . | trim)) }}
{{- end -}}

{{/* The list of supported models: the value, or else the one that comes with the chart. */}}
{{- define "kubembed.supportedModels" -}}
{{- default (.Files.Get "files/supported_models.txt") .Values.supportedModels -}}
{{- end -}}

{{/* What the Pod Security Standard `restricted` asks of a pod. The user is that of the image, or of the namespace (OpenShift). */}}
{{- define "kubembed.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "kubembed.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Scrape annotations of plain Prometheus set-ups: dict "root" $ "port" 8081 */}}
{{- define "kubembed.scrapeAnnotations" -}}
{{- if .root.Values.metrics.annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end -}}
{{- end -}}

{{/* Where pods of a component may go: dict "root" $ "component" "router" "values" .Values.router */}}
{{- define "kubembed.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "kubembed.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end -}}

{{/* The standard variables of OpenTelemetry, name: value; none when nothing is traced. */}}
{{- define "kubembed.tracing" -}}
{{- with .Values.tracing }}{{ if .endpoint -}}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_TRACES_SAMPLER_ARG: {{ .sampleRatio | quote }}
{{- end }}{{ end }}
{{- end -}}

{{/* Items of a list of dicts with `name`, those of another laid over them: dict "base" [] "patch" [] */}}
{{- define "kubembed.overlayList" -}}
{{- $patches := dict -}}{{- range .patch -}}{{- $_ := set $patches .name . -}}{{- end -}}
{{- $items := list -}}
{{- range .base -}}
{{- $patch := get $patches .name -}}
{{- $_ := unset $patches .name -}}
{{- if not $patch -}}{{- $items = append $items . -}}
{{- else if ne (get $patch "$patch") "delete" -}}{{- $items = append $items (include "kubembed.overlay" (dict "base" . "patch" $patch) | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- range .patch -}}{{- if hasKey $patches .name -}}{{- $items = append $items . -}}{{- end -}}{{- end -}}
{{- toYaml (dict "items" $items) -}}
{{- end -}}

{{/* A dict laid over another, as a strategic merge patch over a pod: dict "base" {} "patch" {} */}}
{{- define "kubembed.overlay" -}}
{{- $result := deepCopy .base -}}
{{- range $name, $value := .patch -}}
{{- $below := get $result $name -}}
{{- if kindIs "invalid" $value -}}{{- $_ := unset $result $name -}}
{{- else if and (kindIs "map" $value) (eq (default "" (get $value "$patch")) "delete") -}}{{- $_ := unset $result $name -}}
{{- else if has $name (list "containers" "initContainers" "volumes" "env") -}}
{{- $_ := set $result $name (include "kubembed.overlayList" (dict "base" (default list $below) "patch" $value) | fromYaml).items -}}
{{- else if eq $name "volumeMounts" -}}{{- $_ := set $result $name (concat (default list $below) $value) -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $_ := set $result $name (include "kubembed.overlay" (dict "base" $below "patch" $value) | fromYaml) -}}
{{- else -}}{{- $_ := set $result $name $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* A component's pod template as the chart has it, and its podTemplate over it: dict "text" "…" "values" .Values.router */}}
{{- define "kubembed.podTemplate" -}}
{{- if .values.podTemplate -}}
{{- include "kubembed.overlay" (dict "base" (fromYaml .text) "patch" .values.podTemplate) -}}
{{- else -}}
{{- .text -}}
{{- end -}}
{{- end -}}

{{/* Port that a URL leads to. */}}
{{- define "kubembed.portOf" -}}
{{- $url := urlParse . -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host)) -}}
{{- end -}}

{{/* The `huggingFace` values as the operator takes them: what is empty left out. */}}
{{- define "kubembed.hub" -}}
{{- $given := .Values.huggingFace -}}
{{- $hub := dict -}}
{{- with $given.loginSecret }}{{ $_ := set $hub "loginSecret" . }}{{ end -}}
{{- with $given.tokenSecret }}{{ if .name }}{{ $_ := set $hub "tokenSecret" . }}{{ end }}{{ end -}}
{{- with $given.proxy }}{{ if .url }}
{{- $proxy := dict "url" .url -}}
{{- with .noProxy }}{{ $_ := set $proxy "noProxy" . }}{{ end -}}
{{- with .secret }}{{ $_ := set $proxy "secret" . }}{{ end -}}
{{- $_ := set $hub "proxy" $proxy -}}
{{- end }}{{ end -}}
{{- with $given.certificates }}{{ if or .configMap .secret }}
{{- $certificates := dict "key" .key -}}
{{- with .configMap }}{{ $_ := set $certificates "configMap" . }}{{ end -}}
{{- with .secret }}{{ $_ := set $certificates "secret" . }}{{ end -}}
{{- $_ := set $hub "certificates" $certificates -}}
{{- end }}{{ end -}}
{{- toJson $hub -}}
{{- end -}}

{{/* The `runtime` values as the operator's KUBEMBED_RUNTIME_DEFAULTS: scrape annotations, tracing and pull secrets added; no fixed group where each namespace has its own. */}}
{{- define "kubembed.runtimeDefaults" -}}
{{- $defaults := deepCopy .Values.runtime -}}
{{- $template := $defaults.podTemplate -}}
{{- range $section := list "metadata" "spec" -}}{{- $_ := set $template $section (default dict (get $template $section)) -}}{{- end -}}
{{- $annotations := default dict $template.metadata.annotations -}}
{{- range $name, $value := include "kubembed.scrapeAnnotations" (dict "root" . "port" 8080) | fromYaml -}}
{{- if not (hasKey $annotations $name) -}}{{- $_ := set $annotations $name $value -}}{{- end -}}
{{- end -}}
{{- $_ := set $template.metadata "annotations" $annotations -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if not (hasKey $template.spec "securityContext") -}}{{- $_ := set $template.spec "securityContext" (dict "fsGroup" nil) -}}{{- end -}}
{{- end -}}
{{- $_ := set $defaults "serveEnv" (merge (dict) .Values.runtime.serveEnv (include "kubembed.tracing" . | fromYaml)) -}}
{{- $_ := set $defaults "imagePullSecrets" .Values.images.pullSecrets -}}
{{- $_ := set $defaults "hub" (include "kubembed.hub" . | fromJson) -}}
{{- if not $defaults.cache }}{{ $_ := unset $defaults "cache" }}{{ end -}}
{{- toJson $defaults -}}
{{- end -}}
