"""Every exchange with Keptn: events in, reports out, and questions to its control plane."""
