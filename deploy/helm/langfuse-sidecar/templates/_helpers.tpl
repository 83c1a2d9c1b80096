{{- define "gateway.name" -}}
{{- printf "%s-gateway" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: langfuse-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "gateway.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{/* What the configuration says of itself must fit what the pod is given; a schema can't compare two values. */}}
{{- define "gateway.checks" -}}
{{- if lt (float64 .Values.gateway.terminationGracePeriodSeconds) (addf .Values.gateway.config.shutdown.grace_s 10.0) -}}
{{- fail "gateway.terminationGracePeriodSeconds must be at least gateway.config.shutdown.grace_s + 10: 5 s of preStop, and some to close" -}}
{{- end -}}
{{- if gt (int .Values.gateway.autoscaling.minReplicas) (int .Values.gateway.autoscaling.maxReplicas) -}}
{{- fail "gateway.autoscaling.minReplicas is over maxReplicas" -}}
{{- end -}}
{{- end -}}
