"""The built-in actions of keptn-remedy."""
