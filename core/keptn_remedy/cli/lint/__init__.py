"""`remedy lint`: what is wrong with the files from which Keptn takes remediations."""
