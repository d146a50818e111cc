"""Commands about the models and the installation: what there is, what it costs, for others."""
