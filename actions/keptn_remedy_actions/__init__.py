"""The actions that keptn-remedy brings along."""
