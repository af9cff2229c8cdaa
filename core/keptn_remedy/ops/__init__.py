"""The ops port: probes, metrics and the API, for operators and for Kubernetes."""
